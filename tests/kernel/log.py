#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nat-bridge watch --log: a line for each connection's begin and end, and no other story than
what happened."""
import contextlib
import datetime
import os
import select
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from watcher import Watcher  # noqa: E402

lab = enter(__file__)
SYSCTL = "/proc/sys/net/netfilter/nf_conntrack_"
FLOW = {"flow", "network", "bridge", "container", "protocol", "source", "dialled", "port", "target"}
START = {"time", "event", "resumed"} | FLOW
END = {"time", "event", "began", "duration", "packets_in", "bytes_in", "packets_out", "bytes_out",
       "reason", "detail"} | FLOW


def sysctl(name, value=None):
    if value is not None:
        with open(SYSCTL + name, "w", encoding="ascii") as file:
            file.write(str(value))
    with open(SYSCTL + name, encoding="ascii") as file:
        return int(file.read())


class Logging(Watcher):
    """A watcher with a log in a file, read line by line."""

    def __init__(self, *words, where=None):
        self.where = where or f"{lab.dir}/flows-{os.urandom(4).hex()}.log"
        super().__init__(lab, f"--log={self.where}", *words)

    def lines(self, event=None):
        with open(self.where, encoding="utf-8") as file:
            text = file.read()
        expect(text == "" or text.endswith("\n"), f"half a line: {text[-200:]!r}")
        found = [json.loads(line) for line in text.splitlines()]
        return [line for line in found if event is None or line["event"] == event]

    def wait(self, event, count=1, seconds=10):
        """The lines of @event, when there are so many."""
        wait_for(lambda: len(self.lines(event)) >= count, seconds)
        found = self.lines(event)
        expect(len(found) == count, f"{count} lines of {event}, not {len(found)}: {self.lines()}")
        return found


BUSY = 7100


@contextlib.contextmanager
def busy_service():
    """One that takes what comes, on 127.0.0.1:BUSY, and mapped."""
    listener = socket.create_server(("127.0.0.1", BUSY), backlog=1024)
    pid = os.fork()
    if pid == 0:
        while True:
            listener.accept()[0].close()
    listener.close()
    lab.good("add", "br-app", BUSY)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def load(count):
    lab.agent().call("load", lab.gateway, BUSY, count)


def connect(name="one", port=lab.mapped):
    expect("tcp 127" in lab.agent().call("connect", name, lab.gateway, port), "no connection")


@case("a TCP connection: who, where, when, how long, how much, and that it was closed")
def _():
    lab.good("add", "br-app", lab.mapped)
    before = time.time()
    with Logging("--log-accounting") as log:
        connect()
        start = log.wait("start")[0]
        expect_eq(set(start), START, "keys")
        for key, value in {"network": "iface:br-app", "bridge": "br-app", "container": None,
                           "protocol": "tcp", "port": lab.mapped, "resumed": False,
                           "dialled": f"{lab.gateway}:{lab.mapped}",
                           "target": f"127.0.0.1:{lab.mapped}"}.items():
            expect_eq(start[key], value, key)
        expect(start["source"].startswith(lab.container + ":"), start["source"])
        expect_eq(log.lines("end"), [], "ends while it is open")
        for _ in range(10):
            expect_eq(lab.agent().call("exchange", "one", 3), "more\n", "exchange")
        lab.agent().call("hang_up", "one")
        end = log.wait("end")[0]
        expect_eq(set(end), END, "keys")
        expect_eq({key: end[key] for key in FLOW}, {key: start[key] for key in FLOW}, "the flow")
        expect_eq((end["reason"], end["detail"]), ("closed", None), "reason")
        # a greeting, and ten times five bytes both ways
        for way, data in (("in", 50), ("out", 50 + len(f"tcp 127.0.0.1:{lab.mapped}\n"))):
            packets, size = end[f"packets_{way}"], end[f"bytes_{way}"]
            expect(10 <= packets <= 40, f"{packets} packets {way}")
            expect(data + 40 * packets <= size <= data + 64 * packets, f"{size} bytes {way}")
        for line in (start, end):
            at = datetime.datetime.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(
                tzinfo=datetime.timezone.utc).timestamp()
            expect(before - 0.1 <= at <= time.time() + 0.1, f"{line['time']}")
        expect(0 <= end["duration"] < 30, f"duration {end['duration']}")
        expect_eq(end["began"], start["time"], "began")
        expect_eq([line["event"] for line in log.lines()], ["log-begin", "start", "end"], "lines")
    expect_eq(log.lines()[-1]["event"], "log-end", "the last line")


@case("UDP: the end comes when it was idle, which is said")
def _():
    lab.good("add", "br-app", f"{lab.mapped}/udp")
    before = {name: sysctl(name) for name in ("udp_timeout", "udp_timeout_stream")}
    try:
        sysctl("udp_timeout", 1)
        sysctl("udp_timeout_stream", 1)
        with Logging("--log-accounting") as log:
            expect("udp 127" in lab.agent().call("udp", lab.gateway, lab.mapped, 3), "no answer")
            start = log.wait("start")[0]
            expect_eq((start["protocol"], start["target"]), ("udp", f"127.0.0.1:{lab.mapped}"), "")
            # the kernel sweeps once a minute, or what somebody looks at
            expect(wait_for(lambda: lab.nb("list") and log.lines("end"), 80, 0.5), "no end")
            end = log.wait("end")[0]
        expect_eq((end["reason"], end["detail"]), ("expired", "idle"), "reason")
        expect_eq((end["packets_in"], end["packets_out"]), (1, 1), "packets")
        expect_eq(end["bytes_in"], 28 + len("ping"), "bytes")
    finally:
        for name, value in before.items():
            sysctl(name, value)


@case("revoked: by remove, and by --replace")
def _():
    lab.good("add", "br-app", lab.mapped, f"5000:{lab.mapped}")
    with Logging("--log-accounting") as log:
        connect("one")
        connect("two", 5000)
        log.wait("start", 2)
        lab.good("remove", "br-app", lab.mapped)
        end = log.wait("end")[0]
        expect_eq((end["reason"], end["port"]), ("revoked", lab.mapped), "reason")
        expect(end["bytes_in"] > 100, f"bytes {end['bytes_in']}")
        lab.good("add", "br-app", f"5000:{lab.unmapped}", "--replace")
        end = log.wait("end", 2)[1]
        expect_eq((end["reason"], end["target"]), ("revoked", f"127.0.0.1:{lab.mapped}"), "reason")
    lab.agent().call("hang_up", "one")
    lab.agent().call("hang_up", "two")


@case("expired: a mapping with --for ends its connections in the log when it ends them")
def _():
    lab.good("add", "br-app", lab.mapped, "--for", "3s")
    with Logging() as log:
        connect()
        log.wait("start")
        end = log.wait("end", seconds=20)[0]
        expect_eq((end["reason"], end["detail"]), ("expired", "mapping"), "reason")
        expect(end["duration"] <= 4, f"duration {end['duration']}")
        expect_eq(end["bytes_in"], None, "bytes that nobody counted")
    lab.agent().call("hang_up", "one")


@case("expired, and added again: what goes on is told as resumed")
def _():
    lab.good("add", "br-app", lab.mapped, "--for", "2s")
    with Logging() as log:
        connect()
        expect_eq(log.wait("end", seconds=20)[0]["detail"], "mapping", "detail")
        lab.good("add", "br-app", lab.mapped)
        start = log.wait("start", 2)[1]
        expect_eq((start["resumed"], start["flow"]), (True, log.lines("end")[0]["flow"]), "again")
        expect_eq(lab.agent().call("exchange", "one", 5), "more\n", "it goes on")
        lab.agent().call("hang_up", "one")
        expect_eq(log.wait("end", 2)[1]["reason"], "closed", "reason")


@case("what was there before the log is told as resumed, also its end")
def _():
    lab.good("add", "br-app", lab.mapped)
    connect()
    with Logging() as log:
        start = log.wait("start")[0]
        expect_eq((start["resumed"], start["time"]), (True, None), "resumed")
        lab.good("remove", "br-app", lab.mapped)
        log.process.send_signal(signal.SIGHUP)
        end = log.wait("end", seconds=80)[0]
        expect_eq((end["reason"], end["duration"]), ("revoked", None), "reason")
    lab.agent().call("hang_up", "one")


@case("what had closed before the log is not in it, also when the kernel forgets it")
def _():
    lab.good("add", "br-app", lab.mapped)
    sysctl("events", 1)
    connect()
    lab.agent().call("hang_up", "one")

    def flows():
        return sh("conntrack -L -p tcp 2>/dev/null")
    # one that was reset goes to CLOSE, which is as closed
    expect(wait_for(lambda: re.search(r"TIME_WAIT|CLOSE ", flows()), 20), f"it did not close: {flows()}")
    with Logging() as log:
        forget_flows()
        connect("two")
        expect_eq(log.wait("start")[0]["resumed"], False, "resumed")
        expect_eq(log.lines("end"), [], "ends")


@case("connections of others are not in it: unmapped ports, the host's own, another's DNAT")
def _():
    lab.good("add", "br-app", lab.mapped)
    sh(f"nft add table ip site; nft add chain ip site out '{{ type nat hook output priority -100; }}'; "
       f"nft add rule ip site out ip daddr 192.0.2.1 tcp dport 80 dnat to 127.0.0.1:{lab.unmapped}")
    sh("ip addr add 192.0.2.1/32 dev lo")
    with Logging() as log:
        expect_eq(lab.tcp(lab.unmapped), "refused", "an unmapped port")
        with socket.create_connection(("192.0.2.1", 80), 3) as sock:
            expect(sock.recv(100), "no greeting through the other's DNAT")
        connect()
        start = log.wait("start")[0]
        expect_eq(start["port"], lab.mapped, "port")
        lab.agent().call("hang_up", "one")
        log.wait("end")
    sh("ip addr del 192.0.2.1/32 dev lo; nft delete table ip site")


@case("accounting is set back: at the end, after a kill, and only if it was ours")
def _():
    names = ("acct", "timestamp")
    for was in (0, 1):
        for name in names:
            sysctl(name, was)
        with Logging("--log-accounting") as log:
            expect(wait_for(lambda: all(sysctl(name) == 1 for name in names), 5), "not set")
            log.end(signal.SIGKILL)
        expect_eq([sysctl(name) for name in names], [1, 1], "killed")
        with Logging("--log-accounting"):
            expect_eq([sysctl(name) for name in names], [1, 1], "again")
        expect_eq([sysctl(name) for name in names], [was, was], "set back")
        with Logging():
            expect_eq([sysctl(name) for name in names], [was, was], "without")
    # who is refused has nothing to set back
    for name in names:
        sysctl(name, 0)
    with Logging("--log-accounting"):
        for words in ((), ("--dry-run",)):
            refused = lab.nb("watch", f"--log={lab.dir}/none.log", "--log-accounting", *words)
            expect(refused.rc in (1, 2), f"{refused}")
            expect_eq([sysctl(name) for name in names], [1, 1], f"refused {words}")
    expect_eq([sysctl(name) for name in names], [0, 0], "set back by its own end")
    for name in names:
        sysctl(name, 0)
    with Logging("--log-accounting") as log:
        log.end(signal.SIGKILL)
    with Watcher(lab):
        expect_eq([sysctl(name) for name in names], [0, 0], "set back by the next one")


def logger_of(log):
    found = sh(f"pgrep -P {log.process.pid}").split()
    expect(len(found) == 1, f"children: {found}")
    return int(found[0])


def rests(pid):
    """Has it had nothing to do for some time?"""
    def used():
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().split()[13:15]
    before = used()
    time.sleep(0.5)
    return used() == before


@case("the process that logs is killed: it comes again and says that something may be missing")
def _():
    lab.good("add", "br-app", lab.mapped)
    with Logging() as log:
        connect()
        log.wait("start")
        os.kill(logger_of(log), signal.SIGKILL)
        expect_eq(log.wait("lost")[0]["what"], "events", "lost")
        expect_eq(log.wait("start", 2)[1]["resumed"], True, "resumed")
        lab.agent().call("hang_up", "one")
        expect_eq(log.wait("end")[0]["reason"], "closed", "reason")
        expect(in_sync(), "not in sync")


def in_sync():
    return lab.nb("check").rc == 0


@case("the process that logs is small, too, when nothing happens")
def _():
    lab.good("add", "br-app", lab.mapped)
    with Logging("--log-accounting") as log:
        connect()
        log.wait("start")

        def resident():
            with open(f"/proc/{logger_of(log)}/status", encoding="ascii") as file:
                return int(re.search(r"^VmRSS:\s*(\d+)", file.read(), re.M).group(1))
        # it counts what was refused every ten seconds, and then rests
        if lab.sanitized:
            skip("a build with sanitizers has memory of its own", kernel=True)
        expect(wait_for(lambda: resident() <= 1536, 30, 0.2), f"{resident()} KiB resident")
        note(f"resident: {resident()} KiB")
        lab.agent().call("hang_up", "one")


@case("the watcher is killed: the one that logs ends, too, and tells so")
def _():
    with Logging() as log:
        # READY=1 is the watcher's word: the other process may not have had its turn yet
        log.wait("log-begin")
        log.end(signal.SIGKILL)
        log.wait("log-end")


@case("a reader that does not read: the log waits, mending does not, and loss is told")
def _():
    pipe = f"{lab.dir}/pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with busy_service(), Watcher(lab, f"--log={pipe}"):
        stop = time.monotonic() + 60
        told = b""
        while b'"lost"' not in told and time.monotonic() < stop:
            load(4000)
            sh("nft flush ruleset")
            expect(wait_for(in_sync, 10), "not mended while the reader sleeps")
            told = b""
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline:
                if not select.select([reader], [], [], 0.2)[0]:
                    break
                told += os.read(reader, 65536)
        expect(b'"lost"' in told, "no line of lost events")
        for line in told.decode().splitlines()[1:-1]:
            json.loads(line)
    os.close(reader)


@case("nobody reads: the end does not wait for that, and sets everything back")
def _():
    pipe = f"{lab.dir}/pipe"
    for number in (signal.SIGTERM, signal.SIGKILL):
        if os.path.exists(pipe):
            os.unlink(pipe)
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        sysctl("acct", 0)
        with busy_service(), Watcher(lab, f"--log={pipe}", "--log-accounting") as watcher:
            pid = logger_of(watcher)
            load(1000)
            begun = time.monotonic()
            watcher.end(number)
            expect(time.monotonic() - begun < 10, "its end waits")
            expect(wait_for(lambda: is_gone(pid), 10), "the process that logs is still there")
        if number == signal.SIGTERM:
            expect_eq(sysctl("acct"), 0, "nf_conntrack_acct")
        os.close(reader)


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@case("nothing listens: closed, and refused")
def _():
    lab.good("add", "br-app", "7999")
    with Logging("--log-accounting") as log:
        expect_eq(lab.tcp(7999), "refused", "dialled")
        end = log.wait("end")[0]
        expect_eq((end["reason"], end["detail"]), ("closed", "refused"), "reason")


@case("a source that is made up on another bridge is put down to nobody")
def _():
    lab.good("add", "br-two", lab.mapped)
    two = lab.agent("two")
    two.call("sh", f"ip addr add {lab.container}/32 dev lo")
    with Logging() as log:
        two.call("sh", f"""python3 -c '
import socket
sock = socket.socket()
sock.settimeout(1)
sock.bind(("{lab.container}", 0))
try:
    sock.connect(("{lab.gateway_two}", {lab.mapped}))
except OSError:
    pass
'""")
        start = log.wait("start")[0]
        expect_eq([start[key] for key in ("network", "bridge", "container")], [None] * 3, "who")
    two.call("sh", f"ip addr del {lab.container}/32 dev lo")


@case("a reset that connection tracking believes, and the service does not, hides nothing")
def _():
    port = BUSY + 1  # what is sent again later would be a connection to the service of other cases
    listener = socket.create_server(("127.0.0.1", port))
    lab.good("add", "br-app", port)
    before = sysctl("tcp_timeout_close")
    sysctl("tcp_timeout_close", 2)
    with Logging("--log-accounting") as log:
        lab.agent().call("dial", "one", lab.gateway, port)
        peer = listener.accept()[0]
        lab.agent().call("false_reset", "one")
        end = log.wait("end")[0]
        expect_eq(end["reason"], "closed", "reason")
        peer.sendall(bytes(20000))
        expect(wait_for(lambda: lab.nb("list") and log.lines("late"), 80, 0.5), "no word of more")
        late = log.lines("late")[0]
        expect_eq(set(late), END, "keys")
        expect_eq(late["flow"], end["flow"], "flow")
        expect(late["bytes_out"] > 10000 > end["bytes_out"], f"{end} {late}")
        peer.close()
    listener.close()
    sysctl("tcp_timeout_close", before)


@case("a thousand connections: each has its two lines")
def _():
    with busy_service(), Logging("--log-accounting") as log:
        load(1000)
        expect(wait_for(lambda: len(log.lines("start")) >= 1000 and
                        len(log.lines("start")) == len(log.lines("end")), 30), "lines are missing")
        starts, ends = log.lines("start"), log.lines("end")
        # a source port that the service still has from another case takes two attempts
        expect_eq(len({line["source"] for line in starts}), 1000, "sources")
        expect_eq(sorted(line["flow"] for line in starts), sorted(line["flow"] for line in ends),
                  "flows")
        expect_eq(len({line["flow"] for line in starts}), len(starts), "numbers of flows")
        expect_eq({line["reason"] for line in ends}, {"closed"}, "reasons")
        expect(all(line["bytes_in"] for line in ends), "bytes")
        expect_eq(log.lines("lost"), [], "lost")


@case("refused packets are counted, where they are dropped")
def _():
    path = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    lab.good("add", "br-app", lab.mapped)
    # where bridges ask nf_tables, too, the guard there is the first; else the filter at ingress
    for bridge_nf, where, bridge in ((1, "guard", None), (0, "ingress", "br-app")):
        if os.path.exists(path):
            with open(path, "w", encoding="ascii") as file:
                file.write(str(bridge_nf))
        elif bridge_nf:
            continue
        with Logging() as log:
            def there():
                return [line for line in log.lines("refused") if line["where"] == where]
            log.wait("log-begin")
            lab.closed()
            log.process.send_signal(signal.SIGHUP)
            expect(wait_for(there, 25), f"{log.lines()}")
            expect_eq(there()[0]["bridge"], bridge, "bridge")
            expect(there()[0]["packets"] >= 2, f"{there()}")
        # what came since the last count is told before the end
        with Logging() as log:
            log.wait("log-begin")
            lab.closed()
            log.end()
            expect(there(), f"{log.lines()}")
            expect_eq(log.lines()[-1]["event"], "log-end", "the last line")


@case("the rule of docs/log.md sees a forged packet, whoever drops it")
def _():
    with open(f"{os.environ['NB_SOURCE']}/docs/log.md", encoding="utf-8") as file:
        block = re.search(r"```sh\n(nft add table bridge.*?)```", file.read(), re.S).group(1)
    lab.good("add", "br-app", lab.mapped)
    path = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    for bridge_nf in (1, 0) if os.path.exists(path) else (None,):
        if bridge_nf is not None:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(bridge_nf))
        sh(block.replace(" log group 5", " counter log group 5"))
        lab.closed()
        seen = re.search(r"counter packets (\d+)", sh("nft list table bridge forged"))
        expect(seen and int(seen.group(1)) >= 2, f"bridge-nf {bridge_nf}: {seen and seen.group()}")
        sh("nft delete table bridge forged")


@case("a file is opened again when it was moved away, and nobody else may read it")
def _():
    with Logging() as log:
        expect_eq(os.stat(log.where).st_mode & 0o777, 0o600, "mode")
        os.rename(log.where, log.where + ".1")
        log.process.send_signal(signal.SIGHUP)
        expect(wait_for(lambda: os.path.exists(log.where), 5), "not opened again")
    expect_eq([line["event"] for line in log.lines()], ["log-end"], "lines of the new one")


@case("a disk that is full: no half lines, and what is missing is told when there is room")
def _():
    folder = f"{lab.dir}/small"
    os.mkdir(folder)
    sh(f"mount -t tmpfs -o size=64k small {folder}")
    with busy_service(), Logging(where=f"{folder}/flows.log") as log:
        load(300)
        expect(wait_for(lambda: os.statvfs(folder).f_bfree == 0, 10), "it is not full")
        load(300)
        expect(wait_for(lambda: rests(logger_of(log)), 20), "it goes on and on")
        before = log.lines()
        os.truncate(log.where, 0)
        load(1)
        log.wait("lost")
        expect(wait_for(lambda: len(log.lines("end")) >= 1, 10), "no end")
        # where a short one still fitted, losses are told at once
        told = before + log.lines()
        lost = [line["count"] for line in told if line["event"] == "lost"]
        expect_eq({line["what"] for line in told if line["event"] == "lost"}, {"lines"}, "what")
        # refused packets, or a connection that took two attempts, may be among them
        count = len(told) - len(lost) + sum(lost) - 1 - 2 * 601
        expect(0 <= count <= 8, f"{count} too many: {lost} lost, {len(before)} lines before")
    sh(f"umount {folder}")


@case("standard output has lines of the log alone; with --json all of it is JSON")
def _():
    lab.good("add", "br-app", lab.mapped)
    def written():
        with open(f"{lab.dir}/out", encoding="utf-8") as file:
            return file.read()
    for words in (("--log",), ("--log=-", "--json")):
        with Watcher(lab, *words, out=f"{lab.dir}/out"):
            connect()
            sh("nft flush ruleset")
            expect(wait_for(in_sync, 10), "not mended")
            lab.agent().call("hang_up", "one")
            expect(wait_for(lambda: '"event":"end"' in written(), 10), f"no end: {written()}")
        lines = [json.loads(line) for line in written().splitlines()]
        events = [line.get("event") for line in lines]
        expect({"log-begin", "start", "end", "log-end"} <= set(events), f"{events}")
        expect_eq(any("event" not in line for line in lines), "--json" in words, "others in it")
        lab.reset()
        lab.good("add", "br-app", lab.mapped)


@case("who stops to read standard output ends it")
def _():
    lab.good("add", "br-app", lab.mapped)
    process = subprocess.Popen(lab.command("watch", "--log"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    connect()
    expect_eq(process.wait(20), 1, "exit status")
    expect(b"nobody reads" in process.stderr.read(), "no word of it")


@case("wrong use, and what cannot be logged, is said at once")
def _():
    for words, code, part in ((("--log=flows.log",), 2, "path with a slash"),
                              (("--log=",), 2, "needs"), (("--log-accounting",), 2, "--log"),
                              (("--log=/no/such/file",), 1, "/no/such/file"),
                              (("--log=journal",), 1, "journal")):
        done = lab.nb("watch", *words)
        expect_eq(done.rc, code, f"{words}")
        expect(part in done.err, f"{words}: {done.err}")
    sysctl("events", 0)
    done = lab.nb("watch", "--log")
    sysctl("events", 1)
    expect(done.rc == 1 and "nf_conntrack_events" in done.err, f"{done}")


@case("the journal gets fields")
def _():
    lab.good("add", "br-app", lab.mapped)
    os.makedirs("/run/systemd/journal", exist_ok=True)
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind("/run/systemd/journal/socket")
    journal.settimeout(10)
    with Watcher(lab, "--log=journal"):
        connect()
        fields = {}
        while fields.get("NAT_BRIDGE_EVENT") != "start":
            fields = dict(line.split("=", 1) for line in journal.recv(8192).decode().splitlines())
        lab.agent().call("hang_up", "one")
    for key, value in {"SYSLOG_IDENTIFIER": "nat-bridge", "PRIORITY": "6",
                       "NAT_BRIDGE_NETWORK": "iface:br-app", "NAT_BRIDGE_PORT": str(lab.mapped),
                       "NAT_BRIDGE_TARGET": f"127.0.0.1:{lab.mapped}",
                       "NAT_BRIDGE_RESUMED": "false"}.items():
        expect_eq(fields.get(key), value, key)
    expect(lab.container in fields["MESSAGE"], fields["MESSAGE"])
    journal.close()
    os.unlink("/run/systemd/journal/socket")


def forget_flows():
    """As conntrack -F: IPCTNL_MSG_CT_DELETE without a tuple."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:
        sock.send(struct.pack("IHHIIBBH", 20, 0x0102, 5, 1, 0, socket.AF_INET, 0, 0))
        answer = struct.unpack_from("IHHIIi", sock.recv(4096))
        expect(answer[1] == 2 and answer[5] == 0, f"flush of connections: {answer}")


def reset():
    lab.agent().call("hang_up")
    lab.reset()
    forget_flows()


run(reset)
