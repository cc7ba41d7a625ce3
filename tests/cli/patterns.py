#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks that are several bridges: patterns, and what a container is attached to."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402

lab = enter(__file__, containers=False)
docker = FakeEngine(lab.dir + "/docker.sock")
podman = FakeEngine(lab.dir + "/podman.sock")
podman.stop()


for extra in ("br-three", "br-four"):
    sh(f"ip link add {extra} type bridge && ip link set {extra} up")


def container(*networks, mode="bridge"):
    return {"NetworkSettings": {"Networks": {name: {"NetworkID": "x"} for name in networks}},
            "HostConfig": {"NetworkMode": mode}}


def fresh():
    lab.reset()
    lab.write_rules({})
    with open(lab.config, "w") as file:
        json.dump({"docker": docker.path, "podman": podman.path,
                   "podman_networks": lab.dir + "/no-networks"}, file)
    docker.networks = [network("proj_a", bridge="br-app"), network("proj_b", bridge="br-two"),
                       network("other", bridge="br-three"), network("host", driver="host"),
                       network("gone", bridge="br-gone")]
    docker.others = {}


def bridges(port):
    """The bridges on which the kernel has the port."""
    return sorted(re.findall(rf'"([^"]+)" \. tcp \. {port} counter[^:]* : ', lab.ruleset()))


def in_sync():
    result = lab.nb("check")
    expect(result.rc == 0, f"{result}")


@case("a pattern is each network that it matches, those that come later included")
def _():
    fresh()
    value = lab.json("add", "docker:proj_*", "80")
    expect_eq(sorted(m["bridge"] for m in value["mappings"]), ["br-app", "br-two"], "mappings")
    expect_eq({m["network"] for m in value["mappings"]}, {"docker:proj_*"}, "network")
    expect_eq(bridges(80), ["br-app", "br-two"], "in the kernel")
    expect_eq(os.listdir(lab.rules), ["docker.proj_%2A-80-tcp.json"], "the file")
    in_sync()
    docker.networks.append(network("proj_c", bridge="br-four"))
    docker.networks = [n for n in docker.networks if n["Name"] != "proj_a"]
    expect_eq(lab.nb("check").rc, 3, "check: there is another one")
    lab.good("apply")
    expect_eq(bridges(80), ["br-four", "br-two"], "after apply")
    in_sync()
    expect_eq(lab.json("apply")["changed"], False, "a second apply")
    expect_eq(len(lab.json("list")["mappings"]), 2, "list: one a bridge")
    expect_match(r"docker:proj_\* \(br-two\)", lab.good("list").out, "the table")
    lab.good("remove", "docker:proj_*", "80")
    expect_eq((bridges(80), os.listdir(lab.rules)), ([], []), "removed")


@case("every network, except some: by name, with prefix, by a pattern")
def _():
    for words, want in ((("--except", "other"), ["br-app", "br-two"]),
                        (("--except", "docker:other", "--except=proj_a"), ["br-two"]),
                        (("--except", "proj_*"), ["br-three"]),
                        (("--except", "*"), [])):
        fresh()
        docker.networks.pop()
        lab.good("add", "docker:*", "80", *words)
        expect_eq(bridges(80), want, str(words))
        in_sync()
    fresh()
    lab.good("add", "docker:*", "80", "--except", "other", "--except", "other")
    with open(lab.rules + "/docker.%2A-80-tcp.json") as file:
        expect_eq(json.load(file)["mappings"][0]["except"], ["docker:other"], "the file")
    expect_eq(lab.json("add", "docker:*", "80")["changed"], False,
              "without --except it stays: nothing is opened by the way")
    expect_eq(lab.json("add", "docker:*", "80", "--except", "other")["changed"], False, "again")
    expect_eq(lab.json("list")["mappings"][0]["except"], ["docker:other"], "list says it")
    expect_eq(lab.json("add", "docker:*", "80", "--except", "proj_a")["changed"], True, "more")
    expect_eq(bridges(80), ["br-two"], "both are left out")
    in_sync()


@case("fewer exceptions: only by --replace, and only if some are named")
def _():
    fresh()
    lab.good("add", "docker:*", "80", "--except", "other", "--except", "proj_a")
    lab.good("add", "docker:*", "80:81", "--replace")
    expect_eq(bridges(80), ["br-two"], "another target: what is left out stays out")
    value = lab.json("add", "docker:*", "80:81", "--replace", "--except", "other")
    expect_eq((value["changed"], bridges(80)), (True, ["br-app", "br-two"]), "exactly that one")
    in_sync()
    value = lab.json("add", "docker:*", "80:81", "--replace", "--except", "other")
    expect_eq(value["changed"], False, "again")
    expect_eq(lab.nb("add", "docker:*", "80:81", "--except", "").rc, 2, "none, without --replace")
    value = lab.json("add", "docker:*", "80:81", "--replace", "--except", "")
    expect_eq((value["changed"], bridges(80)), (True, ["br-app", "br-three", "br-two"]), "none")
    expect("except" not in open(lab.rules + "/docker.%2A-80-tcp.json").read(), "nor in the file")
    in_sync()
    value = lab.json("add", "docker:*", "80:81", "--replace", "--except", "")
    expect_eq(value["changed"], False, "again")


@case("rule files: except, and what is wrong with one")
def _():
    fresh()
    good = {"network": "docker:*", "port": 80, "except": ["docker:proj_*", "docker:other"]}
    lab.write_rules({"a.json": {"mappings": [good]}})
    lab.good("apply")
    expect_eq(bridges(80), [], "all of them")
    lab.good("add", "docker:*", "81")
    lab.good("remove", "docker:*", "81")
    for wrong, text in (({"network": "docker:a"}, "pattern"), ({"network": "iface:a"}, "pattern"),
                        ({"except": "docker:a"}, "array"), ({"except": [1]}, "string"),
                        ({"except": ["other"]}, "docker:other"),
                        ({"except": ["podman:x"]}, "engine"), ({"except": [["docker:a"]]}, "string"),
                        ({"except": ["container:x"]}, "engine"), ({"network": "iface:a*"}, r"'\*'"),
                        ({"network": "container:a*"}, "container")):
        lab.write_rules({"a.json": {"mappings": [{**good, **wrong}]}})
        error = lab.json("apply", rc=2)["error"]
        expect_match(text, error["message"], str(wrong))
        expect_match(r"mappings\[0\]", error["key"], str(wrong))
    lab.write_rules({"a.json": {"mappings": [good]},
                     "b.json": {"mappings": [{**good, "except": ["docker:x"]}]}})
    expect_match("except", lab.json("apply", rc=2)["error"]["message"], "the same key twice")


@case("wrong words")
def _():
    fresh()
    before = lab.snapshot()
    for words, rc, text in ((("proj_*", "80"), 2, "docker:proj_"),
                            (("docker:a", "80", "--except", "b"), 2, "pattern"),
                            (("docker:*", "80", "--except", "podman:b"), 2, "engine"),
                            (("docker:*", "80", "--except", "a b"), 2, None),
                            (("docker:*", "80", "--except", ""), 2, None),
                            (("container:", "80"), 2, None), (("container:a*", "80"), 2, None),
                            (("docker:*", "80", *["--except=a"] * 33), 2, "32"),
                            (("iface:*", "80"), 2, None)):
        result = lab.nb("add", *words)
        expect(result.rc == rc, f"{result}")
        expect_match(text or ".", result.err, str(words))
    lab.same(before, lab.snapshot(), "all of them")


@case("a pattern that matches nothing is pending; so is one of an engine that is not there")
def _():
    fresh()
    value = lab.json("add", "docker:nix_*", "80")
    expect(len(value["pending"]) == 1 and "nix_" in str(value["warnings"]), f"{value}")
    value = lab.json("add", "podman:*", "80")
    expect(len(value["pending"]) == 1, f"{value}")
    expect(lab.nb("apply").rc == 0, "apply")


@case("a silent engine: what is live of a pattern stays")
def _():
    fresh()
    lab.good("add", "docker:proj_*", "80")
    docker.stop()
    try:
        expect_eq(lab.json("apply")["changed"], False, "apply")
        expect_eq(bridges(80), ["br-app", "br-two"], "live")
        lab.good("add", "docker:proj_*", "81")
        expect_eq(bridges(81), ["br-app", "br-two"], "and another port goes where it was")
    finally:
        docker.start()


@case("a pattern and a name of one bridge: the same target merges, another is refused")
def _():
    fresh()
    lab.good("add", "docker:*", "80")
    lab.good("add", "docker:proj_a", "80")
    in_sync()
    lab.good("remove", "docker:*", "80")
    expect_eq(bridges(80), ["br-app"], "the name stays")
    in_sync()
    result = lab.nb("add", "docker:*", "80:81")
    expect(result.rc == 1 and "docker:proj_a" in result.err, f"{result}")
    lab.good("add", "docker:*", "80:81", "--except", "proj_a")
    expect_eq(bridges(80), ["br-app", "br-three", "br-two"], "each its own")
    in_sync()


@case("container:NAME is each network that it is attached to, also when it joins another")
def _():
    fresh()
    docker.others = {"/containers/web/json": container("proj_a", "other")}
    value = lab.json("add", "container:web", "80")
    expect_eq(sorted(m["bridge"] for m in value["mappings"]), ["br-app", "br-three"], "mappings")
    expect_match("every container", str(value["warnings"]), "what it means")
    expect_eq(os.listdir(lab.rules), ["container.web-80-tcp.json"], "the file")
    in_sync()
    docker.others = {"/containers/web/json": container("proj_b", "other")}
    lab.good("apply")
    expect_eq(bridges(80), ["br-three", "br-two"], "it moved")
    in_sync()
    docker.stop()
    try:
        expect_eq(lab.json("apply")["changed"], False, "a silent engine changes nothing")
    finally:
        docker.start()
    docker.others = {}
    value = lab.json("apply")
    expect("no container web" in str(value["warnings"]), f"{value}")
    expect_eq(bridges(80), [], "it is gone")
    lab.good("remove", "container:web", "80")
    expect_eq(os.listdir(lab.rules), [], "removed")


@case("containers without a bridge: each its own sentence")
def _():
    for made, text in ((container("host", mode="host"), "host's own network"),
                       (container(mode="container:abc"), "container abc"),
                       (container("host"), "host's own")):
        fresh()
        docker.others = {"/containers/web/json": made}
        result = lab.nb("add", "container:web", "80")
        expect(result.rc == 1, f"{result}")
        expect_match(text, result.err, str(made))
    fresh()
    docker.others = {"/containers/web/json": container()}
    result = lab.nb("add", "container:web", "80")
    expect(result.rc == 0 and "no network now" in result.err, f"{result}")
    fresh()
    docker.others = {"/containers/web/json": container("proj_a")}
    result = lab.nb("add", "web", "80")
    expect(result.rc == 1 and "container:web" in result.err, f"{result}")
    podman.others = {"/containers/web/json": container("x"), "/networks/json": []}
    podman.start()
    try:
        result = lab.nb("add", "container:web", "80")
        expect(result.rc == 1 and "Podman" in result.err, f"{result}")
    finally:
        podman.stop()


run()
