#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The service itself: where it listens, and whom it will not have."""
import http.server
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zoo import *  # noqa: E402

MAPPING = f"{PORT}:5432"
WEB = f"{PORT}:8000"
ASK = ("--payload",)


def listening(*where, device=None):
    def work(lab):
        lab.service = [Listener(address, 5432, device) for address in where]
    return work


def stopped(lab):
    for service in lab.service:
        service.end()


def started(lab):
    listening("127.0.0.1")(lab)


def stopped_by_signal(lab):
    os.kill(lab.service[0].pid, signal.SIGSTOP)


def two_of_them(lab):
    lab.service = [Listener("127.0.0.1", 5432, share=True) for _ in range(2)]


def idle(lab):
    """It listens, and that is all it does."""
    lab.service = []
    lab.idle = socket.create_server(("127.0.0.1", 5432))


def greeting(lab):
    """What the service says to the container: it may be connected, and hear nothing."""
    answer = lab.tcp(PORT, timeout=0.7)
    return "silent" if answer == "timeout" else answer


def greetings(lab):
    """Of several connections the worst: which of two takes one is the kernel's choice."""
    answers = [greeting(lab) for _ in range(12)]
    return "silent" if "silent" in answers else answers[0]


def restarted(*where, device=None):
    """Its configuration changed, and it was restarted."""
    def work(lab):
        stopped(lab)
        listening(*where, device=device)(lab)
    return work


def cured(lab):
    restarted("127.0.0.1")(lab)


class Web:
    """A web server on 127.0.0.1:8000, in a process of its own: @answer makes of the Host header and the
    caller's address a status and a body."""

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answer(self.headers["Host"].split(":")[0], self.client_address[0])
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *words):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                """Who only looks whether it can connect is gone again."""

        server = Server(("127.0.0.1", 8000), Handler)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                with open("/proc/self/comm", "w", encoding="ascii") as file:
                    file.write("web")
                server.serve_forever()
            finally:
                os._exit(0)
        server.server_close()

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def web(answer):
    def work(lab):
        for old in getattr(lab, "web", []):
            old.end()
        lab.web = [Web(answer)]
    return work


def only(name, status, body):
    """As development servers do: names of this host, and those of a list."""
    return lambda host, _: (200, "ok") if host in ("localhost", name) else (status, body)


def http_dial(lab, good=" 200 "):
    """GET / as a container sends it."""
    answer = lab.agents["ctr"].call(
        "sh", f"bash -c 'exec 3<>/dev/tcp/{GATEWAY}/{PORT} || exit 0; "
        f"printf \"GET / HTTP/1.0\\r\\nHost: host.docker.internal:{PORT}\\r\\n\\r\\n\" >&3; "
        "IFS= read -r -t 2 line <&3; echo \"$line\"' 2>&1")
    return f"tcp {answer}" if good in answer else answer or "closed"


def named(name, stands_for, status, body, mend):
    """A server that checks names; the mend is in its own words."""
    return Sick(name, stands_for, "closed", "service-name", "", before=web(only("", status, body)),
                mapping=WEB, works=False, ask=ASK, dial=http_dial, evidence=f"HTTP {status}", says=mend,
                cure=web(only("host.docker.internal", status, body)))


REFUSED = 'Blocked request. This host ("host.docker.internal") is not allowed.\n' \
          'To allow this host, add "host.docker.internal" to `server.allowedHosts` in vite.config.js.'

keep([
    Sick("a service that is not running", "the first question of every thread", "refused",
         "no-listener", stopped, before=listening("127.0.0.1"), mapping=MAPPING, cure=started),
    Sick("a service that never was there", "a port that was guessed", "refused", "no-listener", "",
         mapping=f"{PORT}:5433", works=False, cure=lambda _: Listener("127.0.0.1", 5433)),
    Sick("one that listens on ::1 alone", "localhost that is resolved to ::1 first: Node",
         "refused", "listener-address", restarted("::1"), before=listening("127.0.0.1"),
         mapping=MAPPING, evidence="::1", cure=cured),
    Sick("one that listens on another address of 127/8", "Debian's 127.0.1.1", "refused",
         "listener-address", restarted("127.0.1.1"), before=listening("127.0.0.1"),
         mapping=MAPPING, evidence=r"127\.0\.1\.1"),
    Sick("one that listens on the bridge's address alone", "listen_addresses = '172.30.0.1'",
         "refused", "listener-address", restarted(GATEWAY), before=listening("127.0.0.1"),
         mapping=MAPPING, evidence=GATEWAY.replace(".", r"\."), cure=cured),
    Sick("one that is bound to lo", "systemd-resolved's 127.0.0.53%lo", "refused",
         "listener-device", restarted("127.0.0.1", device="lo"), before=listening("127.0.0.1"),
         mapping=MAPPING, evidence="lo", cure=cured),
    Sick("TCP is mapped, the service speaks UDP", "DNS, WireGuard, syslog", "refused",
         ("no-listener", "listener-address"), "", before=lambda _: Listener("127.0.0.1", 514, udp=True),
         mapping=f"{PORT}:514", works=False, cure=lambda _: Listener("127.0.0.1", 514)),
    Sick("UDP is mapped, and nobody takes it", "DNS, syslog, statsd", "refused", "no-listener", "",
         mapping=f"{PORT}:514/udp", works=False, dial=lambda lab: lab.agents["ctr"].call("udp", GATEWAY, PORT, 1),
         cure=lambda _: Listener("127.0.0.1", 514, udp=True)),
    Sick("a service that is hung", "a full queue of connections: SIGSTOP, a debugger, deadlock",
         "timeout", ("service-hangs", "no-listener", "no-cause"),
         lambda lab: lab.hang(), before=lambda lab: hung(lab), mapping=MAPPING,
         cure=lambda lab: lab.go_on()),
    Sick("a service that is stopped, with room in its queue", "^Z, SIGSTOP, a debugger", "silent",
         "service-hangs", stopped_by_signal, before=listening("127.0.0.1"), mapping=MAPPING, dial=greeting,
         evidence="is stopped.*connected, and not taken", says=r"^kill -CONT \d+$"),
    Sick("one of two that share a port is stopped", "SO_REUSEPORT: workers, of which one hangs", "silent",
         "service-hangs", stopped_by_signal, before=two_of_them, mapping=MAPPING, dial=greetings, warns=True,
         evidence="is stopped", says=r"^kill -CONT \d+$"),
    Sick("a service that takes no connections", "a worker in an endless loop", "silent", "service-hangs", "",
         before=idle, mapping=MAPPING, dial=greeting, works=False, warns=True, evidence="not taken by the service",
         cure=lambda lab: (lab.idle.close(), started(lab))),
    Sick("a service that is open to everybody, too", "0.0.0.0 as a cure of last year", "reached",
         "service-open", restarted("0.0.0.0"), before=listening("127.0.0.1"), mapping=MAPPING,
         evidence=r"\*:5432", warns=True, cure=cured),
    # --- what it says when it is asked
    named("a development server that checks names (its words)", "Vite: server.allowedHosts", 403, REFUSED,
          "Vite: .*allowedHosts"),
    named("an MCP server that checks names (its words)", "the MCP SDKs' protection from DNS rebinding", 421,
          "Invalid Host header", "allowed_hosts="),
    Sick("a web server that takes this host alone", "Require local", "closed", "service-refuses", "",
         before=web(lambda _, peer: (200, "ok") if peer == "127.0.0.1" else (403, "local access required")),
         mapping=WEB, works=False, ask=ASK, dial=http_dial, evidence="HTTP 403, local access required; from the host",
         says=r"172\.30\.0\.0/24", cure=web(lambda host, _: (200, "ok"))),
    Sick("a web server that wants credentials", "401 Unauthorized", "closed", "service-asks", "",
         before=web(lambda *_: (401, "who are you?")), mapping=WEB, works=False, ask=ASK, dial=http_dial,
         evidence="HTTP 401, who are you", warns=True, cure=web(lambda *_: (200, "ok"))),
    Well("a web server that is asked", web(lambda *_: (200, "ok")), mapping=WEB, ask=ASK, dial=http_dial),
    Well("a web server that has nothing at /", web(lambda *_: (403, "no listing")), mapping=WEB, ask=ASK,
         dial=lambda lab: http_dial(lab, " 403 ")),
    Well("a service that waits for another language", listening("127.0.0.1"), mapping=MAPPING, ask=ASK),
])


def hung(lab):
    """A program with a short queue that stops taking from it."""
    lab.service = [Listener("127.0.0.1", 5432, backlog=1)]

    def hang():
        os.kill(lab.service[0].pid, signal.SIGSTOP)
        lab.waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", 5432))
            lab.waiting.append(sock)

    def go_on():
        os.kill(lab.service[0].pid, signal.SIGCONT)
    lab.hang, lab.go_on = hang, go_on


run_zoo(__file__)
