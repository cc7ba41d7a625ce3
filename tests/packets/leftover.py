#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Flows that outlive their mapping's elements: over, flushed by somebody, or half removed.

The guard alone holds them back. So whatever takes a guard away ends them first: here the host
tracks connections by itself and its route_localnet was 1 before, as beside Docker or kube-proxy,
and a connection that is not ended is answered again.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from watcher import Watcher  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "conntrack"))
PORT = str(lab.mapped)
BRIDGE_NF = "/proc/sys/net/bridge/bridge-nf-call-iptables"
HOST = """
table ip others {
	chain post { type nat hook postrouting priority 100; ip saddr 10.99.0.0/16 masquerade; }
	chain pre { type nat hook prerouting priority -100; tcp dport 9 dnat to 192.0.2.9; }
	chain input { type filter hook input priority 0; ct state established,related accept; }
}
"""


def set_bridge_nf(value):
    if os.path.exists(BRIDGE_NF):
        with open(BRIDGE_NF, "w", encoding="ascii") as file:
            file.write(value)


def bridge_nf_values():
    return "01" if os.path.exists(BRIDGE_NF) else "0"


def fresh(previous=1):
    lab.agent().call("hang_up")
    set_bridge_nf("0")
    lab.reset()
    sh("conntrack -F", check=False)
    sh(f"ss -K src 127.0.0.1:{PORT}", check=False)
    sh("nft -f -", stdin=HOST)
    lab.set_conf("br-app", "route_localnet", previous)


def connect():
    expect("tcp 127" in lab.agent().call("connect", "one", lab.gateway, lab.mapped), "connected")
    expect_eq(lab.agent().call("exchange", "one", 3), "more\n", "while it is mapped")


def elements():
    return re.findall(r'"br-app" \. tcp \. (\d+) ', sh("nft list ruleset"))


def wait_until_over():
    expect(wait_for(lambda: PORT not in elements(), 10), "over")


def flows():
    return [line for line in sh("conntrack -L -p tcp", check=False).splitlines()
            if "src=127.0.0.1" in line and f"dport={PORT} " in line
            and "TIME_WAIT" not in line and "CLOSE" not in line]


def ended(what):
    """It is not answered, and a mapping that is made anew does not bring it back."""
    expect_eq(flows(), [], f"{what}: tracked")
    got = lab.agent().call("exchange", "one", 1)
    expect(got in ("reset", "closed", "timeout"), f"{what}: answered: {got!r}")
    expect_eq(lab.nb("check").rc, 0, f"{what}: check")
    lab.good("add", "br-app", PORT)
    got = lab.agent().call("exchange", "one", 1)
    expect(got in ("reset", "closed", "timeout"), f"{what}, mapped anew: answered: {got!r}")
    expect(wait_for(lambda: "tcp 127" in lab.tcp(lab.mapped), 5), "new ones are served")


@case("a mapping that was over is removed")
def _():
    for previous in (0, 1):
        fresh(previous)
        lab.good("add", "br-app", PORT, "--for", "2s")
        connect()
        wait_until_over()
        lab.good("remove", "br-app", PORT)
        ended(f"remove, route_localnet was {previous}")


@case("a mapping that was over is flushed; one that was runtime goes with apply")
def _():
    fresh()
    lab.good("add", "br-app", PORT, "--for", "2s")
    connect()
    wait_until_over()
    lab.good("flush")
    ended("flush")
    fresh()
    lab.good("add", "br-app", PORT, "--for", "2s", "--runtime")
    connect()
    wait_until_over()
    lab.good("apply")
    ended("apply")


@case("one that was over goes while another mapping of its bridge stays, and then that")
def _():
    fresh()
    lab.good("add", "br-app", PORT, "--for", "2s")
    lab.good("add", "br-app", "9001")
    connect()
    wait_until_over()
    lab.good("remove", "br-app", "9001")
    lab.good("remove", "br-app", PORT)
    ended("last")
    fresh()
    lab.good("add", "br-app", PORT, "--for", "2s")
    lab.good("add", "br-app", "9001")
    connect()
    wait_until_over()
    lab.good("remove", "br-app", PORT)
    ended("first")


@case("somebody flushed the ruleset, and then it is removed, or its file is")
def _():
    for command in ("nft flush ruleset; nft -f -", "nft delete table inet nat-bridge"):
        fresh()
        lab.good("add", "br-app", PORT)
        connect()
        sh(command, stdin=HOST)
        lab.good("remove", "br-app", PORT)
        ended(command)
    fresh()
    lab.good("add", "br-app", PORT, "9001")
    connect()
    sh("nft delete table inet nat-bridge")
    os.unlink(f"{lab.rules}/iface.br-app-{PORT}-tcp.json")
    lab.good("apply")
    ended("its file was deleted")


def goes_on(bridge_nf, what):
    """What docs/security.md says of a flow that connection tracking knows, and no guard keeps back."""
    got = lab.agent().call("exchange", "one", 1)
    if bridge_nf == "0":
        expect_match("^(more\n)+$", got, f"{what}: somebody else's table still translates it")
    else:
        expect_eq(got, "timeout", f"{what}: translated before it comes to the filter")


FLUSH = "flush ruleset\n" + HOST
AFTERWARDS = (("apply",), ("remove", "br-app", PORT), ("flush",))


@case("a flush lets tracked flows go on, also of a mapping that is over, until the next command")
def _():
    for bridge_nf in bridge_nf_values():
        for words in AFTERWARDS:
            fresh(0)
            set_bridge_nf(bridge_nf)
            lab.good("add", "br-app", PORT, "--for", "2s")
            connect()
            wait_until_over()
            sh("nft -f -", stdin=FLUSH)
            goes_on(bridge_nf, f"bridge-nf {bridge_nf}")
            lab.good(*words)
            ended(f"bridge-nf {bridge_nf}, {' '.join(words)}")


@case("so does the new name of a bridge")
def _():
    for bridge_nf in bridge_nf_values():
        fresh(0)
        set_bridge_nf(bridge_nf)
        lab.good("add", "br-app", PORT, "--for", "2s")
        connect()
        wait_until_over()
        sh("ip link set br-app name br-new")
        goes_on(bridge_nf, f"renamed, bridge-nf {bridge_nf}")
        lab.good("apply")
        sh("ip link set br-new name br-app")
        ended(f"renamed, bridge-nf {bridge_nf}")


@case("where a watcher is a flow ends with the time of its mapping, and a flush brings none back")
def _():
    fresh(0)
    with Watcher(lab):
        lab.good("add", "br-app", PORT, "--for", "2s")
        connect()
        expect(wait_for(lambda: flows() == [], 10), "it is ended")
        sh("nft -f -", stdin=FLUSH)
        expect(wait_for(lambda: lab.nb("check").rc == 0), "mended")
        ended("watched")


@case("a live connection outlives a flush that apply follows, if it is not reset in between")
def _():
    for bridge_nf in bridge_nf_values():
        fresh(0)
        set_bridge_nf(bridge_nf)
        lab.good("add", "br-app", PORT)
        connect()
        sh("nft -f -", stdin=FLUSH)
        goes_on(bridge_nf, f"bridge-nf {bridge_nf}")
        lab.good("apply")
        expect_match("^(more\n)+$", lab.agent().call("exchange", "one", 5), "it goes on")
    # nobody translates: what is sent then is for a port of the gateway where nobody listens
    fresh(0)
    lab.good("add", "br-app", PORT)
    connect()
    # an acknowledgement is something, too, and the kernel takes its time for it
    expect(wait_for(lambda: "unacked" not in sh(f"ss -Htni src 127.0.0.1:{PORT}")), "acknowledged")
    sh("nft flush ruleset")
    lab.good("apply")
    expect_eq(lab.agent().call("exchange", "one", 3), "more\n", "nothing was sent in between")
    sh("nft flush ruleset")
    expect_eq(lab.agent().call("exchange", "one", 1), "reset", "something was sent in between")


@case("what is still mapped lives on through all of that")
def _():
    fresh()
    lab.good("add", "br-app", PORT, "9001")
    lab.good("add", "br-app", "9002", "--for", "2s")
    connect()
    expect(wait_for(lambda: "9002" not in elements(), 10), "over")
    lab.good("remove", "br-app", "9002")
    expect_eq(lab.agent().call("exchange", "one", 3), "more\n", "another was over and removed")
    sh("nft delete table inet nat-bridge")
    lab.good("apply")
    expect_eq(lab.agent().call("exchange", "one", 3), "more\n", "applied after a flush")
    sh("nft delete table inet nat-bridge")
    lab.good("add", "br-app", "9003")
    lab.good("apply")
    expect_eq(lab.agent().call("exchange", "one", 3), "more\n", "added to after a flush")
    lab.good("remove", "br-app", "9001")
    expect_eq(lab.agent().call("exchange", "one", 3), "more\n", "another one was removed")


def half_remove():
    """What a remove that was killed behind its first batch leaves."""
    for table, key in (("targets", f"br-app . tcp . {PORT}"),
                       ("accepted", f"br-app . tcp . {PORT} . 127.0.0.1 . {PORT}")):
        sh(f"nft delete element inet nat-bridge {table} '{{ {key} }}'")
    name = f"iface.br-app-{PORT}-tcp.json"
    os.rename(f"{lab.rules}/{name}", f"{lab.rules}/.{name}.gone")


@case("a removal that was killed is ended by the next one, whatever that is of")
def _():
    for words in (("br-app", "9001"), ("br-app", PORT), ("br-two", "9002")):
        fresh()
        lab.good("add", "br-app", PORT, "9001")
        lab.good("add", "br-two", "9002")
        connect()
        half_remove()
        expect_eq(lab.nb("check").rc, 3, "check names it")
        result = lab.json("remove", *words)
        expect_eq(result["changed"], True, f"{words}: {result}")
        expect_eq([name for name in os.listdir(lab.rules) if name.startswith(".")], [], "left")
        ended(f"remove {' '.join(words)}")


@case("one that was killed before its first batch: closed by the next one, but not what is kept")
def _():
    fresh()
    lab.write_rules({"many.json": {"version": 1, "mappings": [
        {"network": "iface:br-app", "port": port} for port in (lab.mapped, 9001, 9002)]}})
    lab.good("apply")
    connect()
    shutil.copy(f"{lab.rules}/many.json", f"{lab.rules}/.many.json.gone")
    lab.write_rules({"many.json": {"version": 1, "mappings": [
        {"network": "iface:br-app", "port": port} for port in (9001, 9002)]},
        ".many.json.gone": open(f"{lab.rules}/.many.json.gone", encoding="ascii").read()})
    lab.good("remove", "br-app", "9001")
    expect_eq(elements(), ["9002", "9002"], "what is mapped")
    expect_eq(os.listdir(lab.rules), ["many.json"], "files")
    ended("remove")


@case("several files, and a directory that becomes read-only among them: it is said, and kept")
def _():
    fresh()
    lab.good("add", "br-app", PORT, "9001", "9002")
    lab.good("flush")
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat", "-e",
              "inject=unlinkat:error=EROFS:when=2"]
    # LeakSanitizer cannot look at what is traced
    result = lab.nb("remove", "br-app", PORT, "9001", "9002", "--json", prefix=strace,
                    env={"ASAN_OPTIONS": "detect_leaks=0"})
    expect_eq((result.rc, result.json["changed"]), (1, True), f"{result}")
    expect_eq(lab.nb("check").rc, 3, "check names what is left")
    lab.good("apply")
    expect_eq(elements(), [], "nothing came back")
    expect_eq(os.listdir(lab.rules), [], "files")


run()
