#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nat-bridge verify: it passes on a healthy host, and fails on each that is exposed, with the row
that says how. It changes nothing, leaves nothing, and does not take long."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from watcher import Watcher, comes_to_rest, last_pid  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "tc", "setpriv", "strace"))
OWN = 9300       # a service of this test, mapped as itself
DIALLED = 15432  # ... and as this
FORWARD = "/proc/sys/net/ipv4/ip_forward"
SLOW = 4 if lab.sanitized else 1


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


def publish():
    """A container that answers on the mapped port, as a published port does."""
    with open(FORWARD, "w") as file:
        file.write("1\n")
    lab.agent("two").call("sh", f"setsid {sys.executable} -m http.server {OWN} "
                                ">/dev/null 2>&1 & for i in $(seq 100); do "
                                f"grep -q ':{OWN:04X} ' /proc/net/tcp && break; sleep 0.05; done")
    sh(dnat(f'iifname != "br-two" fib daddr type local tcp dport {OWN} '
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
        checks = healthy().get("checks", [])
        after = lab.snapshot()
    expect_eq({c["from"] for c in checks}, {"network", "other-bridge", "lan", "raw", "guard"},
              "where it is sent from")
    keys = {"network", "bridge", "protocol", "port", "target", "from", "via", "to", "expected",
            "seen", "ok", "why"}
    expect(all(set(c) == keys for c in checks), "keys")
    inside = {(c["protocol"], c["port"]): c["seen"] for c in checks if c["from"] == "network"}
    expect_eq(inside, {("tcp", lab.mapped): "reached", ("udp", lab.mapped): "answered",
                       ("tcp", OWN): "reached", ("udp", OWN): "sent, no refusal",
                       ("tcp", DIALLED): "reached"}, "inside")
    raw = [c for c in checks if c["from"] == "raw"]
    expect_eq({c["via"] for c in raw}, {"br-app", "br-two", "lan"}, "frames from")
    expect(any(c["network"] is None for c in raw), "a port that is not mapped")
    lan = {c["to"] for c in checks if c["from"] == "lan" and c["port"] == DIALLED}
    expect(f"{lab.gateway}:{DIALLED}" in lan and f"{lab.gateway}:{OWN}" in lan and len(lan) == 4,
           f"the LAN asks both ports, on both addresses: {lan}")
    # counters count our own packets
    lab.same(before, after, but=("ruleset",))
    expect(not probes_left(), f"left: {probes_left()}")


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
    expect_eq(bad(answer), [("network", "br-app", "tcp", f"{lab.gateway}:{OWN}", "no answer")],
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
    expect_eq(lab.json("verify"), {"verified": True, "checks": [], "warnings": []}, "JSON")
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
    expect(sum(c["from"] == "network" for c in result.json["checks"]) == 300, "all of them")
    note(f"{result.seconds:.1f} s")
    expect(result.seconds < 10 * SLOW, f"{result.seconds:.1f} s")


@case("killed at many moments, it leaves nothing")
def _():
    fresh()
    with Service():
        healthy()
        links = sh("ip -o link | wc -l; ip -o addr | wc -l; ip route show table all | wc -l")
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
        expect_eq(sh("ip -o link | wc -l; ip -o addr | wc -l; ip route show table all | wc -l"),
                  links, "devices, addresses, routes")
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
