#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nat-bridge status: what it says of listeners, networks and firewalls, and what that looks like.

The screens are compared with tests/cli/golden/status-*.txt, of a terminal 80 and 120 columns
wide. To look at a new one and keep it: NB_GOLDEN_UPDATE=1 tests/cli/status.py
"""
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/lib")
from nblab import *
from nblab import libc
from fakeengine import FakeEngine, network
from terminal import golden, plain, show, wide

# what is forked from here has this name
with open("/proc/self/comm", "wb") as own_name:
    own_name.write(b"ollama")
lab = enter(__file__, needs=("nft", "ip", "iptables-nft", "setpriv"))
docker = FakeEngine(lab.dir + "/docker.sock")
podman = FakeEngine(lab.dir + "/podman.sock")
podman.stop()
docker.networks = [network("agents", bridge="br-app"), network("a-very-long-project_default-"
                                                               "with-a-name-of-its-own", "br-two")]
AGENTS = {"Name": "agents", "Containers": {
    "1": {"Name": "web", "IPv4Address": "172.30.0.2/24"},
    "2": {"Name": "worker", "IPv4Address": "172.30.0.3/24"}}}
docker.others = {"/networks/agents$": AGENTS,
                 "/networks/a-very": {"Containers": {}}, "/containers/json": []}


class Service:
    """A process of a name of its own that listens, until it is told to end."""

    def __init__(self, name, host, port, family=socket.AF_INET, device=None, user=0):
        ready, done = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._serve(name, (host, port), family, device, user, done)
            finally:
                os._exit(1)
        os.close(done)
        if os.read(ready, 1) != b"x":
            raise RuntimeError(f"{name} cannot listen")
        os.close(ready)

    @staticmethod
    def _serve(name, address, family, device, user, done):
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        with open("/proc/self/comm", "wb") as comm:
            comm.write(name.encode())
        if user:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, as execve(2) would
        sock.bind(address)
        sock.listen(8)
        os.write(done, b"x")
        while True:
            signal.pause()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def begin():
    lab.reset()
    with open(lab.config, "w") as file:
        json.dump({"docker": docker.path, "podman": podman.path}, file)


def one(status, port):
    """Its mapping of that port."""
    found = [m for n in status["networks"] for m in n["mappings"] if m["port"] == port]
    return found[0] if len(found) == 1 else expect(False, f"{len(found)} of {port}") or {}


def terminal(columns, *words, env=None):
    """What a terminal so wide gets."""
    shown = show(lab.command(*words), columns, env)
    expect(shown.rc == 0 and not shown.err, f"{words}: exit {shown.rc}, {shown.err!r}")
    return shown.text


def steady(text):
    """Without what differs from run to run, and as wide all the same."""
    text = re.sub(r"\[(\d+)\]( +)", lambda m: "[N]" + " " * (len(m[1]) - 1) + m[2], text)
    text = re.sub(r"\[\d+\]$", "[N]", text, flags=re.M)
    return re.sub(r"\dh\d\dm left", "2h00m left", re.sub(r"rule \d ", "rule N ", text))


def build():
    """A host with one of everything."""
    begin()
    lab.good("add", "docker:agents", f"11434:{lab.mapped}", "5432", "6379", "5300:127.0.0.53:5300",
             "9999")
    lab.good("add", "docker:a-very-long-project_default-with-a-name-of-its-own", "5432")
    lab.good("add", "--for", "2h", "--runtime", "iface:br-two", "7000")
    lab.good("add", "docker:later", "7000")
    sh("nft add table inet filter && nft add chain inet filter input "
       "'{ type filter hook input priority 0; policy drop; }' && "
       "nft add chain inet filter forward && nft add chain inet filter output "
       "'{ type filter hook output priority 0; }' && nft add table inet firewalld && "
       "nft add chain inet firewalld raw_PREROUTING "
       "'{ type filter hook prerouting priority -290; }' && "
       "iptables-nft -P INPUT DROP && iptables-nft -N ufw-before-input && "
       "iptables-nft -A INPUT -j ufw-before-input && "
       "iptables-nft -A OUTPUT -o br-two -s 127.0.0.0/8 -j DROP")
    lab.good("apply")


SERVICES = [("postgres", "0.0.0.0", 5432),
            ("redis-server", "::1", 6379, socket.AF_INET6),
            ("systemd-resolve", "127.0.0.53", 5300, socket.AF_INET, "lo"),
            ("mcp", "127.0.0.1", 7000)]


def with_services(function):
    opened = []
    try:
        for words in SERVICES:
            opened.append(Service(*words))
        return function()
    finally:
        for service in opened:
            service.__exit__()


# ---------------------------------------------------------------- what it says


@case("each mapping says who listens, and where")
def _():
    build()

    def look():
        status = lab.json("status")
        rows = {port: one(status, port) for port in (11434, 6379, 5300, 9999)}
        expect_eq(rows[11434]["serves"], "yes", "a service on 127.0.0.1")
        expect_eq(rows[11434]["listeners"][0]["pid"], lab.services.pid, "its process")
        expect_eq(rows[11434]["open"], False, "it is not open")
        expect_eq(rows[6379]["serves"], "other address", "one on ::1")
        expect_eq([(l["address"], l["process"]) for l in rows[6379]["listeners"]],
                  [("[::1]", "redis-server")], "who that is")
        expect_eq(rows[5300]["serves"], "device", "one that is bound to lo")
        expect_eq(rows[5300]["listeners"][0]["device"], "lo", "its device")
        expect_eq((rows[9999]["serves"], rows[9999]["listeners"]), ("nothing", []), "nobody")
        for net in status["networks"]:
            for mapping in net["mappings"]:
                if mapping["port"] == 5432:
                    expect_eq((mapping["serves"], mapping["open"]), ("yes", True), "on 0.0.0.0")
                    expect_eq(mapping["listeners"][0]["process"], "postgres", "its name")
    with_services(look)


@case("a name that is no text drives no terminal and breaks no JSON")
def _():
    begin()
    lab.good("add", "br-app", "7001")
    with Service("\033[31mA\"\\", "127.0.0.1", 7001):
        expect_eq(one(lab.json("status"), 7001)["listeners"][0]["process"], "?[31mA\"\\",
                  "the name as a line")
        expect("?[31mA\"\\[" in plain(terminal(120, "status")), "the same on a terminal")


@case("a socket that init hands on belongs to the one who serves")
def _():
    begin()
    lab.good("add", "br-app", "7002")
    with socket.socket() as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.bind(("127.0.0.1", 7002))
        shared.listen(1)
        expect_eq(one(lab.json("status"), 7002)["listeners"][0]["pid"], 1, "init alone")
        child = os.fork()
        if child == 0:
            while True:
                signal.pause()
        expect_eq(one(lab.json("status"), 7002)["listeners"][0]["pid"], child, "and another one")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@case("networks: bridge, engine, containers, guard")
def _():
    build()
    nets = {n["network"]: n for n in lab.json("status")["networks"]}
    agents = nets["docker:agents"]
    expect_eq([agents[k] for k in ("bridge", "engine", "present", "guard", "route_localnet")],
              ["br-app", "docker", True, "complete", 1], "docker:agents")
    expect_eq(agents["containers"], [{"name": "web", "address": "172.30.0.2"},
                                     {"name": "worker", "address": "172.30.0.3"}], "who is on it")
    later = nets["docker:later"]
    expect_eq((later["bridge"], later["present"], later["guard"], later["containers"],
               later["route_localnet"]), (None, False, None, None, None), "one that is not there")
    two = nets["iface:br-two"]
    expect_eq((two["engine"], two["containers"]), ("docker", []), "a bridge that an engine has")
    expect("br-none" not in str(nets), "networks without a mapping are not shown")


@case("a guard that is not whole is named, and what mends it")
def _():
    begin()
    lab.good("add", "br-app", "7003")
    sh("tc qdisc del dev br-app clsact")
    status = lab.json("status")
    expect_eq(status["networks"][0]["guard"], "nftables only", "without the filter")
    expect(any(d["mend"] == "nat-bridge apply" for d in status["drift"]), f"{status['drift']}")
    lab.good("apply")
    sh("nft delete table inet nat-bridge")
    status = lab.json("status")
    expect_eq(status["networks"][0]["guard"], "ingress only", "without the table")
    expect_eq(one(status, 7003)["state"], "drift", "its mapping")
    sh("tc qdisc del dev br-app clsact")
    expect_eq(lab.json("status")["networks"][0]["guard"], "missing", "without either")
    expect("guard missing" in plain(terminal(80, "status")), "on the screen")


@case("connections now and ever, packets, bytes: as they were made")
def _():
    begin()
    lab.good("add", "br-app", f"7004:{lab.mapped}")
    for _ in range(3):
        expect_eq(lab.tcp(7004), f"tcp 127.0.0.1:{lab.mapped}", "a connection")
    row = one(lab.json("status"), 7004)
    expect_eq(row["connections_total"], 3, "connections ever")
    expect(row["packets"] >= 9 and row["bytes"] > 300, f"packets and bytes: {row}")
    expect("rate" not in row, "no rate unless asked")


@case("--rate: two readings, a second apart")
def _():
    begin()
    lab.good("add", "br-app", f"7005:{lab.mapped}", f"7006:{lab.unmapped}")
    before = one(lab.json("status"), 7005)
    running = subprocess.Popen(lab.command("status", "--rate", "--json"), stdout=subprocess.PIPE)
    made = 0
    # few: a source port that comes again, for another mapping of that target, would have to wait
    while running.poll() is None:
        lab.tcp(7005)
        made += 1
        time.sleep(0.05)
    out = json.loads(running.stdout.read())
    busy, idle = one(out, 7005), one(out, 7006)
    expect(0 < busy["rate"]["packets"] <= busy["packets"] - before["packets"],
           f"{busy} is as fast as {made} connections")
    expect(busy["rate"]["bytes"] > busy["rate"]["packets"] * 40, f"bytes: {busy['rate']}")
    expect_eq(idle["rate"], {"packets": 0, "bytes": 0}, "a quiet one")


@case("each firewall with its program, and whether it lets us through")
def _():
    build()
    chains = {(f["table"], f["chain"]): f for f in lab.json("status")["firewalls"]}
    for key, want in {("filter", "input"): ("nftables.conf", True, True),
                      ("filter", "output"): ("nftables.conf", True, False),
                      ("firewalld", "raw_PREROUTING"): ("firewalld", True, False),
                      ("filter", "INPUT"): ("ufw", True, True),
                      ("filter", "OUTPUT"): ("iptables-nft", False, False)}.items():
        got = chains.pop(key, {})
        expect_eq((got.get("program"), got.get("passes"), got.get("opener")), want, f"{key}")
    expect_eq(chains, {}, "no others")
    # the packets agree: an answer to br-two is dropped, one to br-app is not
    expect_eq(lab.tcp(11434), f"tcp 127.0.0.1:{lab.mapped}", "br-app")
    expect_eq(lab.tcp(5432, name="two", timeout=1), "timeout", "br-two")
    # the control: without our rule the first chain drops everything
    handle = re.search(r'comment "nat-bridge" # handle (\d+)',
                       sh("nft -a list chain inet filter input")).group(1)
    sh(f"nft delete rule inet filter input handle {handle}")
    got = [f for f in lab.json("status")["firewalls"] if f["chain"] == "input"][0]
    expect_eq((got["passes"], got["opener"]), (False, False), "without our rule")
    expect_eq(lab.tcp(11434, timeout=1), "timeout", "and so say the packets")


@case("a chain of which nobody knows is no promise, and a table of nobody's has no program")
def _():
    begin()
    lab.good("add", "br-app", "7007")
    sh("nft add table ip mine && nft add chain ip mine out "
       "'{ type filter hook output priority 5; }' && "
       "nft add rule ip mine out meta cgroup 7 drop")
    got = [f for f in lab.json("status")["firewalls"] if f["table"] == "mine"]
    expect_eq([(f["program"], f["passes"], f["hook"], f["priority"]) for f in got],
              [(None, None, "output", 5)], "ip mine out")


@case("warnings are those of add and check, word for word")
def _():
    build()

    def look():
        status = lab.json("status")
        check = lab.json("check", rc=None)
        expect_eq(status["drift"], check["drift"], "drift")
        missing = [w for w in check["warnings"] if w not in status["warnings"]]
        expect_eq(missing, [], "what check warns of")
    with_services(look)
    begin()

    def again():
        added = lab.json("add", "docker:agents", "5432", "6379", "5300:127.0.0.53:5300", "9998")
        expect(len(added["warnings"]) >= 4, f"what add warns of: {added['warnings']}")
        expect_eq(sorted(lab.json("status")["warnings"]), sorted(added["warnings"]), "status")
    with_services(again)


def asks(*words):
    """How often it asks the kernel for rules (NFT_MSG_GETRULE), and for anything."""
    if not shutil.which("strace"):
        skip("strace is missing")
    # LeakSanitizer does not work under strace
    sh(["env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-f", "-e", "trace=sendto,sendmsg",
        "-o", lab.dir + "/calls", *lab.command(*words)])
    with open(lab.dir + "/calls") as file:
        lines = [line for line in file if re.search(r"send(to|msg)\(", line)]
    return sum("NFT_MSG_GETRULE" in line for line in lines), len(lines)


@case("the ruleset is read once, and the firewalls once")
def _():
    build()
    # check reads the same: the state, and what the firewalls do
    rules, requests = asks("check")
    expect(rules > 0, f"check asks for rules {rules} times")
    expect_eq(asks("status")[0], rules, "status asks for rules as often")
    note(f"check {requests} requests, status {asks('status')[1]}")


@case("one network alone, without what is wrong with others")
def _():
    build()
    lab.good("add", "docker:elsewhere", "7000")
    sh("nft delete chain inet filter input; tc filter add dev br-two ingress pref 1 protocol all "
       "bpf direct-action bytecode '1,6 0 0 0'")
    everything = lab.json("status")
    for word in ("docker:later", "docker:elsewhere", "br-two"):
        expect(any(word in w for w in everything["warnings"]), f"of {word}: "
               f"{everything['warnings']}")
    status = lab.json("status", "docker:agents")
    for word in ("later", "elsewhere", "br-two"):
        expect(not any(word in w for w in status["warnings"]), f"of {word}: {status['warnings']}")
    expect_eq([w for w in lab.json("status", "docker:later")["warnings"] if "pending" in w],
              [w for w in everything["warnings"] if "docker:later" in w], "its own")
    expect_eq(lab.json("list", "docker:agents")["warnings"],
              [w for w in lab.json("list")["warnings"] if "br-two" not in w], "list, likewise")


@case("one network alone, and one that is not there")
def _():
    build()
    status = lab.json("status", "docker:agents")
    expect_eq([n["network"] for n in status["networks"]], ["docker:agents"], "docker:agents")
    out = lab.good("status", "docker:agentz")
    expect_match("no mappings there", out.out, "a wrong name")
    expect_match("agents", out.out, "the nearest one")
    expect_eq(lab.nb("status", "a", "b").rc, 2, "two words")


@case("an empty host, --quiet, failures: the contract")
def _():
    begin()
    expect_match(r"^no mappings \(nat-bridge add NETWORK PORT\)", lab.good("status").out, "empty")
    lab.good("add", "br-app", "7008")
    quiet = lab.good("status", "--quiet")
    expect_eq(quiet.out, "", "--quiet prints nothing")
    wrong = lab.nb("status", "--json", "--prometheus")
    expect_eq((wrong.rc, wrong.json["error"]["code"], wrong.json["networks"]), (2, "usage", []),
              "two forms")
    with open(lab.dir + "/wrong.json", "w") as file:
        file.write("{")
    failed = lab.json("status", config=lab.dir + "/wrong.json", rc=2)
    expect_eq([failed.get(key) for key in ("networks", "firewalls", "drift")], [[], [], []],
              "the keys of a failure")
    before = lab.snapshot()
    lab.good("status", "--rate")
    lab.same(before, lab.snapshot(), "status changes nothing", but=("ruleset",))
    full = subprocess.run(lab.command("status"), stdout=open("/dev/full", "w"),
                          stderr=subprocess.PIPE)
    expect_eq(full.returncode, 1, "a full disk")


@case("an ordinary user sees what is configured and who is in sight, and is told the rest")
def _():
    build()
    with Service("mine", "127.0.0.1", 9999, user=65534):
        nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
        os.chmod(lab.dir, 0o755)
        result = lab.nb("status", "--json", prefix=nobody)
        expect_eq(result.rc, 0, str(result))
        status = result.json
        own, other = one(status, 9999), one(status, 11434)
        expect_eq(own["listeners"][0]["process"], "mine", "his own process")
        expect_eq((other["serves"], other["listeners"][0]["process"], other["listeners"][0]["pid"],
                   other["listeners"][0]["uid"]), ("yes", None, None, 0), "root's process")
        expect_eq((own["connections"], own["connections_total"], own["state"]),
                  (None, None, None), "counters and state")
        expect_eq((status["firewalls"], status["drift"]), (None, None), "the ruleset")
        expect(all(n["guard"] is None for n in status["networks"]), "guards")
        text = lab.nb("status", prefix=nobody).out
        expect_match("a process of uid 0", text, "on the screen")
        expect_match("for root to see: sudo nat-bridge status", text, "what is missing")
        expect("NOW" not in text, "no column of what is not known")
        metrics = lab.nb("status", "--prometheus", prefix=nobody).out
        expect("nat_bridge_mapping_served" in metrics and "_total{" not in metrics,
               "no sample of what is not known")


@case("an engine that hangs does not hold it up for each network")
def _():
    begin()
    docker.networks = [network(f"net{i}", bridge="br-app") for i in range(6)]
    for i in range(6):
        lab.good("add", f"docker:net{i}", str(7100 + i))

    def hang(connection):
        request = docker.asked[-1]
        if request.endswith("/networks"):
            body = json.dumps(docker.networks).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(body) + body)
        else:
            time.sleep(4)
    docker.raw = hang
    try:
        result = lab.good("status", "--json")
        expect(result.seconds < 12, f"took {result.seconds:.1f} s for 6 networks")
        expect_eq([n["containers"] for n in result.json["networks"]], [None] * 6, "not known")
    finally:
        docker.raw = None
        docker.networks = [network("agents", bridge="br-app"),
                           network("a-very-long-project_default-with-a-name-of-its-own", "br-two")]


@case("500 mappings: one dump for all, and still a screen")
def _():
    begin()
    lab.write_rules({"many.json": {
        "mappings": [{"network": "iface:br-app", "port": 7000 + i} for i in range(500)]}})
    lab.good("apply")
    text = terminal(80, "status")
    expect(wide(text) <= 80, f"{wide(text)} columns")
    expect_match("500 mappings on 1 network, 0 connections now, 500 served by nobody",
                 plain(text), "the last line")
    expect_match(r"and \d+ more: nat-bridge status --json", plain(text), "warnings end")
    if not shutil.which("strace"):
        skip("strace is missing")
    # LeakSanitizer does not work under strace
    sh(["env", "ASAN_OPTIONS=detect_leaks=0", "strace", "-f", "-c", "-e",
        "trace=sendto,sendmsg", "-o", lab.dir + "/calls", *lab.command("status")])
    with open(lab.dir + "/calls") as file:
        calls = sum(int(line.split()[3]) for line in file
                    if line.strip().endswith(("sendto", "sendmsg")))
    expect(0 < calls < 150, f"{calls} requests for 500 mappings")


# ---------------------------------------------------------------- what it looks like


@case("golden: 80 and 120 columns")
def _():
    build()

    def look():
        for columns in (80, 120):
            text = terminal(columns, "status")
            # a name or an address may be longer than a line; a line of ours is not
            expect(wide(text) <= columns, f"{wide(text)} columns of {columns}")
            golden(f"status-{columns}.txt", steady(plain(text)))
        rate = plain(terminal(80, "status", "--rate"))
        expect(wide(rate) <= 80, f"{wide(rate)} columns with --rate")
        golden("status-rate-80.txt", steady(rate))
    with_services(look)


@case("golden: no terminal: whole words, ASCII, no colour")
def _():
    build()

    def look():
        text = lab.good("status", env={"LC_ALL": "C.UTF-8", "TERM": "xterm"}).out
        expect("\033" not in text and text.isascii(), "ASCII without colour")
        golden("status-pipe.txt", steady(text))
        narrow = lab.good("status", env={"COLUMNS": "80"}).out
        expect(wide(narrow) <= 80, "COLUMNS counts where there is no terminal")
    with_services(look)


@case("colour and frames: only where they are wanted")
def _():
    build()
    colour = terminal(80, "status")
    expect("\033[" in colour and "┌" in colour, "a terminal")
    for name, env in (("NO_COLOR", {"NO_COLOR": "1"}), ("TERM=dumb", {"TERM": "dumb"})):
        text = terminal(80, "status", env=env)
        expect("\033[" not in text, f"{name}: no colour")
        expect_eq(text, plain(colour), f"{name}: the same text")
    expect("\033[" in terminal(80, "status", env={"NO_COLOR": ""}), "an empty NO_COLOR is none")
    text = terminal(80, "status", env={"LC_ALL": "C"})
    expect(text.isascii(), "the C locale: ASCII alone")
    expect("\033[" in text, "and colour all the same")


@case("every width from 20 on: no line is longer than 80 where there are 80")
def _():
    build()

    def look():
        for columns in (20, 40, 60, 79, 81, 100, 200):
            text = terminal(columns, "status", "--rate") if columns == 100 else \
                terminal(columns, "status")
            if columns >= 79:
                expect(wide(text) <= columns, f"{wide(text)} columns of {columns}")
    with_services(look)


# ---------------------------------------------------------------- metrics


@case("metrics: the format of node_exporter's textfile collector")
def _():
    build()
    text = with_services(lambda: lab.good("status", "--prometheus").out)
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)
    expect_eq(len(families), len(set(families)), "each metric once")
    for name, kind in families:
        expect_eq(kind == "counter", name.endswith("_total"), f"{name} is a {kind}")
        expect(f"# HELP {name} " in text, f"{name} has a help text")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    expect_eq(len(lines), len({line.rsplit(" ", 1)[0] for line in lines}), "no sample twice")
    expect(re.search(r'nat_bridge_mapping_served\{network="docker:agents",bridge="br-app",'
                     r'protocol="tcp",port="9999",target="127.0.0.1:9999",origin="file"\} 0',
                     text), "one that nobody serves")
    expect(re.search(r'nat_bridge_firewall_passes\{family="ip",table="filter",chain="OUTPUT".*\} 0',
                     text), "a firewall")


@case("metrics: promtool has nothing to say", full=True)
def _():
    build()
    text = with_services(lambda: lab.good("status", "--prometheus").out)
    if not shutil.which("promtool"):
        skip("promtool is missing (package prometheus)")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                          capture_output=True)
    expect_eq((done.returncode, done.stdout + done.stderr), (0, ""), "promtool")


run()
