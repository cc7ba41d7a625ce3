#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two networks on one bridge: the same target merges, different targets are refused."""
import itertools
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402

lab = enter(__file__, containers=False)
docker = FakeEngine(lab.dir + "/docker.sock")
docker.networks = [network("agents", bridge="br-app"), network("later", bridge="br-later")]
NAMES = ("docker:agents", "iface:br-app")
LIVES = {"permanent": [], "timed": ["--for", "2h"], "longer": ["--for", "4h"],
         "runtime": ["--runtime"], "passing": ["--runtime", "--for", "1h"]}
SECONDS = {"permanent": 0, "timed": 7200, "longer": 14400, "runtime": 0, "passing": 3600}


def fresh():
    lab.reset()
    lab.write_rules({})
    with open(lab.config, "w") as file:
        json.dump({"docker": docker.path}, file)


def elements(port=5, bridge="br-app"):
    """(target port, seconds left, comment) of a key in the kernel, by nft."""
    done = subprocess.run(["nft", "-j", "list", "map", "inet", "nat-bridge", "targets"],
                          capture_output=True, text=True)
    found = []
    for item in json.loads(done.stdout)["nftables"] if done.returncode == 0 else []:
        for key, value in item.get("map", {}).get("elem", []):
            inner = key.get("elem", {"val": key})
            if inner["val"]["concat"] == [bridge, "tcp", port]:
                found.append((value["concat"][1], inner.get("expires", 0),
                              inner.get("comment", "")))
    return found


def life(port=5):
    """Seconds left of the one element; 0: for ever; None: there is none."""
    found = elements(port)
    expect(len(found) < 2, f"one element a key: {found}")
    return found[0][1] if found else None


def lives(seconds, what):
    got = life()
    if not seconds:
        expect_eq(got, seconds, what)
    else:
        expect(got is not None and seconds - 60 < got <= seconds + 2,
               f"{what}: {got} s left instead of {seconds}")


def is_runtime(kind):
    return kind in ("runtime", "passing")


def together(kinds):
    """Seconds that both live: a rule file's mapping takes over, else the longer life wins."""
    seconds = [SECONDS[kind] for kind in kinds if not is_runtime(kind)]
    seconds = seconds or [SECONDS[kind] for kind in kinds]
    return 0 if 0 in seconds else max(seconds)


def in_sync(what):
    result = lab.nb("check")
    expect(result.rc == 0, f"{what}: {result}")


def both(names, kinds):
    """Add both, remove either, and look at the kernel and at `check` each time."""
    fresh()
    lab.good("add", names[0], "5", *LIVES[kinds[0]])
    second = ["add", names[1], "5", *LIVES[kinds[1]]]
    if is_runtime(kinds[1]):
        refused(*second, text=names[0])
        return
    lab.good(*second)
    lives(together(kinds), "after both")
    in_sync("after both")
    for gone in (0, 1):
        kept = 1 - gone
        if any(map(is_runtime, kinds)):
            continue  # one element, one mark: it is listed for one of the two
        fresh()
        for name, kind in zip(names, kinds):
            lab.good("add", name, "5", *LIVES[kind])
        lab.good("remove", names[gone], "5")
        lives(SECONDS[kinds[kept]], f"{names[gone]} removed")
        in_sync(f"{names[gone]} removed")
        lab.good("remove", names[kept], "5")
        expect_eq(life(), None, "both removed")
        in_sync("both removed")


for order in (NAMES, NAMES[::-1]):
    for kinds in itertools.product(LIVES, repeat=2):
        case(f"{kinds[0]} {order[0]} and {kinds[1]} {order[1]}")(
            lambda order=order, kinds=kinds: both(order, kinds))


def refused(*words, rc=1, text=None):
    before = lab.snapshot()
    result = lab.nb(*words, "--json")
    expect(result.rc == rc, f"expected exit {rc} of {result}")
    lab.same(before, lab.snapshot(), " ".join(words))
    if text:
        expect_match(text, result.json["error"]["message"], "the message")
    return result.json.get("error", {})


@case("add: another target than the other network's is refused, and names it and its file")
def _():
    fresh()
    lab.good("add", "agents", "5")
    for more in ((), ("--replace",), ("--runtime",), ("--force", "--replace")):
        error = refused("add", "iface:br-app", "5:6", *more, text="docker:agents")
        expect_eq(error["code"], "conflict", "code")
        expect_eq(error["file"], lab.rules + "/docker.agents-5-tcp.json", "file")
    lab.good("add", "agents", "5:7", "--replace")
    expect_eq([e[0] for e in elements()], [7], "its own network may")


@case("add: likewise after a flush, for a runtime mapping, and not for what is over")
def _():
    fresh()
    lab.good("add", "agents", "5")
    lab.good("flush")
    refused("add", "iface:br-app", "5:6", text="docker:agents")
    lab.good("remove", "agents", "5")
    lab.good("add", "agents", "5", "--runtime")
    refused("add", "iface:br-app", "5:6", "--replace", text="docker:agents")
    lab.good("remove", "agents", "5")
    lab.write_rules({"over.json": {"version": 1, "mappings": [
        {"network": "docker:agents", "port": 5, "until": "2020-01-01T00:00:00Z"},
        {"network": "docker:agents", "port": 4, "enabled": False}]}})
    lab.good("add", "iface:br-app", "5:6", "4:6")
    in_sync("what is over or disabled asks for nothing")


@case("add: a conflict on a bridge that is not there yet")
def _():
    fresh()
    lab.good("add", "docker:later", "5")
    refused("add", "iface:br-later", "5:6", text="docker:later")
    lab.good("add", "iface:br-later", "5")


@case("apply and check name both files of a conflict; --keep-going applies the rest")
def _():
    fresh()
    one = {"version": 1, "mappings": [{"network": "docker:agents", "port": 5},
                                      {"network": "docker:agents", "port": 80}]}
    other = {"version": 1, "mappings": [{"network": "iface:br-app", "port": 5,
                                         "target": "127.0.0.1:6"}]}
    lab.write_rules({"one.json": one, "other.json": other})
    error = refused("apply", text=r"one\.json.*other\.json|other\.json.*one\.json")
    expect_eq(error["code"], "conflict", "code")
    expect(error["file"] and error["line"], f"file and line in {error}")
    result = lab.nb("check", "--json")
    expect(result.rc == 3 and "other.json" in str(result.json["drift"]), f"{result}")
    result = lab.nb("apply", "--keep-going", "--json")
    expect(result.rc == 4, f"{result}")
    expect_match("one.json", str(result.json["warnings"]), "the warning")
    expect_eq([life(5), life(80)], [None, 0], "neither of the two, and all others")
    result = lab.nb("apply", "--keep-going", "--json")
    expect(result.rc == 4 and not result.json["changed"], f"a second time: {result}")


@case("apply --keep-going: of a conflict what is live stays")
def _():
    fresh()
    lab.good("add", "agents", "5")
    with open(lab.rules + "/other.json", "w") as file:
        json.dump({"version": 1, "mappings": [{"network": "iface:br-app", "port": 5,
                                               "target": "127.0.0.1:6"}]}, file)
    result = lab.nb("apply", "--keep-going")
    expect(result.rc == 4, f"{result}")
    expect_eq([e[0] for e in elements()], [5], "the live one")
    lab.good("remove", "agents", "5")
    expect_eq(elements(), [], "removed")
    lab.good("apply")
    expect_eq([e[0] for e in elements()], [6], "the other one")


@case("list: what is over on a bridge where another network asks for the same is no drift")
def _():
    fresh()
    lab.good("add", "iface:br-app", "5")
    with open(lab.rules + "/over.json", "w") as file:
        json.dump({"version": 1, "mappings": [
            {"network": "docker:agents", "port": 5, "until": "2020-01-01T00:00:00Z"}]}, file)
    expect_eq({m["network"]: m["state"] for m in lab.json("list")["mappings"]},
              {"docker:agents": "expired", "iface:br-app": "active"}, "states")
    in_sync("check")
    lab.good("remove", "agents", "5")
    expect_eq([e[0] for e in elements()], [5], "the other stays")
    in_sync("check after remove")


@case("remove after a flush opens nothing that shares the bridge")
def _():
    fresh()
    lab.good("add", "agents", "5")
    lab.good("add", "iface:br-app", "5")
    lab.good("flush")
    lab.good("remove", "iface:br-app", "5")
    expect_eq(elements(), [], "nothing was live")


run()
