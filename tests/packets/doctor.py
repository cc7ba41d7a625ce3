#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor: the trace names the rule that drops, what leaves no trace is found by where it vanished,
and nothing of doctor is left on the host, however it ends. (Broken hosts by the dozen: tests/zoo.)"""
import os
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from nblab import Agent  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402
from terminal import golden, plain, show, wide  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "tc", "iptables-nft"))
PORT, GATEWAY = 11434, "172.30.0.1"
# ldh 12; IPv4? ldb 23; TCP? TC_ACT_SHOT, else TC_ACT_UNSPEC
DROP_TCP = "6,40 0 0 12,21 0 3 2048,48 0 0 23,21 0 1 6,6 0 0 2,6 0 0 4294967295,"
REACHED = f"tcp 127.0.0.1:{lab.mapped}"


def fresh():
    sh("ip rule del pref 100 2>/dev/null; tc qdisc del dev vapp clsact 2>/dev/null; "
       "sysctl -qw net.ipv4.conf.all.route_localnet=0", check=False)
    lab.reset()
    lab.write_rules({})
    sh("conntrack -F 2>/dev/null", check=False)


def mapped(target=None):
    lab.good("add", "br-app", f"{PORT}:{target or lab.mapped}")


def site(text, hook="input", priority=0, family="inet", policy="accept"):
    sh(f"nft -f - <<'NFT'\ntable {family} site {{\nchain {hook} {{\n"
       f"type filter hook {hook} priority {priority}; policy {policy};\n{text}\n}}\n}}\nNFT")


def ask(*words, rc=1):
    return lab.json("doctor", *words, rc=rc)


def first(found, code, what=""):
    findings = found["findings"]
    if expect(findings, f"nothing was found: {found}"):
        expect_eq(findings[0]["code"], code, f"the first of {[f['code'] for f in findings]}")
        expect_match(what, findings[0]["what"] + " " + findings[0]["evidence"], "its words")
        return findings[0]
    return {"mend": "false"}


def handle(chain, text):
    for line in sh(f"nft -a list chain {chain}").splitlines():
        if text in line:
            return int(line.rsplit("handle ", 1)[1])
    return None


def traced(where, chain, text, reached=None):
    """What is dropped is named by family, table, chain and handle, and mended by what is said."""
    expect(lab.tcp(PORT, timeout=0.7) != REACHED, "control: it does not work")
    found = ask("br-app", PORT)
    probe = found["probes"][0]
    dropped = probe["dropped_by"] or {}
    expect_eq([dropped.get(k) for k in ("family", "table", "chain")], where, "dropped by")
    expect_eq(dropped.get("handle"), handle(chain, text) if text else None, "handle")
    cause = found["findings"][0]
    expect_eq(cause["severity"], "problem", "severity")
    sh(cause["mend"].replace("nat-bridge ", " ".join(lab.command()) + " ")
       if cause["ours"] else cause["mend"])
    sh("conntrack -F 2>/dev/null", check=False)
    expect_eq(lab.tcp(PORT, timeout=3), reached or REACHED, f"mended by {cause['mend']}")
    expect_eq(ask("br-app", PORT, rc=0)["findings"], [], "then it is content")


@case("a healthy host: nothing, exit 0, and the probe came from the container")
def _():
    mapped()
    before = lab.tidy_ruleset(), lab.devices(), lab.ingress()
    found = ask(rc=0)
    expect_eq((found["healthy"], found["findings"], found["warnings"]), (True, [], []), "healthy")
    expect_eq([p["result"] for p in found["probes"]], ["connected"], "its probe")
    expect_match("network of pid", found["probes"][0]["from"], "from")
    expect_eq((lab.tidy_ruleset(), lab.devices(), lab.ingress()), before, "left behind")
    expect_match(r"\nhealthy\n.*: --payload\n$", lab.good("doctor").out, "as text")
    expect_match(r"\nhealthy\n$", lab.good("doctor", "--payload").out, "as text, when it was asked")


@case("without a container: from a place of our own, of which nothing is left")
def _():
    lab.good("add", "br-two", f"{PORT}:{lab.mapped}")
    sh("ip link set vtwo nomaster")
    before = lab.tidy_ruleset(), lab.devices(), lab.ingress()
    found = ask(rc=0)
    expect_eq([(p["result"], p["from"]) for p in found["probes"]],
              [("connected", "a place of our own")], "its probe")
    expect(wait_for(lambda: (lab.tidy_ruleset(), lab.devices(), lab.ingress()) == before),
           "nothing is left behind")
    sh("ip link set vtwo master br-two")


@case("iptables-nft: a drop in a chain of its own, before the translation")
def _():
    mapped()
    sh("iptables-nft -t mangle -N KXU; iptables-nft -t mangle -A PREROUTING -i br-app -j KXU; "
       "iptables-nft -t mangle -A KXU -p tcp --dport 11434 -j DROP")
    traced(["ip", "mangle", "KXU"], "ip mangle KXU", "drop")


@case("a command stays on one line, however narrow the screen is")
def _():
    mapped()
    sh("iptables-nft -t mangle -A PREROUTING -s 172.16.0.0/12 -j DROP")
    command = ask("br-app", PORT)["findings"][0]["mend"]
    expect(len(command) > 70, f"control: it has no room: {command}")
    shown = lab.nb("doctor", "br-app", PORT, env={"COLUMNS": "80"}).out.splitlines()
    expect(any(line.endswith("mend  " + command) for line in shown), f"{command} is in no line of {shown}")
    expect(max(len(line) for line in shown if command not in line) <= 80, f"the others are broken: {shown}")
    shown = lab.good("status", env={"COLUMNS": "80"}).out.splitlines()
    expect(any(line.strip() == command for line in shown), f"{command} is no line of {shown}")


@case("golden: 80 and 120 columns")
def _():
    fresh()
    mapped()
    lab.good("add", "br-app", "5432")
    lab.good("add", "br-two", f"{PORT}:{lab.mapped}")
    sh("iptables-nft -t mangle -A PREROUTING -s 172.16.0.0/12 -j DROP; ip link set br-two down")
    try:
        for columns in (80, 120):
            shown = show(lab.command("doctor"), columns)
            text = re.sub(r"pid \d+", "pid N", re.sub(r"rule \d+ of", "rule N of", plain(shown.text)))
            expect(shown.rc == 1 and "\033" in shown.text, f"exit {shown.rc}, colour")
            expect(wide(text) <= columns, f"{wide(text)} columns")
            golden(f"doctor-{columns}.txt", text)
        expect("\033" not in show(lab.command("doctor"), 80, {"NO_COLOR": "1"}).text, "NO_COLOR")
    finally:
        sh("ip link set br-two up; iptables-nft -t mangle -F PREROUTING")


@case("native nft: input, whose opener is gone; the mend is ours")
def _():
    mapped()
    site("tcp dport 8088 drop")
    lab.good("apply")
    for line in sh("nft -a list chain inet site input").splitlines():
        if "nat-bridge" in line:
            sh("nft delete rule inet site input handle " + line.rsplit(" ", 1)[1])
    traced(["inet", "site", "input"], "inet site input", "dport 8088")


@case("output: the answer is dropped, and so said")
def _():
    mapped()
    site('oifname != "lo" ip saddr 127.0.0.0/8 drop', hook="output")
    first(ask("br-app", PORT), "firewall", "answers .* the host answered")
    traced(["inet", "site", "output"], "inet site output", "127.0.0.0/8")


@case("a reject is a drop that speaks, and is traced like one")
def _():
    mapped()
    site("tcp dport 8088 reject with tcp reset", hook="prerouting", priority=10)
    traced(["inet", "site", "prerouting"], "inet site prerouting", "reject")


@case("a policy has no handle")
def _():
    mapped()
    site("icmp type echo-request accept", hook="prerouting", priority=-200, policy="drop")
    traced(["inet", "site", "prerouting"], "inet site prerouting", None)


@case("a bridge's own chain, before the host sees the packet")
def _():
    mapped()
    site("ip protocol tcp tcp dport 11434 drop", hook="prerouting", priority=-300, family="bridge")
    traced(["bridge", "site", "prerouting"], "bridge site prerouting", "11434")


@case("tc at the container's port: no trace, by elimination")
def _():
    mapped()
    sh(f"tc qdisc add dev vapp clsact; tc filter add dev vapp ingress pref 7 protocol all "
       f"bpf da bytecode '{DROP_TCP}'")
    found = ask("br-app", PORT)
    expect_eq(found["probes"][0]["dropped_by"], None, "nobody was seen to drop it")
    cause = first(found, "traffic-control", "vapp")
    sh(cause["mend"])
    expect_eq(ask(rc=0)["findings"], [], "mended")


@case("names that a container has chosen are in a command only if they are words, and whole")
def _():
    mapped()
    inside = lab.agents["ctr"]
    inside.call("sh", f"nft add table inet box; nft 'add chain inet box {240 * 'x'} "
                      "{ type filter hook output priority 0; policy drop; }'")
    cause = first(ask("br-app", PORT), "container-firewall", "policy of chain inet box x{100} drops")
    expect_eq(cause["command"], cause["mend"], "it is a command")
    sh(cause["command"])
    expect_eq(lab.tcp(PORT), REACHED, "mended")
    inside.call("sh", "nft delete table inet box")
    for table, chain in (("box", "$(touch /tmp/x)"), ("a;b", "out"), ("box", "-f"), ("box", "`x`")):
        inside.call("sh", f"{sys.executable} {lab.source}/tests/lib/nl.py drop '{table}' '{chain}'")
        cause = first(ask("br-app", PORT), "container-firewall", re.escape(f"{table} {chain}"))
        expect_match(r"^accept what is to 172\.30\.0\.1 in that chain", cause["mend"], "a sentence")
        expect_eq(cause["command"], None, "no command")
        inside.call("sh", "nft flush ruleset")
    for name in ("\\377\\302\\233x", 99 * "x" + "\\303\\251"):
        inside.call("sh", f"{sys.executable} {lab.source}/tests/lib/nl.py drop box \"$(printf '{name}')\"")
        cause = first(ask("br-app", PORT), "container-firewall", "policy of chain inet box [?x]+ drops")
        expect_match("^[ -~]*$", cause["what"] + cause["mend"], "text")
        inside.call("sh", "nft flush ruleset")
    for name in ("$(reboot)", "a;reboot", "x|sh"):
        inside.call("sh", f"ip link set eth0 down; ip link set eth0 name '{name}'")
        cause = first(ask("br-app", PORT), "isolated-port", "its other end, the container's device, is down")
        expect_eq((cause["mend"], cause["command"]),
                  ("set the container's device up, or start it anew", None), "its mend")
        inside.call("sh", f"ip link set '{name}' name eth0; ip link set eth0 up; "
                          f"ip route replace default via {GATEWAY}")


@case("the network that a container has chosen is the bridge's only if the host has nothing there")
def _():
    mapped()
    inside = lab.agents["ctr"]
    sh("ip link add lan type veth peer name lanpeer; ip link set lanpeer up; ip link set lan up; "
       "ip addr add 192.168.1.5/24 dev lan; ip route add 192.168.7.0/24 via 192.168.1.9")
    try:
        for gateway, taken in (("192.168.1.1", True), ("192.168.7.1", True), ("1.1.1.1", True),
                               ("192.168.9.1", False)):
            inside.call("sh", f"ip addr flush dev eth0; ip addr add {gateway[:-1]}7/24 dev eth0; "
                              f"ip route add default via {gateway}")
            cause = first(ask("br-app", PORT), "container-way", f"has {re.escape(gateway)} as its gateway")
            expect_eq(cause["command"], None if taken else f"ip address add {gateway}/24 dev br-app", gateway)
    finally:
        sh("ip link del lan")
        inside.call("sh", f"ip addr flush dev eth0; ip addr add {lab.container}/24 dev eth0; "
                          f"ip route add default via {GATEWAY}")


@case("policy routing sends the answers elsewhere")
def _():
    mapped()
    sh("ip rule add pref 100 to 172.16.0.0/12 prohibit")
    cause = first(ask("br-app", PORT), "routing", "100: .*prohibit")
    sh(cause["mend"])
    expect_eq(lab.tcp(PORT), REACHED, "mended")
    sh("ip rule del pref 99")


@case("route_localnet set back: said so, not guessed")
def _():
    mapped()
    lab.set_conf("br-app", "route_localnet", 0)
    cause = first(ask("br-app", PORT), "route-localnet", "passed prerouting")
    expect(cause["ours"], "ours to mend")


@case("services: nobody, another address, a device")
def _():
    mapped(5999)
    first(ask(), "no-listener", "refused")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.9", 5999))
    sock.listen(8)
    taken = []
    threading.Thread(target=lambda: taken.append(sock.accept()), daemon=True).start()
    cause = first(ask(), "listener-address", r"127\.0\.0\.9")
    sh(cause["mend"].replace("nat-bridge", " ".join(lab.command())))
    expect_eq(ask(rc=0)["findings"], [], "mended")
    sock.close()


class Speaker:
    """A service that says something to whoever comes, and hangs up, or not."""

    def __init__(self, text, hangs_up=True):
        self.sock = socket.create_server(("127.0.0.1", 5999))
        self.text, self.hangs_up, self.clients = text, hangs_up, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                client = self.sock.accept()[0]
                client.sendall(self.text)
                if self.hangs_up:
                    client.close()
                else:
                    self.clients.append(client)
        except OSError:
            pass

    def end(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for client in self.clients:
            client.close()


def service_that(text, hangs_up, words, mend):
    mapped(5999)
    speaker = Speaker(text, hangs_up)
    try:
        if words:
            cause = first(ask(), "service-refuses", words)
            expect_match(mend, cause["mend"], "its mend")
            expect("\n" not in cause["evidence"] and "\xff" not in cause["evidence"], "one line")
        else:
            expect_eq(ask(rc=0)["findings"], [], "no refusal")
    finally:
        speaker.end()


table_cases([
    ("Redis in protected mode", b"-DENIED Redis is running in protected mode because\r\n", True,
     "protected mode", "^give Redis a password: .* only if it listens on 127.0.0.1 alone"),
    ("MySQL says whom it does not take", b"E\0\0\0\xffj\x04Host '172.30.0.2' is not allowed to "
     b"connect to this MySQL server", True, "it said Host '172", "CREATE USER NAME@'172.30.0.0/255.255.255.0'"),
    ("a forwarder whose other end is gone", b"", True, "hangs up at once", "accept"),
    ("a banner that warns, and waits", b"220 Access is denied to strangers\r\n", False, None, None),
    ("a service that says the time, and is done", b"12:00:00\r\n", True, None, None),
], service_that)


@case("the network that a service is to take is the container's, of several on its bridge")
def _():
    mapped(5999)
    inside = lab.agents["ctr"]
    speaker = Speaker(b"E\0\0\0\xffj\x04Host '10.99.7.2' is not allowed to connect to this MySQL server")
    sh("ip addr add 10.99.0.1/16 dev br-app")
    inside.call("sh", "ip addr flush dev eth0; ip addr add 10.99.7.2/16 dev eth0")
    try:
        cause = first(ask(), "service-refuses", "not allowed to connect")
        expect_match(r"@'10\.99\.0\.0/255\.255\.0\.0'", cause["mend"], "its network")
        sh("ip addr add 10.98.0.1/32 dev lo")
        inside.call("sh", f"ip addr flush dev eth0; ip addr add {lab.container}/24 dev eth0; "
                          "ip route add 10.98.0.1 dev eth0; ip route add default via 10.98.0.1")
        cause = first(ask(), "service-refuses", "not allowed to connect")
        expect_match("^let the service accept the network of the container:", cause["mend"], "it is not known")
    finally:
        speaker.end()
        sh("ip addr del 10.99.0.1/16 dev br-app; ip addr del 10.98.0.1/32 dev lo", check=False)
        inside.call("sh", f"ip addr flush dev eth0; ip addr add {lab.container}/24 dev eth0; "
                          f"ip route add default via {GATEWAY}")


class Recorder:
    """A service that answers nothing until it was asked, and keeps what that was."""

    def __init__(self, port, answer=b""):
        self.sock = socket.create_server(("127.0.0.1", port))
        self.answer, self.asked = answer, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            while True:
                client, peer = self.sock.accept()
                with client:
                    try:
                        asked = client.recv(1000)
                    except ConnectionResetError:
                        asked = b""
                    self.asked.append((peer[0], asked))
                    if asked:
                        client.sendall(self.answer)
        except OSError:
            pass

    def end(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def asked(port, question, answer, code, words):
    """Nothing without --payload; with it one question, and others only where that is refused."""
    lab.good("add", "br-app", f"{PORT}:{port}")
    service = Recorder(port, answer)
    try:
        expect_eq(ask(rc=0)["findings"], [], "it is not asked")
        wait_for(lambda: service.asked)
        expect_eq(service.asked, [(lab.container, b"")], "nothing is sent")
        service.asked.clear()
        found = ask("--payload", rc=None)["findings"]
        sent = [question for question in service.asked if question[1]]
        expect_eq(sent[0][0], lab.container, "from where the container is")
        expect_match(question, sent[0][1].decode("latin-1"), "it is asked")
        expect_eq([f["code"] for f in found], [code] if code else [], f"what is found: {found}")
        if code:
            expect_match(words, found[0]["evidence"], "its evidence")
        else:
            expect_eq(len(sent), 1, "once")
    finally:
        service.end()


PG_REFUSAL = b"E\0\0\0\x60SFATAL\0VFATAL\0C28000\0Mkein Eintrag in pg_hba.conf\0RClientAuthentication\0\0"
table_cases([
    ("--payload: a web server, as a container would", 8000,
     r"^GET / HTTP/1\.1\r\nHost: host\.docker\.internal:11434\r\n.*Connection: close\r\n\r\n$",
     b"HTTP/1.1 200 OK\r\n\r\nok", None, None),
    ("--payload: one that wants credentials of everybody", 8000, "^GET", b"HTTP/1.1 401 No\r\n\r\n",
     "service-asks", "HTTP 401"),
    ("--payload: PostgreSQL, by its port", 5432,
     r"^\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0$", b"R\0\0\0\x08\0\0\0\x0a", None, None),
    ("--payload: Redis, by its port", 6379, "^PING\r\n$", b"+PONG\r\n", None, None),
    ("--payload: a Redis with a password", 6379, "^PING", b"-NOAUTH Authentication required.\r\n",
     "service-asks", "NOAUTH"),
], asked)


@case("--payload: what refuses everybody alike is no matter of a mapping")
def _():
    lab.good("add", "br-app", f"{PORT}:5432")
    for port, answer in ((5432, PG_REFUSAL), (8000, b"HTTP/1.1 403 No\r\n\r\n")):
        service = Recorder(port, answer)
        lab.good("add", "--replace", "br-app", f"{PORT}:{port}")
        expect_eq(ask("--payload", rc=0)["findings"], [], "nothing is found")
        expect_eq(service.asked[-1][0], "127.0.0.1", "the last one is asked from the host")
        service.end()


@case("--payload: a name server by UDP; other services get an empty datagram, as without")
def _():
    servers = {}
    for port in (53, 54):
        servers[port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        servers[port].bind(("127.0.0.1", port))
        servers[port].settimeout(3)
        lab.good("add", "br-app", f"{port}/udp")
    for words, question in (((), b""), (("--payload",), b"nb\x01\0\0\x01" + bytes(6) + b"\0\0\x02\0\x01")):
        expect_eq(ask(*words, rc=0)["findings"], [], "nothing is found")
        for port, wanted in ((53, question), (54, b"")):
            expect_eq({servers[port].recv(100) for _ in range(2)}, {wanted}, f"to {port}, dialled and traced")
    for server in servers.values():
        server.close()


@case("--payload: a service that speaks first is asked nothing")
def _():
    mapped(5999)
    speaker = Speaker(b"SSH-2.0-test\r\n", hangs_up=False)
    expect_eq(ask("--payload", rc=0)["findings"], [], "nothing is found")
    for client in speaker.clients:
        client.settimeout(2)
        try:
            expect_eq(client.recv(100), b"", "nothing is sent")
        except ConnectionResetError:
            pass
    speaker.end()


@case("what a rule does to a packet that was not translated is a consequence")
def _():
    mapped()
    site("ip daddr 172.30.0.1 tcp dport 11434 reject")
    expect_eq(lab.tcp(PORT), REACHED, "control: what is translated it lets pass")
    sh("nft add table ip early; nft 'add chain ip early pre { type filter hook prerouting priority -300; }'; "
       "nft add rule ip early pre iifname br-app notrack")
    found = ask()
    first(found, "untracked", "early")
    expect_eq((found["probes"][0]["dropped_by"] or {}).get("table"), "site", "what drops it in the end")
    sh("nft flush chain ip early pre; nft 'add chain ip early nat { type nat hook prerouting priority -110; }'; "
       "nft add rule ip early nat tcp dport 11434 dnat to 172.30.0.1:4444; nft add rule inet site input "
       "tcp dport 4444 reject; conntrack -F 2>/dev/null")
    first(ask(), "hijacked", "172.30.0.1:4444")
    sh("nft delete chain ip early nat; nft 'add chain ip early nat { type nat hook prerouting priority -150; }'; "
       "nft add rule ip early nat ip protocol tcp redirect to :4444; conntrack -F 2>/dev/null")
    found = ask()
    first(found, "hijacked", "172.30.0.1:4444")
    expect_eq(len([f for f in found["findings"] if f["code"] == "hijacked"]), 1, "read and seen: said once")
    sh("nft delete table ip early")


@case("also in prerouting, in a chain behind our translation, and in one that it jumps to")
def _():
    mapped()
    sh("nft add table ip early; nft 'add chain ip early pre { type filter hook prerouting priority -300; }'; "
       "nft add rule ip early pre iifname br-app notrack")
    site("ip daddr 172.30.0.1 tcp dport 11434 drop", hook="prerouting", priority=-105)
    first(ask(), "untracked", "early.*nobody had translated")
    sh("nft delete table inet site; nft add table inet site; nft add chain inet site deep; "
       "nft add rule inet site deep ip daddr 172.30.0.1 drop; "
       "nft 'add chain inet site pre { type filter hook prerouting priority -50; }'; "
       "nft add rule inet site pre tcp dport 11434 jump deep")
    first(ask(), "untracked", "early.*nobody had translated")
    sh("nft delete table inet site; nft add table inet site; "
       "nft 'add chain inet site pre { type filter hook prerouting priority -150; }'; "
       "nft add rule inet site pre tcp dport 11434 drop")
    first(ask(), "firewall", "site")
    sh("nft delete table ip early")


def audited(program, port, seconds_ago=1, pid=4321, kind="bind"):
    """What Linux writes of a denial, as AppArmor and as SELinux have it; the words are the kernel's."""
    stamp = f"audit({int(time.time()) - seconds_ago}.123:45)"
    apparmor = (f'type=1400 {stamp}: apparmor="DENIED" operation="{kind}" profile="/usr/sbin/{program}" pid={pid} '
                f'comm="{program}" laddr=127.0.0.1 lport={port} family="inet" sock_type="stream" protocol=6 '
                f'requested_mask="{kind}" denied_mask="{kind}"')
    selinux = (f'type=AVC msg={stamp}: avc:  denied  {{ {"name_bind" if kind == "bind" else kind} }} for  pid={pid} '
               f'comm="{program}" src={port} scontext=system_u:system_r:httpd_t:s0 '
               f'tcontext=system_u:object_r:unreserved_port_t:s0 tclass=tcp_socket permissive=0')
    return apparmor, selinux


class Log:
    """A file in the place of the kernel's log, or of auditd's, in this lab alone."""

    def __init__(self, kernel="", audit=""):
        for place, text in (("/dev/kmsg", kernel), ("/var/log/audit/audit.log", audit)):
            path = f"{lab.dir}/log-{os.path.basename(place)}"
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            if not os.path.ismount("/var/log"):
                sh("mount -t tmpfs tmpfs /var/log; mkdir /var/log/audit; touch /var/log/audit/audit.log")
            sh(f"mount --bind {path} {place}")

    def end(self):
        sh("umount /dev/kmsg /var/log/audit/audit.log")


def denied(kernel, audit, code, words, mend, severity="problem", listens=False):
    mapped(5998)
    service = Recorder(5998) if listens else None
    log = Log(kernel, audit)
    try:
        found = ask(rc=None)["findings"]
        if code is None:
            expect_eq([f["code"] for f in found], [] if listens else ["no-listener"], "no denial")
            return
        expect_eq((found[0]["code"], found[0]["severity"]), (code, severity), f"the first of {found}")
        expect_match(words, f"{found[0]['what']} {found[0]['evidence']}", "its words")
        expect_match(mend, found[0]["mend"], "its mend")
    finally:
        log.end()
        if service:
            service.end()


APPARMOR, SELINUX = audited("webd", 5998)
table_cases([
    ("AppArmor did not let the service have its port", f"5,100,1000,-;audit: {APPARMOR}\n", "", "service-denied",
     "AppArmor did not let webd listen on port 5998/tcp.*profile /usr/sbin/webd", "apparmor.d"),
    ("SELinux did not, and auditd has the log", "", f"type=CWD\n{SELINUX}\n", "service-denied",
     "SELinux did not let webd listen on port 5998/tcp.*type httpd_t", "semanage port -a -t http"),
    ("another port was denied", "", "\n".join(audited("webd", 5997)) + "\n", None, None, None),
    ("that was before the host was started", "", audited("webd", 5998, 10 ** 9)[1] + "\n", None, None, None),
    ("permissive denies nothing", "", SELINUX.replace("permissive=0", "permissive=1") + "\n", None, None, None),
    ("what a program wrote into the kernel's log is no denial", f"12,100,1000,-;{APPARMOR}\n", "", None, None, None),
    ("what the kernel logged of a user's words is no denial",
     f"5,1,1,-;request_module: modprobe audit: {APPARMOR}\n X=5,1,1,-;audit: {APPARMOR}\n", "", None, None, None),
    ("what a program told auditd is no denial", "",
     f"type=USER_CMD msg=audit({int(time.time())}.1:2): msg='{SELINUX}'\n", None, None, None),
    ("auditd writes the host's name before it", "", f"node=host {SELINUX}\n", "service-denied", "did not let webd",
     "semanage port -a -t http"),
    ("a type that is no word", "", SELINUX.replace(":httpd_t:", ":$(x)_t:") + "\n", "service-denied", "did not let webd",
     "^give the port a type that the service's may bind"),
    ("a program that is called as a command is", "",
     audited("x|$(reboot)", 5998, pid=os.getpid(), kind="accept")[1] + "\n", "service-denied", "reboot",
     "^read what was denied", "warning", True),
    ("it was denied, and listens by now", f"5,100,1000,-;audit: {APPARMOR}\n", "", None, None, None, "", True),
    ("the listener is denied to accept", f"5,1,1,-;audit: {audited('webd', 5998, pid=os.getpid(), kind='accept')[0]}\n", "",
     "service-denied", "does not let webd.*accept", "apparmor.d", "warning", True),
    ("nat-bridge itself is denied something", "", audited("nat-bridge", 0, kind="read")[1] + "\n", "self-denied",
     "denied nat-bridge itself.*read of nat-bridge", "audit2allow", "warning", True),
], denied)


@case("words that name what is not mapped")
def _():
    lab.good("add", "br-app", f"19090:{lab.unmapped}")
    first(ask("br-app", lab.unmapped), "not-mapped", "19090")
    cause = first(ask("br-two", 19090), "wrong-network", "br-app")
    expect_eq(cause["mend"], f"nat-bridge add iface:br-two 19090:{lab.unmapped}", "the same target")
    result = lab.nb("doctor", "br-none", 80, "--json")
    expect_eq((result.rc, result.json["error"]["code"]), (1, "no-network"), "no such network")
    expect_eq(lab.nb("doctor", "a", "b", "c").rc, 2, "too many words")


@case("not applied, and --fix: shown first, then done, and only that")
def _():
    mapped()
    site("tcp dport 8088 drop", hook="prerouting", priority=20)
    sh("nft delete table inet nat-bridge")
    result = lab.nb("doctor", "--fix", "--json")
    expect_match("mending: nat-bridge apply", result.err, "said first")
    found = result.json
    by_code = {f["code"]: f for f in found["findings"]}
    expect_eq(by_code["not-applied"]["fixed"], True, "mended")
    expect_eq((by_code["firewall"]["fixed"], by_code["firewall"]["ours"]), (False, False), "others'")
    expect_eq((result.rc, found["findings"][0]["code"]), (1, "firewall"), "what is left comes first")
    expect("8088 drop" in sh("nft list ruleset"), "somebody's rule is untouched")
    sh("nft delete table inet site")
    sh("nft delete table inet nat-bridge")
    expect_eq(lab.nb("doctor", "--fix").rc, 0, "all mended: exit 0")
    expect_eq(lab.tcp(PORT), REACHED, "reached")


@case("a rule that does not hold: a warning, if the probe comes through")
def _():
    mapped()
    lab.good("add", "br-app", f"11500:{lab.mapped}")
    sh("nft delete element inet nat-bridge targets '{ br-app . tcp . 11500 }'")
    found = ask()
    first(found, "not-applied", "11500")
    expect_eq(sorted((p["port"], p["result"]) for p in found["probes"]),
              [(11434, "connected"), (11500, "refused")], "the other one works")
    expect_eq(ask("br-app", PORT, rc=None)["probes"][0]["result"], "connected", "and alone")


@case("an engine's container is probed from, by its pid")
def _():
    pid = lab.agents["ctr"].pid
    engine = FakeEngine(lab.dir + "/docker.sock")
    engine.networks = [network("agents", "br-app")]
    engine.others = {
        "/networks/agents$": {"Containers": {"1": {"Name": "web",
                                                   "IPv4Address": lab.container + "/24"}}},
        "/containers/web/json$": {"State": {"Pid": pid},
                                  "NetworkSettings": {"Networks": {"agents": {}}}},
        "/containers/json$": []}
    with open(lab.config, "w", encoding="utf-8") as file:
        json.dump({"docker": lab.dir + "/docker.sock"}, file)
    lab.good("add", "docker:agents", f"{PORT}:{lab.mapped}")
    found = ask("agents", PORT, rc=0)
    expect_eq([p["from"] for p in found["probes"]], ["container web"], "from")
    engine.stop()
    os.unlink(lab.config)


class Containers:
    """More of them on br-app, and an engine that knows all."""

    def __init__(self, **addresses):
        self.agents = {"web": lab.agents["ctr"]}
        for number, (name, address) in enumerate(addresses.items()):
            agent = self.agents[name] = Agent()
            sh(f"ip link add vmore{number} type veth peer name eth0 netns {agent.pid}; "
               f"ip link set vmore{number} master br-app up")
            agent.call("sh", f"ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up; "
                             f"ip route add default via {lab.gateway}")
        self.engine = FakeEngine(lab.dir + "/docker.sock")
        self.engine.networks = [network("agents", "br-app")]
        everybody = {"web": lab.container, **addresses}
        self.engine.others = {"/networks/agents$": {"Containers": {
            name: {"Name": name, "IPv4Address": address + "/24"} for name, address in everybody.items()}},
            "/containers/json$": []}
        for name, agent in self.agents.items():
            self.engine.others[f"/containers/{name}/json$"] = {
                "State": {"Pid": agent.pid}, "NetworkSettings": {"Networks": {"agents": {}}}}
        with open(lab.config, "w", encoding="utf-8") as file:
            json.dump({"docker": lab.dir + "/docker.sock"}, file)
        lab.good("add", "docker:agents", f"{PORT}:{lab.mapped}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for agent in list(self.agents.values())[1:]:
            os.kill(agent.pid, signal.SIGKILL)
            os.waitpid(agent.pid, 0)
        self.engine.stop()
        os.unlink(lab.config)


def seen_from(found):
    return [(probe["from"], probe["result"]) for probe in found["probes"]]


@case("several containers: each dials, and is told of where it is otherwise than for the first")
def _():
    with Containers(db="172.30.0.3", cache="172.30.0.4") as there:
        wait_for(lambda: there.agents["cache"].call("tcp", GATEWAY, PORT, 1) == REACHED)
        expect_eq(seen_from(ask(rc=0)), [("container web", "connected")], "alike: told once")
        site("ip saddr 172.30.0.3 tcp dport 11434 drop", hook="prerouting", priority=-200)
        found = ask()
        first(found, "firewall", "inet site prerouting.*a probe from container db")
        expect_eq(seen_from(found), [("container web", "connected"), ("container db", "timed out")], "probes")
        expect_eq(len(found["findings"]), 1, f"one cause: {found['findings']}")
        sh(found["findings"][0]["mend"])
        expect_eq(ask(rc=0)["findings"], [], "mended")
        sh("nft delete table inet site; bridge link set dev vmore1 isolated on; bridge link set dev vmore1 state 0")
        first(ask(), "isolated-port", "vmore1.*a probe from container cache")
        sh("bridge link set dev vmore1 state 3; bridge link set dev vapp state 0")
        found = ask()
        first(found, "isolated-port", "vapp.*a probe from container web")
        expect_eq(seen_from(found), [("container web", "timed out"), ("container db", "connected"),
                                     ("container cache", "connected")], "the others reach it")
        sh("bridge link set dev vapp state 3")


@case("a container that is named is the one that dials, and no other")
def _():
    with Containers(db="172.30.0.3") as there:
        wait_for(lambda: there.agents["db"].call("tcp", GATEWAY, PORT, 1) == REACHED)
        expect_eq(seen_from(ask("container:db", PORT, rc=0)), [("container db", "connected")], "it is reached")
        site("ip saddr 172.30.0.3 tcp dport 11434 drop", hook="prerouting", priority=-200)
        for word in ("db", "container:db"):
            found = ask(word, PORT)
            first(found, "firewall", "a probe from container db")
            expect_eq(seen_from(found), [("container db", "timed out")], word)
        expect_eq(seen_from(ask("web", PORT, rc=0)), [("container web", "connected")], "not another's trouble")


@case("a container that is behind no port of its bridge")
def _():
    with Containers(db="172.30.0.3") as containers:
        sh("ip link set vmore0 nomaster")
        cause = first(ask(), "isolated-port", "container db is behind vmore0, which is no port of br-app")
        sh(cause["mend"])
        # until the bridge and its neighbours know each other again
        wait_for(lambda: containers.agents["db"].call("tcp", GATEWAY, PORT, 1) == REACHED, 20)
        expect_eq(ask(rc=0)["findings"], [], "mended")


@case("many containers that reach nothing take seconds, and it is said who was left out", full=True)
def _():
    with Containers(**{f"c{n}": f"172.30.0.{n}" for n in range(20, 32)}):
        site("ip saddr != 172.30.0.2 tcp dport 11434 drop", hook="prerouting", priority=-200)
        started = time.monotonic()
        found = ask()
        took = time.monotonic() - started
        first(found, "firewall", "container c2")
        expect(took < 15, f"it took {took} s")
        expect_match(r"^\d+ containers more were not dialled from", " ".join(found["warnings"]), "said")


@case("an engine that is slow to say who is there: some, in seconds", full=True)
def _():
    with Containers(db="172.30.0.3") as there:
        answer = there.engine.others["/networks/agents$"]["Containers"]
        answer.update({f"x{n}": {"Name": f"x{n}", "IPv4Address": f"172.30.0.{n + 100}/24"} for n in range(50)})

        class Slow(dict):
            def items(self):
                time.sleep(0.3)
                return super().items()

        there.engine.others = Slow(there.engine.others)
        started = time.monotonic()
        found = ask(rc=0)
        expect(time.monotonic() - started < 15, f"it took {time.monotonic() - started} s")
        expect_match("containers of agents were not looked at: Docker answers too slowly",
                     " ".join(found["warnings"]), "said")


def box(hosts):
    """A process on br-app with an /etc/hosts of its own."""
    path = f"{lab.dir}/hosts-{len(os.listdir(lab.dir))}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(hosts)
    process = subprocess.Popen(["nsenter", "-t", str(lab.agents["ctr"].pid), "-n", "unshare", "-m", "sh", "-c",
                                f"mount --bind {path} /etc/hosts && echo ready && exec sleep 1000"],
                               stdout=subprocess.PIPE, text=True)
    expect_eq(process.stdout.readline(), "ready\n", "a container")
    return process


@case("host.docker.internal: of every container of the network, and only if it is wrong")
def _():
    boxes = {"good": box("127.0.0.1 localhost\n172.30.0.1\thost.docker.internal # gateway\n"),
             "both": box("fd00::1 host.docker.internal\n172.30.0.1 x host.docker.internal\n"),
             "none": box("127.0.0.1 localhost\n# 172.31.9.9 host.docker.internal\n"),
             "lost": box("172.31.255.9 host.docker.internal\n"),
             "six": box("fd00::1 host.containers.internal\n"),
             "self": box("127.0.0.1 host.docker.internal\n"),
             "away": box("172.31.0.1 host.docker.internal\n")}
    lab.agents["ctr"].call("sh", "ip route add unreachable 172.31.0.0/24")
    engine = FakeEngine(lab.dir + "/docker.sock")
    engine.networks = [network("agents", "br-app")]
    engine.others = {"/networks/agents$": {"Containers": {
        name: {"Name": name, "IPv4Address": lab.container + "/24"} for name in boxes}},
        "/containers/json$": []}
    for name, process in boxes.items():
        engine.others[f"/containers/{name}/json$"] = {
            "State": {"Pid": process.pid}, "NetworkSettings": {"Networks": {"agents": {}}}}
    with open(lab.config, "w", encoding="utf-8") as file:
        json.dump({"docker": lab.dir + "/docker.sock"}, file)
    lab.good("add", "docker:agents", f"{PORT}:{lab.mapped}")
    found = ask()["findings"]
    expect_eq({f["code"] for f in found}, {"resolves"}, "what is found")
    told = {f["what"].split()[2]: f for f in found}
    expect_eq(set(told), {"lost", "six", "self", "away"}, "of whom")
    expect_match("172.31.0.1, to which it has no route", told["away"]["what"], "an address without a route")
    lab.agents["ctr"].call("sh", "ip route del unreachable 172.31.0.0/24")
    expect_match("172.31.255.9, which is no address of this host", told["lost"]["what"], "an address")
    expect_match("IPv6", told["six"]["what"], "an IPv6 address")
    expect_match(r"--add-host host\.docker\.internal:172\.30\.0\.1 ", told["lost"]["mend"], "mend")
    for process in boxes.values():
        process.kill()
        process.wait()
    engine.stop()
    os.unlink(lab.config)


@case("a container that is on no bridge: of the host's network, of none, unknown, or nobody can tell")
def _():
    # Podman names no network, for the host's; Docker has one of that name
    def container(mode, *names):
        return {"State": {"Pid": os.getpid()}, "HostConfig": {"NetworkMode": mode},
                "NetworkSettings": {"Networks": {name: {} for name in names}}}
    with Containers() as containers:
        engine = containers.engine
        engine.networks.append(network("host", driver="host"))
        engine.others.update({"/containers/open/json$": container("host", "host"),
                              "/containers/bare/json$": container("none")})
        for name, what, says in (
                ("open", "the host's own network: .* without a mapping", rf"dial 127\.0\.0\.1:{lab.mapped} in the container"),
                ("bare", "no network at all", "give the container a network"),
                ("lost", "Docker has no container lost", "name the one that is meant")):
            for words in ((f"container:{name}", PORT), (f"container:{name}",)):
                found = ask(*words)["findings"]
                expect_eq([f["code"] for f in found], ["bridge-absent"], f"{words}: its code")
                expect_match(what, found[0]["what"], f"{words}: what")
                if len(words) == 2:
                    expect_match(says, found[0]["mend"], f"{words}: mend")
        engine.stop()
        found = ask("container:web", PORT)["findings"]
        expect_eq([f["code"] for f in found], ["engine"], "while Docker does not answer")
        engine.start()
        found = ask("container:web", PORT, rc=0)["findings"]
        expect_eq(found, [], "control: when it answers again")


@case("--report: names, public addresses and secrets masked, the same by the same")
def _():
    mapped()
    sh("ip link add br-acme type bridge; ip addr add 203.0.114.5/24 dev br-acme")
    site('ip saddr 203.0.114.77 tcp dport 8088 drop comment "password=hunter2"', hook="prerouting",
         priority=20)
    site2 = "nft add rule inet site prerouting iifname br-app ip saddr 9.9.9.0/24 drop"
    sh(site2 + "; nft add rule inet site prerouting iifname br-app tcp dport 8088 drop")
    path = lab.dir + "/report"
    result = lab.nb("doctor", "--report", path)
    expect_eq(result.rc, 1, f"{result}")
    expect_eq(os.stat(path).st_mode & 0o777, 0o600, "mode")
    text = open(path, encoding="utf-8").read()
    for word in ("br-app", "br-acme", "br-two", "vapp", "203.0.114", "hunter2", os.uname().nodename):
        expect(word not in text.replace("nat-bridge", ""), f"{word} is in the report")
    report = json.loads(text)
    bridges = {p["bridge"] for p in report["doctor"]["probes"]}
    expect_eq({m["bridge"] for m in report["mappings"]}, bridges, "the same name")
    expect_match(r"^br-\d+$", bridges.pop(), "a placeholder")
    expect_match("172.30.0.1", text, "private addresses stay")
    again = lab.nb("doctor", "--report", path)
    expect_eq((again.rc, open(path, encoding="utf-8").read() == text), (1, True), "it is not overwritten")
    expect_match("name a new file", again.err, "why")
    os.symlink(lab.dir + "/elsewhere", lab.dir + "/link")
    lab.nb("doctor", "--report", lab.dir + "/link")
    expect(not os.path.exists(lab.dir + "/elsewhere"), "a link is not followed")
    sh("ip link del br-acme")


@case("a user's engine: told once, within the screen, and a report does not say whose it is")
def _():
    sh("(grep -v :4711: /etc/passwd; echo 'carolus:x:4711:4711::/home/carolus:/bin/sh') >/run/passwd; "
       "mount --bind /run/passwd /etc/passwd")
    os.makedirs("/run/user/4711", exist_ok=True)
    engine = FakeEngine("/run/user/4711/docker.sock", 4711)
    clean = {"DOCKER_HOST": "", "CONTAINER_HOST": ""}
    try:
        lab.good("add", "docker:agents", str(PORT), env=clean)
        result = lab.nb("doctor", env={**clean, "COLUMNS": "80"})
        expect_eq((result.rc, result.err), (1, ""), "what it warns of it has found")
        expect_match("engine-rootless: docker:agents .*carolus", result.out, "found")
        expect(max(map(len, result.out.splitlines())) <= 80, f"80 columns: {result.out}")
        expect_eq(engine.asked, [], "it is not asked anything")
        path = lab.dir + "/report-of-users"
        lab.nb("doctor", "--report", path, env=clean)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        expect("carolus" not in text and "engine-rootless" in text, f"masked: {text}")
    finally:
        engine.stop()
        sh("umount /etc/passwd")


@case("killed at any moment: nothing is left")
def _():
    mapped()
    site("tcp dport 8088 drop", hook="prerouting", priority=20)
    sh("ip link set vapp nomaster")
    sh("nft list ruleset; ip -o link")
    before = (lab.tidy_ruleset(), sorted(lab.devices()))
    for wait in (0.05, 0.2, 0.5, 0.9, 1.3, 1.6):
        process = subprocess.Popen(lab.command("doctor"), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        expect(wait_for(lambda: (lab.tidy_ruleset(), sorted(lab.devices())) == before, 5),
               f"killed after {wait} s: {sh('nft list tables; ip -o link')}")
    sh("ip link set vapp master br-app")


@case("an ordinary user: what he can, and what root would see")
def _():
    mapped()
    result = lab.nb("doctor", "--json", prefix=("setpriv", "--reuid", "65534", "--regid", "65534",
                                                "--clear-groups"))
    expect_eq((result.rc, result.json["healthy"], result.json["probes"]), (1, None, []), f"{result}")
    expect_match("root would see more", " ".join(result.json["warnings"]), "said")
    result = lab.nb("doctor", "--fix", "--json", prefix=("setpriv", "--reuid", "65534", "--regid",
                                                         "65534", "--clear-groups"))
    expect_eq((result.rc, result.json["error"]["code"]), (1, "permission"), "--fix is for root")


@case("ip_forward is 0: said once, where something does not work, and nowhere blamed")
def _():
    mapped()
    sh("sysctl -qw net.ipv4.ip_forward=0")
    expect("ip_forward" not in lab.good("doctor").out, "nothing to say")
    site("tcp dport 8088 drop", hook="prerouting", priority=20)
    out = lab.nb("doctor").out
    expect_eq(out.count("net.ipv4.ip_forward is 0, and does not matter"), 1, f"said once: {out}")
    expect_eq([f["code"] for f in ask()["findings"]], ["firewall"], "the cause")
    sh("nft delete table inet site")
    lab.agents["ctr"].call("sh", f"tc qdisc add dev eth0 clsact; tc filter add dev eth0 egress "
                                 f"protocol all bpf da bytecode '{DROP_TCP}'")
    first(ask(), "no-cause", "net.ipv4.ip_forward is 0, which does not matter")
    lab.agents["ctr"].call("sh", "tc qdisc del dev eth0 clsact")
    sh("sysctl -qw net.ipv4.ip_forward=1")
    site("tcp dport 8088 drop", hook="prerouting", priority=20)
    expect("ip_forward" not in lab.nb("doctor").out, "it is 1: nobody suspects it")


@case("--dry-run sends no packet")
def _():
    mapped()
    lab.services.log()
    found = ask("--dry-run", rc=0)
    expect_eq((found["probes"], lab.services.log()), ([], []), "no probe")


@case("every code is in the manual")
def _():
    with open(lab.source + "/docs/nat-bridge.8", encoding="utf-8") as file:
        page = file.read()
    with open(lab.source + "/src/diagnose/codes.c", encoding="utf-8") as file:
        codes = re.findall(r'^\t\{ "([a-z-]+)", \d+', file.read(), re.M)
    section = page[page.index(".Sh FINDINGS"):]
    section = section[:section.index(".Sh", 5)]
    expect_eq(re.findall(r"^\.It Li ([a-z-]+)$", section, re.M), codes, "FINDINGS")


run(fresh)
