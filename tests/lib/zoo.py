# SPDX-License-Identifier: GPL-2.0-or-later
"""Broken hosts, what `nat-bridge doctor` says of each, and whether its command mends it.

    from zoo import *

    keep([
        Sick("a full name", "what it stands for", "timeout", "firewall",
             "iptables-nft -t raw -A PREROUTING -i br-app -j DROP"),
        Well("another", "ip link ..."),
    ])
    run_zoo(__file__)

Each host is a lab of nblab.py of its own, in namespaces of its own, that nobody tidies up. A
mapping is added and reached; what breaks the host is done to it; a container is seen not to reach
the service in the way that is claimed; then doctor is asked, its first finding must be of the
right kind, no other problem be found that the host has not got, and the command that it prints is
run as a user would. Then the container must reach the service, and doctor find nothing. A host
that is well must be reached, and nothing be found.

With $NB_ZOO, a folder, what was seen and said is written there for docs/troubleshooting.md.
With --hosts doctor is not asked: the hosts alone are proven. With --show it is shown.
"""
import dataclasses
import pickle
import traceback

from nblab import *  # noqa: F403
from nblab import Lab, enter, libc, run
import nblab

__all__ = nblab.__all__ + ["Lab", "Sick", "Well", "keep", "run_zoo", "Listener", "nft", "PORT", "GATEWAY"]

PORT = 11434  # that is dialled; the service is at lab.mapped
GATEWAY = Lab.gateway
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
ALWAYS = lambda _: None  # noqa: E731


@dataclasses.dataclass
class Sick:
    name: str
    stands_for: str  # an issue, or the fact that makes people have it
    symptom: str  # timeout, refused, no route, closed, silent (connected, and no answer); exposed: reached, and more than that
    code: object  # of doctor's first finding, or a tuple, where two words say the same
    breaks: object  # shell, or a function of the lab
    evidence: str = ""  # a pattern that its words must have
    says: str = ""  # and one of its mend
    also: tuple = ()  # codes of other problems that are as true; any more are false
    mapping: str = f"{PORT}:{Lab.mapped}"  # of br-app; None: the host's breaks makes what there is
    ask: tuple = ()  # what doctor is told
    dial: object = None  # how the container dials; a function of the lab
    cure: object = None  # a function: what a human does, where no command can be the mend
    warns: bool = False  # a warning is enough
    before: object = ALWAYS  # done before the mapping is made
    works: bool = True  # is it reached before it is broken?
    forget: bool = True  # may connection tracking forget, so that each dial is a new connection?
    full: bool = False


@dataclasses.dataclass
class Well:
    name: str
    setup: object
    after: object = ""
    mapping: str = f"{PORT}:{Lab.mapped}"
    ask: tuple = ()
    dial: object = None
    full: bool = False


def nft(text):
    """What nft loads; older ones want a line's end before a brace."""
    text = re.sub(r"(?<=[^\s;{}]) +\}", "\n}", text).replace("} }", "}\n}")
    return f"nft -f - <<'NFT'\n{text}\nNFT"


class Listener:
    """A service: greets whoever comes. It ends with the lab, or by end()."""

    def __init__(self, address, port, device=None, udp=False, backlog=64, share=False, user=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        os.seteuid(user)  # a socket is whose who makes it
        sock = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        os.seteuid(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.bind((address, port))
        if not udp:
            sock.listen(backlog)
        self.pid = os.fork()
        if self.pid == 0:
            clients = []
            try:
                while True:
                    if udp:
                        _, peer = sock.recvfrom(2000)
                        sock.sendto(b"udp hello", peer)
                    else:
                        client = sock.accept()[0]
                        clients.append(client)
                        try:
                            client.send(f"tcp {address}:{port}\n".encode())
                        except OSError:
                            pass  # reset already
            finally:
                os._exit(0)
        sock.close()

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


# ---------------------------------------------------------------- one host


def do(work, lab):
    if callable(work):
        work(lab)
    elif work:
        sh("set -e\n" + work)


def seen(answer):
    """What a user would call it."""
    if answer.startswith(("tcp ", "udp ")):
        return "reached"
    if answer in ("timeout", "refused", "exposed", "silent"):
        return answer
    if answer in ("error 113", "error 101", "error 13"):
        return "no route"
    return "closed"


def dial(host, lab, timeout):
    """What the container gets now; as somebody who tries anew."""
    if getattr(host, "forget", True):
        sh("conntrack -F 2>/dev/null", check=False)
    if host.dial:
        return seen(host.dial(lab))
    return seen(lab.tcp(PORT, timeout=timeout))


def put_in_path(lab):
    """The program with the lab's files, by the name that its messages use."""
    os.makedirs(lab.dir + "/bin", exist_ok=True)
    with open(lab.dir + "/bin/nat-bridge", "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {lab.program} "$@" --rules {lab.rules} --config {lab.config}\n')
    os.chmod(lab.dir + "/bin/nat-bridge", 0o755)
    os.environ["PATH"] = f"{lab.dir}/bin:{os.environ['PATH']}"


def ask_doctor(lab, words, row=None):
    result = lab.nb("doctor", *words, "--json", timeout=120)
    if arguments.verbose and row is not None:
        row["shown"] = lab.nb("doctor", *words, timeout=120).out
    try:
        found = result.json
    except ValueError as error:
        expect(False, f"no single JSON object ({error}) from {result}")
        return result.rc, []
    return result.rc, found.get("findings") or []


def told(findings):
    return "\n".join(f"{f['severity']} {f['code']}: {f['what']}\n    evidence: {f['evidence']}\n"
                     f"    mend: {f['mend']}" for f in findings) or "nothing"


def look_at_sick(host, lab, row):
    do(host.before, lab)
    if host.mapping:
        lab.good("add", "br-app", host.mapping)
        if host.works:
            expect_eq(dial(host, lab, 3), "reached", "before it is broken")
    do(host.breaks, lab)
    row["seen"] = dial(host, lab, 0.7)
    expect_eq(row["seen"], host.symptom, "control: what the container gets")
    if "--hosts" in sys.argv:
        return
    started = time.monotonic()
    rc, findings = ask_doctor(lab, host.ask, row)
    row["seconds"] = time.monotonic() - started
    row["findings"] = findings
    wanted = host.code if isinstance(host.code, tuple) else (host.code,)
    problems = [f for f in findings if host.warns or f["severity"] == "problem"]
    if not problems or not expect(problems[0]["code"] in wanted,
                                  f"doctor's first: expected {wanted}, got:\n{told(findings)}"):
        expect(problems, f"doctor finds no problem, but says {told(findings)}")
        return
    first = problems[0]
    row.update(code=first["code"], what=first["what"], mend=first["mend"])
    if not host.warns:
        expect_eq(rc, 1, "doctor's exit status")
    expect_match(host.evidence, f"{first['what']} {first['evidence']}", "its words")
    expect_match(host.says or ".", first["mend"], "it says what mends it")
    more = [f for f in findings if f["severity"] == "problem" and f["code"] not in wanted + host.also]
    expect(not more, f"it finds what is not so:\n{told(more)}")
    mend(host, lab, row, first, wanted)


def run_mend(command):
    done = subprocess.run(["sh", "-c", command], text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=60)
    expect_eq(done.returncode, 0, f"its command: {command}\n{done.stdout}{done.stderr}")


def mend(host, lab, row, first, wanted):
    """By its command; and by those that follow, as long as it finds more of the same kind."""
    healed = "closed" if host.symptom == "exposed" else "reached"
    typed = []
    while True:
        if host.cure:
            do(host.cure, lab)
        else:
            run_mend(first["mend"])
        typed.append(first["mend"])
        after = dial(host, lab, 3)
        rc, findings = ask_doctor(lab, host.ask)
        left = [f for f in findings if f["severity"] == "problem"]
        if host.cure or not left or left[0]["code"] not in wanted or left[0]["mend"] in typed:
            break
        first = left[0]
    expect_eq(after, healed, f"mended by: {typed}")
    expect(rc == 0 and not left, f"then doctor is content: exit {rc}, {told(findings)}")
    row["typed"] = len(typed)
    row["by_hand"] = bool(host.cure)
    row["mended"] = not nblab._failures


def look_at_well(host, lab, row):
    do(host.setup, lab)
    if host.mapping:
        lab.good("add", "br-app", host.mapping)
    do(host.after, lab)
    row["seen"] = dial(host, lab, 3)
    expect_eq(row["seen"], "reached", "control: what the container gets")
    if "--hosts" in sys.argv:
        return
    rc, findings = ask_doctor(lab, host.ask, row)
    row["findings"] = findings
    expect(rc == 0 and not findings, f"a healthy host: exit {rc}, {told(findings)}")


# ---------------------------------------------------------------- many of them

_hosts = []


def keep(hosts):
    _hosts.extend(hosts)


def look(host, make_lab):
    """In namespaces of this host's own: its failures, and its row."""
    row = {"name": host.name, "healthy": isinstance(host, Well)}
    if not row["healthy"]:
        row.update(stands_for=host.stands_for, symptom=host.symptom)
    skipped = None
    nblab._failures.clear()
    try:
        lab = make_lab()
        put_in_path(lab)
        (look_at_well if row["healthy"] else look_at_sick)(host, lab, row)
    except Skip as reason:
        skipped = (str(reason), reason.kernel)
    except Exception:  # what goes wrong in a host is told, and the next one is looked at
        nblab._failures.append(traceback.format_exc())
    return row, list(nblab._failures), skipped


class Herd:
    """The hosts, some at a time: most of what they do is to wait."""

    def __init__(self, hosts, make_lab, together):
        self.hosts, self.make_lab, self.together = hosts, make_lab, together
        self.pipes, self.done, self.begun = {}, {}, 0

    def _start(self):
        number = self.begun
        self.begun += 1
        reading, writing = os.pipe()
        sys.stdout.flush()
        if os.fork() == 0:
            os.close(reading)
            # the second one is PID 1 of its namespace: what it leaves ends with it
            if libc.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET):
                os._exit(1)
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
                os._exit(0)
            try:
                sh("mount --make-rprivate / && mount -t proc proc /proc")
                with os.fdopen(writing, "wb") as pipe:
                    pickle.dump(look(self.hosts[number], self.make_lab), pipe)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(writing)
        self.pipes[reading] = (number, b"")

    def result(self, number):
        while number not in self.done:
            while len(self.pipes) < self.together and self.begun < len(self.hosts):
                self._start()
            for fd in select_readable(self.pipes):
                which, so_far = self.pipes[fd]
                data = os.read(fd, 65536)
                if data:
                    self.pipes[fd] = (which, so_far + data)
                    continue
                os.close(fd)
                del self.pipes[fd]
                self.done[which] = pickle.loads(so_far) if so_far else \
                    ({}, ["the host's process ended"], None)
                try:
                    os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    pass
        return self.done.pop(number)


def select_readable(fds):
    return nblab.select.select(list(fds), [], [])[0]


def run_zoo(script, needs=(), make_lab=Lab, together=3, outer=None):
    """Look at all that were kept. @make_lab makes each one's lab; @outer, instead of enter(), what
    they share."""
    if outer:
        outer()
    else:
        enter(script, containers=False, needs=("nft", "ip", "conntrack") + tuple(needs))
    # a third of those that are made at once, unless all are wanted: each waits for what is lost
    every = bool(arguments.full or arguments.only or os.environ.get("NB_ZOO") or make_lab is not Lab)
    hosts = [h for number, h in enumerate(_hosts) if (arguments.full or not h.full)
             and (every or number % 3 == 0)
             and (not arguments.only or re.search(arguments.only, h.name))]
    herd = Herd(hosts, make_lab, together)
    rows = []

    def judge(number):
        row, failures, skipped = herd.result(number)
        for failure in failures:
            expect(False, failure)
        if arguments.verbose:
            note(row.pop("shown", ""))
        if not skipped:
            rows.append(row)
        if number == len(hosts) - 1:
            write_rows(script, rows)
        if skipped:
            skip(*skipped)

    table_cases([(host.name, number) for number, host in enumerate(hosts)], judge)
    arguments.only = None
    run()


def write_rows(script, rows):
    folder = os.environ.get("NB_ZOO")
    if folder:
        os.makedirs(folder, exist_ok=True)
        name = os.path.basename(script).rsplit(".", 1)[0]
        with open(f"{folder}/{name}.json", "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
