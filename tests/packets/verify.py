#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nat-bridge verify: it passes on a healthy host, and fails on each that is exposed, with the row
that says how. It changes nothing, leaves nothing, and does not take long."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from nblab import Agent  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402
from terminal import golden, plain, show, wide  # noqa: E402
from watcher import Watcher, comes_to_rest, last_pid  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "tc", "setpriv", "strace"))
OWN = 9300       # a service of this test, mapped as itself
DIALLED = 15432  # ... and as this
UPLINK, UPLINK_ADDRESS = "eth9", "192.0.2.7"  # a device of the host that is no bridge
FORWARD = "/proc/sys/net/ipv4/ip_forward"
SLOW = 4 if lab.sanitized else 1
sh(f"ip link add {UPLINK} type veth peer name peer9 && "
   f"ip address add {UPLINK_ADDRESS}/24 dev {UPLINK} && ip link set {UPLINK} up")


class Service:
    """Sockets that listen; the kernel answers for them."""

    def __init__(self, address="127.0.0.1", port=OWN, udp=True, family=socket.AF_INET):
        kinds = [socket.SOCK_STREAM] + ([socket.SOCK_DGRAM] if udp else [])
        self.sockets = []
        for kind in kinds:
            sock = socket.socket(family, kind)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind((address, port))
            if kind == socket.SOCK_STREAM:
                sock.listen(1024)
            self.sockets.append(sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.sockets:
            sock.close()

    def received(self):
        """What datagrams brought."""
        got = []
        self.sockets[1].setblocking(False)
        while True:
            try:
                got.append(self.sockets[1].recv(2000))
            except BlockingIOError:
                return got


def fresh():
    for device in ("all", "br-two"):
        lab.set_conf(device, "route_localnet", 0)
    with open(FORWARD, "w") as file:
        file.write("0\n")
    lab.reset()
    lab.good("add", "br-app", str(lab.mapped), f"{lab.mapped}/udp", f"{OWN}", f"{OWN}/udp",
             f"{DIALLED}:{OWN}")


def bad(answer):
    return [(c["from"], c["via"], c["protocol"], c["to"], c["seen"])
            for c in answer.get("checks", []) if not c["ok"]]


def healthy():
    answer = lab.json("verify")
    expect(answer.get("verified") is True, f"not verified: {bad(answer)}")
    return answer


def probes_left():
    return [name for _, name in socket.if_nameindex() if name.startswith("nbprobe")]


def exposed(expose, *expected, service=None, **others):
    """Healthy first; then @expose (a command or a function), and a check for each of @expected
    (pairs of "from" and what is seen) has to fail."""
    with Service():
        healthy()
        if not service:
            expose() if callable(expose) else sh(expose)
            answer = lab.json("verify", rc=1)
    if service:
        with Service(**service):
            answer = lab.json("verify", rc=1)
    expect(answer["verified"] is False, "verified says false")
    for origin, seen in expected:
        expect(any(c["from"] == origin and re.search(seen, c["seen"]) and not c["ok"] and c["why"]
                   for c in answer["checks"]),
               f"no failed check from {origin} that saw {seen!r}: {bad(answer)}")
    text = lab.nb("verify")
    expect_eq(text.rc, 1, "exit status")
    expect(not probes_left(), f"left: {probes_left()}")


def nft(text):
    return f"nft -f - <<'NFT'\n{text}\nNFT"


def dnat(rule, family="ip"):
    return nft(f"table {family} site {{\nchain pre {{\n"
               f"type nat hook prerouting priority dstnat; policy accept;\n{rule}\n}}\n}}")


def publish(match=""):
    """A container that answers on the mapped port, as a published port does."""
    with open(FORWARD, "w") as file:
        file.write("1\n")
    lab.agent("two").call("sh", f"setsid {sys.executable} -m http.server {OWN} "
                                ">/dev/null 2>&1 & for i in $(seq 100); do "
                                f"grep -q ':{OWN:04X} ' /proc/net/tcp && break; sleep 0.05; done")
    sh(dnat(f'iifname != "br-two" fib daddr type local {match} tcp dport {OWN} '
            f"dnat to {lab.container_two}:{OWN}"))


RECIPE = f"tcp dport {OWN} dnat to 127.0.0.1:{OWN}"
EXPOSED = [
    ("the service listens on every address", None, [("lan", "^reached"), ("other-bridge", "^reached")],
     {"address": "0.0.0.0", "udp": False}),
    ("it listens on every address by UDP", None, [("lan", "^reached"), ("other-bridge", "^reached")],
     {"address": "0.0.0.0"}),
    ("it listens on [::], and so takes IPv4", None, [("lan", "^reached")],
     {"address": "::", "family": socket.AF_INET6}),
    ("the guard's chain is gone", "nft delete chain inet nat-bridge guard",
     [("guard", "no guard in nftables")]),
    ("the guard's chain is empty", "nft flush chain inet nat-bridge guard",
     [("guard", "no guard in nftables")]),
    ("the filter at ingress is gone", "tc qdisc del dev br-app clsact",
     [("guard", "no ingress filter")]),
    ("both guards are gone", "nft delete table inet nat-bridge; tc qdisc del dev br-app clsact",
     [("raw", "reached|arrived"), ("guard", "no guard"), ("network", ".")]),
    ("somebody accepts at ingress before us, and the ruleset is flushed",
     "tc filter add dev br-app ingress pref 1 protocol all bpf direct-action "
     "bytecode '1,6 0 0 0' && nft flush ruleset",
     [("raw", "reached|arrived"), ("guard", ".")]),
    ("conf.all.route_localnet is 1", lambda: lab.set_conf("all", "route_localnet", 1),
     [("raw", "reached")]),
    ("route_localnet is 1 on a bridge without mappings",
     lambda: lab.set_conf("br-two", "route_localnet", 1),
     [("raw", "reached"), ("guard", "no guard")]),
    ("another tool's DNAT for the LAN",
     lambda: (lab.set_conf("all", "route_localnet", 1), sh(dnat('iifname != "br-app" ' + RECIPE))),
     [("lan", "reached"), ("other-bridge", "reached")]),
    ("another tool's DNAT of UDP",
     lambda: (lab.set_conf("all", "route_localnet", 1),
              sh(dnat('iifname != "br-app" ' + RECIPE.replace("tcp", "udp")))),
     [("lan", "arrived|reached")]),
    ("the usual recipe on another bridge",
     lambda: (lab.set_conf("br-two", "route_localnet", 1), sh(dnat('iifname "br-two" ' + RECIPE))),
     [("other-bridge", "reached")]),
    ("a redirect leads to the service's port, with masquerade",
     lambda: (lab.set_conf("all", "route_localnet", 1),
              sh(nft("table ip site {\nchain pre {\ntype nat hook prerouting priority dstnat;\n"
                     f'iifname "nbprobe*" tcp dport {DIALLED} dnat to 127.0.0.1:{OWN}\n}}\n'
                     "chain post {\ntype nat hook postrouting priority srcnat;\n"
                     "ip saddr 127.0.0.0/8 masquerade\n}\n}"))),
     [("lan", "reached|arrived")]),
    ("DNAT of a port that is not mapped", dnat("tcp dport 4711 dnat to 127.0.0.1:9090"),
     [("guard", "somebody's DNAT")]),
    ("a container publishes the port", publish, [("lan", "reached")]),
    ("it does so on one address of the host alone", lambda: publish(f"ip daddr {UPLINK_ADDRESS}"),
     [("lan", "reached")]),
    ("another tool's DNAT on another bridge's address",
     lambda: (lab.set_conf("all", "route_localnet", 1),
              sh(dnat(f'iifname != "br-app" ip daddr {lab.gateway_two} {RECIPE}'))),
     [("lan", "reached"), ("other-bridge", "reached")]),
]


def exposure(number, name, expose, expected, service=None):
    # each waits for what does not arrive, so most of them only with --full
    @case(f"exposed: {name}", full=number % 4 != 0)
    def _():
        fresh()
        exposed(expose, *expected, service=service)


for number_, row in enumerate(EXPOSED):
    exposure(number_, *row)


@case("healthy: every check, from everywhere, and what the JSON says of it")
def _():
    fresh()
    with Service():
        before = lab.snapshot()
        answer = healthy()
        checks = answer.get("checks", [])
        after = lab.snapshot()
    expect_eq(answer["skipped"], [{"device": UPLINK, "why": "no bridge"}], "not sent from")
    expect_eq({c["from"] for c in checks}, {"network", "other-bridge", "lan", "raw", "guard"},
              "where it is sent from")
    keys = {"network", "bridge", "protocol", "port", "target", "from", "via", "to", "expected",
            "seen", "ok", "why", "container"}
    expect(all(set(c) == keys for c in checks), "keys")
    inside = {(c["protocol"], c["port"]): c["seen"] for c in checks if c["from"] == "network"}
    expect_eq(inside, {("tcp", lab.mapped): "reached", ("udp", lab.mapped): "answered",
                       ("tcp", OWN): "reached", ("udp", OWN): "sent, no refusal",
                       ("tcp", DIALLED): "reached"}, "inside")
    raw = [c for c in checks if c["from"] == "raw"]
    expect_eq({c["via"] for c in raw}, {"br-app", "br-two", "lan"}, "frames from")
    expect(any(c["network"] is None for c in raw), "a port that is not mapped")
    lan = {c["to"] for c in checks if c["from"] == "lan" and c["port"] == DIALLED}
    own = {to.split(":")[0] for to in lan} - {lab.gateway, lab.gateway_two, UPLINK_ADDRESS}
    expect(len(own) == 1 and own.pop().startswith("198.1"), f"the LAN's own gateway: {lan}")
    expect_eq({to for to in lan if not to.startswith("198.1")},
              {f"{address}:{port}" for port in (DIALLED, OWN)
               for address in (lab.gateway, lab.gateway_two, UPLINK_ADDRESS)},
              "both ports, on every address of the host")
    expect_eq({c["to"] for c in checks if c["from"] == "raw" and c["port"] == DIALLED},
              {f"127.0.0.1:{DIALLED}", f"127.0.0.1:{OWN}"}, "frames to both ports")
    # counters count our own packets
    lab.same(before, after, but=("ruleset",))
    expect(not probes_left(), f"left: {probes_left()}")


def inside(answer):
    """{container: {port dialled: what it saw}}, by TCP"""
    seen = {}
    for check in answer.get("checks", []):
        if check["from"] == "network" and check["protocol"] == "tcp":
            seen.setdefault(check["container"], {})[check["port"]] = check["seen"]
    return seen


def agents(containers):
    """An engine whose network br-app is, with @containers: name -> address."""
    engine = FakeEngine(lab.dir + "/docker.sock")
    engine.networks = [network("agents", bridge="br-app")]
    engine.others = {"/networks/agents$": {"Name": "agents", "Containers": {
        name: {"Name": name, "IPv4Address": address + "/24"}
        for name, address in containers.items()}}, "/containers/json": []}
    with open(lab.config, "w") as file:
        json.dump({"docker": engine.path}, file)
    return engine


def end(agent, device):
    """The namespace goes with its process, and the device with the namespace."""
    os.kill(agent.pid, signal.SIGKILL)
    os.waitpid(agent.pid, 0)
    wait_for(lambda: device not in [name for _, name in socket.if_nameindex()])


class Container:
    """One more on br-app."""

    def __init__(self, number):
        self.agent = Agent()
        self.address = f"172.30.0.{number}"
        self.port = f"vapp{number}"
        sh(f"ip link add {self.port} type veth peer name eth0 netns {self.agent.pid} && "
           f"ip link set {self.port} master br-app up")
        self.agent.call("sh", f"ip link set lo up; ip address add {self.address}/24 dev eth0; "
                              f"ip link set eth0 up; ip route add default via {lab.gateway}")

    def end(self):
        end(self.agent, self.port)


@case("from inside each container, which are named as their engine names them")
def _():
    fresh()
    engine = agents({"worker": "172.30.0.30"})
    one = Container(30)
    try:
        with Service():
            answer = healthy()
            other = f"pid {lab.agent().pid}"
            expect_eq(set(inside(answer)), {None, other, "worker"}, "who dials")
            expect(all(seen == "reached" for ports in inside(answer).values()
                       for seen in ports.values()), f"all is reached: {inside(answer)}")
            # what only this container suffers from: nobody beside it would see it
            one.agent.call("sh", "nft add table ip own && nft add chain ip own out "
                                 "'{ type filter hook output priority 0; }' && "
                                 f"nft add rule ip own out tcp dport {DIALLED} drop")
            answer = lab.json("verify", rc=1)
            expect_eq([(c["container"], c["port"], c["seen"]) for c in answer["checks"]
                       if not c["ok"]], [("worker", DIALLED, "no answer")], "its own firewall")
            text = lab.nb("verify").out
        expect_match(rf"{DIALLED}/tcp from inside worker on br-app to ", text, "the row below the table")
        expect_match("sent from 2 bridges, inside 2 containers, and from a stand-in for the LAN",
                     text,
                     "the sum")
        expect_match(rf"not sent from: {UPLINK} \(no bridge\)", text, "what was left out")
    finally:
        one.end()
        engine.stop()


@case("of many containers a few, and it says how many were left")
def _():
    fresh()
    more = [Container(40 + i) for i in range(7)]
    try:
        # it has no way to the host in that network: skipped, with a word
        more[0].agent.call("sh", "ip address flush dev eth0")
        with Service():
            answer = healthy()
        expect_eq(len([name for name in inside(answer) if name]), 4, "containers")
        skipped = [s["why"] for s in answer["skipped"] if s["device"] == "br-app"]
        expect_eq(sorted(skipped), ["3 of its 8 containers", f"container pid {more[0].agent.pid}: "
                                    "it has no address in that network"], "and what was left")
    finally:
        for one in more:
            one.end()


FLOOD = """
import os, socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect(("%s", %d))
while os.getppid() == %d:
    try:
        sock.send(bytes(1400))
    except OSError:
        pass
"""


@case("a container that sends all the time does not hide what is sent for it")
def _():
    fresh()
    lab.good("add", "br-app", f"{lab.sentinel}:{OWN}/udp")
    agent = lab.agent()
    path = lab.dir + "/flood.py"
    with open(path, "w") as file:
        file.write(FLOOD % (lab.gateway, lab.sentinel, agent.pid))
    with Service() as service:
        # nobody reads it: the kernel drops what has no room
        pid = int(agent.call("start", [sys.executable, path]))
        try:
            wait_for(lambda: len(service.received()) > 100)
            healthy()
        finally:
            os.kill(pid, signal.SIGKILL)


@case("a mapped device that is no bridge: from its container alone")
def _():
    fresh()
    agent = Agent()
    sh(f"ip link add direct type veth peer name eth0 netns {agent.pid} && "
       "ip address add 172.29.0.1/24 dev direct && ip link set direct up")
    agent.call("sh", "ip link set lo up; ip address add 172.29.0.2/24 dev eth0; "
                     "ip link set eth0 up; ip route add default via 172.29.0.1")
    try:
        lab.good("add", "iface:direct", f"{OWN}")
        with Service():
            answer = lab.json("verify", "iface:direct")
        expect_eq((answer["verified"], inside(answer)),
                  (True, {f"pid {agent.pid}": {OWN: "reached"}}), "it is dialled")
    finally:
        end(agent, "direct")


@case("127.0.0.1 by a route: what a peer's own sockets get, frames tell")
def _():
    fresh()
    two = lab.agent("two")
    # its own 127.0.0.1 gives way to the host's
    two.call("sh", "ip address del 127.0.0.1/8 dev lo; "
                   f"ip route add 127.0.0.1 via {lab.gateway_two} dev eth0; "
                   "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet")

    def dial():
        return two.call("tcp", "127.0.0.1", lab.mapped, 1)
    try:
        with Service():
            healthy()
            expect_eq(dial(), "timeout", "a host that is not open")
            lab.set_conf("all", "route_localnet", 1)
            expect_eq(dial(), f"tcp 127.0.0.1:{lab.mapped}", "one that is")
            answer = lab.json("verify", rc=1)
        expect(("raw", "br-two", "tcp", f"127.0.0.1:{lab.mapped}", "reached") in bad(answer),
               f"what is wrong: {bad(answer)}")
    finally:
        two.call("sh", "ip route del 127.0.0.1; ip address add 127.0.0.1/8 dev lo; "
                       "echo 0 > /proc/sys/net/ipv4/conf/eth0/route_localnet")


@case("nothing listens: not verified, and it says so")
def _():
    fresh()
    answer = lab.json("verify", rc=1)
    expect_eq({c["seen"] for c in answer["checks"] if not c["ok"]}, {"refused"}, "seen")
    expect(all("nothing listens on 127.0.0.1:9300" in c["why"]
               for c in answer["checks"] if not c["ok"]), f"why: {bad(answer)}")


@case("a firewall that drops: no answer, and where it did not come")
def _():
    fresh()
    sh(nft("table inet site {\nchain raw {\ntype filter hook prerouting priority -300;\n"
           f"iifname br-app tcp dport {OWN} drop\n}}\n}}"))
    with Service():
        answer = lab.json("verify", rc=1)
    # from beside the container and from inside it
    expect_eq(bad(answer), 2 * [("network", "br-app", "tcp", f"{lab.gateway}:{OWN}", "no answer")],
              "what is wrong")


@case("mappings on two bridges: each its own, none the other's")
def _():
    fresh()
    lab.good("add", "br-two", f"{OWN}", f"{DIALLED + 1}:{OWN}")
    with Service():
        checks = healthy().get("checks", [])
    other = {(c["via"], c["to"]) for c in checks
             if c["from"] == "other-bridge" and c["protocol"] == "tcp"}
    expect(("br-app", f"{lab.gateway}:{DIALLED + 1}") in other, "br-app does not have br-two's")
    expect(("br-two", f"{lab.gateway_two}:{DIALLED}") in other, "nor br-two br-app's")
    expect(("br-two", f"{lab.gateway_two}:{OWN}") not in other, "what both have is no trespass")


@case("one NETWORK alone; pending ones are named and not checked")
def _():
    fresh()
    lab.good("add", "br-two", f"{OWN}")
    lab.good("add", "iface:br-later", "7777")
    with Service():
        answer = healthy()
        one = lab.json("verify", "br-two")
    expect(any("br-later" in w and "not checked" in w for w in answer["warnings"]), "pending")
    expect_eq({c["network"] for c in one["checks"] if c["network"]}, {"iface:br-two"}, "networks")


@case("no payload, unless it is asked for")
def _():
    fresh()
    with Service() as service:
        healthy()
        expect_eq(set(service.received()), {b""}, "datagrams")
        answer = lab.json("verify", "--payload")
        expect_eq(set(service.received()), {b"nat-bridge verify\r\n"}, "datagrams")
    inside = {(c["protocol"], c["port"]): c["seen"]
              for c in answer["checks"] if c["from"] == "network"}
    expect_eq(inside[("tcp", lab.mapped)], "reached, answered", "a service that greets")
    expect_eq(inside[("tcp", OWN)], "reached, silent", "one that does not")
    expect_eq(inside[("udp", lab.mapped)], "answered", "one that answers a datagram")


@case("no mappings: nothing to verify")
def _():
    lab.reset()
    lab.write_rules({})
    expect_eq(lab.json("verify"), {"verified": True, "checks": [], "skipped": [],
                                   "warnings": []}, "JSON")
    expect_match("nothing to verify", lab.nb("verify").out, "text")


@case("as nobody: refused, with the word for it")
def _():
    fresh()
    os.chmod(lab.dir, 0o755)
    result = lab.nb("verify", "--json", prefix=("setpriv", "--reuid", "65534", "--clear-groups"))
    expect_eq(result.rc, 1, "exit status")
    answer = result.json
    expect_eq(answer["error"]["code"], "permission", "code")
    expect(answer["verified"] is False and answer["checks"] == [], "keys")


@case("the screen: a row for each mapping, what is wrong below")
def _():
    fresh()
    with Service("0.0.0.0"):
        text = lab.nb("verify").out
    expect_match(rf"NETWORK +PORT +TARGET +INSIDE +BRIDGES +LAN +RAW\n", text, "head")
    expect_match(rf"br-app +{lab.mapped}/tcp +127.0.0.1:{lab.mapped} +reached +closed +closed "
                 r"+closed\n", text, "a good row")
    expect_match(rf"br-app +{OWN}/tcp +127.0.0.1:{OWN} +reached +OPEN +OPEN +closed\n", text,
                 "a bad row")
    expect_match(r"not verified: \d+ of \d+ checks", text, "sum")
    with Service():
        expect_eq(lab.nb("verify", "--quiet").out, "", "quiet")


@case("golden: 80 and 120 columns; what is wrong the same way in several places is one row")
def _():
    fresh()
    lab.good("add", "br-app", "4711")
    lab.set_conf("br-two", "route_localnet", 1)
    sh(dnat('iifname "br-two" ' + RECIPE))
    lab.agent().call("sh", "nft add table ip own && nft add chain ip own out "
                           "'{ type filter hook output priority 0; }' && "
                           f"nft add rule ip own out tcp dport {DIALLED} drop")
    engine = agents({"web": lab.container})
    try:
        with Service():
            for columns in (80, 120):
                shown = show(lab.command("verify"), columns)
                # our own sockets, of ephemeral ports
                text = re.sub(r"(?<=0\.1:)[3-6]\d{4}", "NNNNN", plain(shown.text))
                expect(shown.rc == 1 and "\033" in shown.text, f"exit {shown.rc}, colour")
                expect(wide(text) <= columns, f"{wide(text)} columns")
                golden(f"verify-{columns}.txt", text)
            bare = show(lab.command("verify"), 80, {"NO_COLOR": "1"}).text
            expect("\033" not in bare and "\u2717" in bare, "NO_COLOR: marks, and no colour")
    finally:
        engine.stop()
        lab.agent().call("sh", "nft delete table ip own")


@case("on a terminal it shows how far it is, and leaves nothing of that")
def _():
    fresh()
    with Service():
        shown = show(lab.command("verify"), 80, both=True)
        steps = re.findall(r"\r\033\[K(joining|probing): (\d) of (\d) networks", shown.text)
        expect_eq(steps, [(what, str(i), "4") for what in ("joining", "probing")
                          for i in range(4)], "each network that is done is counted")
        # what is left when the terminal has carried it out
        left = re.sub(r"[^\n]*\r\033\[K", "", shown.text)
        expect_match(r"^[^\n]*NETWORK +PORT", plain(left), "then the line is empty")
        expect("joining" not in left and "leaving" not in left and "\r" not in left, f"{left!r}")
        expect(wide(left) <= 80, f"{wide(left)} columns")
        for line, env in ((("verify", "--quiet"), {}), (("verify", "--json"), {}),
                          (("verify",), {"TERM": "dumb"})):
            shown = show(lab.command(*line), 80, env, both=True)
            expect("joining" not in shown.text and "\r" not in shown.text,
                   f"{line} {env}: {shown.text!r}")
        shown = show(lab.command("verify"), 80)
        expect(shown.rc == 0 and not shown.err, f"no terminal behind it: {shown.err!r}")


@case("300 mappings in less than 10 seconds")
def _():
    fresh()
    lab.write_rules({"many.json": {"version": 1, "mappings": [
        {"network": "iface:br-app", "port": 20000 + i, "protocol": "udp" if i % 3 == 0 else "tcp",
         "target": f"127.0.0.1:{OWN}"} for i in range(300)]}})
    lab.good("apply")
    with Service():
        result = lab.nb("verify", "--json")
    expect(result.rc == 0, f"not verified: {bad(result.json)}")
    expect(sum(c["from"] == "network" and not c["container"]
               for c in result.json["checks"]) == 300, "all of them")
    note(f"{result.seconds:.1f} s")
    expect(result.seconds < 10 * SLOW, f"{result.seconds:.1f} s")


@case("killed at many moments, it leaves nothing")
def _():
    fresh()
    with Service():
        healthy()
        # those of IPv6 come when the lab's own devices are ready
        count = "ip -o link | wc -l; ip -4 -o addr | wc -l; ip -4 route show table all | wc -l"
        links = sh(count)
        for i in range(60):
            process = subprocess.Popen(lab.command("verify"), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=i * 0.002 if i < 40 else (i - 35) * 0.05)
            except subprocess.TimeoutExpired:
                pass
            process.kill()
            process.wait()
        wait_for(lambda: not probes_left(), 10)
        expect(not probes_left(), f"left: {probes_left()}")
        expect_eq(sh(count), links, "devices, addresses, routes")
        healthy()


@case("the watcher does not mind")
def _():
    fresh()

    # each process and each thread has a number, and strace, too, makes some
    def strace(*words):
        before = last_pid()
        done = subprocess.run(["strace", "-f", "-e", "trace=none", *words],
                              capture_output=True, text=True,
                              # which strace itself makes impossible
                              env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
        expect_eq(done.returncode, 0, "exit status")
        return last_pid() - before - len(set(re.findall(r"Process (\d+) attached", done.stderr)))

    with Watcher(lab):
        comes_to_rest("from the beginning")
        own = strace("true")
        with Service():
            looks = strace(*lab.command("verify")) - own
        expect_eq(looks, 0, "looks of the watcher")


run()
