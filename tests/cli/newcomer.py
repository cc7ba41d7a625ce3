#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What people type before they know the program: it says what they should have typed, and says
nothing that it does not know."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "setpriv"))
NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
ENGINES = {"DOCKER_HOST": f"unix://{lab.dir}/docker.sock",
           "CONTAINER_HOST": f"unix://{lab.dir}/podman.sock"}


def fresh():
    lab.reset()
    lab.write_rules({})


def as_nobody(*words, rc):
    return lab.json(*words, rc=rc, prefix=NOBODY)


def refused(rc, pattern, *words, **others):
    """The error says what to type, the same in words and in JSON."""
    found = lab.json(*words, rc=rc, **others)
    expect_match(pattern, found.get("error", {}).get("message"), f"{' '.join(words)}: its error")


def first(*words, **others):
    found = lab.json("doctor", *words, rc=1, **others)
    expect(found.get("findings"), f"doctor {' '.join(words)}: {found}")
    return (found.get("findings") or [{"code": "", "what": "", "mend": ""}])[0]


@case("doctor as an ordinary user: not known is not healthy")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}")
    sh("ip link set br-app down; ip link set br-app up")
    found = as_nobody("doctor", rc=1)
    expect_eq((found["healthy"], found["findings"]), (None, []), "nothing found is not known")
    expect_match("only root", lab.nb("doctor", prefix=NOBODY).out, "as text")
    lab.set_conf("br-app", "route_localnet", 0)
    lab.nb("apply")
    expect_eq(lab.json("doctor")["healthy"], True, "as root")
    expect_eq(lab.json("doctor", "--dry-run")["healthy"], True, "--dry-run, as was asked for")


@case("doctor --fix as an ordinary user says that it cannot, broken or not")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}")
    for _ in range(2):
        done = lab.nb("doctor", "--fix", prefix=NOBODY)
        expect_eq(done.rc, 1, "exit status")
        expect_match("run it as root", done.err, "why")
        sh("nft flush ruleset")


@case("doctor as a user who may not read the rule files does not say what is in them")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}")
    os.chmod(lab.rules, 0o700)
    for words in ((), ("br-app",), ("br-app", "11434")):
        found = as_nobody("doctor", *words, rc=1)
        expect_eq((found["healthy"], found["findings"]), (None, []), f"doctor {words}")
        expect_match("rules.d", " ".join(found["warnings"]), "the warning")


@case("doctor of a rules directory that others may write to goes on, and names it")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}")
    os.chmod(lab.rules, 0o777)
    cause = first()
    expect_eq((cause["code"], cause["severity"]), ("invalid-file", "problem"), "first finding")
    expect_match("written by everybody", cause["what"] + cause["evidence"], "its words")
    expect_eq(cause["mend"], f"chmod go-w {lab.rules}", "mend")
    expect_eq([p["result"] for p in lab.json("doctor", "br-app", "11434", rc=1)["probes"]],
              ["connected"], "what the kernel has is tried all the same")
    sh(cause["mend"])
    expect_eq(lab.json("doctor")["findings"], [], "mended")
    os.chown(lab.rules, 65534, 0)
    cause = first()
    expect_eq(cause["mend"], f"chown root {lab.rules}", "of another owner")
    sh(cause["mend"])
    expect_eq(lab.json("doctor")["findings"], [], "mended, too")


@case("verify of a network of which nothing is mapped is no success")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}")
    refused(1, "nothing is mapped on br-ap; there are mappings on br-app", "verify", "br-ap")
    refused(1, "11434 is a port.*verify br-app", "verify", "11434")
    expect_eq(lab.json("verify", "br-app")["verified"], True, "of one that is there")


@case("remove of what is absent stays no failure, and names the nearest")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}")
    found = lab.json("remove", "br-ap", "11434", rc=0)
    expect_eq(found["changed"], False, "changed")
    expect_match("br-app", " ".join(found["warnings"]), "the nearest")


@case("remove PORT alone names the network that is missing")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}")
    refused(2, "NETWORK comes first: nat-bridge remove br-app 11434", "remove", "11434")
    refused(2, "NETWORK comes first: nat-bridge remove NETWORK 9999", "remove", "9999")
    refused(2, "needs a PORT", "remove", "br-app")


@case("doctor PORT: that port, wherever it is mapped")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}", "8080")
    lab.good("add", "br-two", f"11434:{lab.mapped}")
    for word in ("11434", "11434/tcp", "ollama"):
        found = lab.json("doctor", word)
        expect_eq([(p["bridge"], p["port"]) for p in found["probes"]],
                  [("br-app", 11434), ("br-two", 11434)], f"doctor {word}: what was tried")
    cause = first("9999")
    expect_eq(cause["code"], "not-mapped", "a port that is not mapped")
    expect_match("9999/tcp is not mapped on any network", cause["what"], "its words")
    expect_eq(cause["mend"], "nat-bridge add NETWORK 9999/tcp", "its mend")
    cause = first(str(lab.mapped))
    expect_match(r"11434 is \(iface:br-\w+\), which leads to", cause["what"], "the target's number: its words")


@case("an address in place of the network: whose it is")
def _():
    refused(2, "172.30.0.0/24 is the network of br-app: nat-bridge add br-app 11434",
            "add", "172.30.0.0/24", "11434")
    refused(1, "172.30.0.1 is the address of br-app: nat-bridge add br-app 11434",
            "add", "172.30.0.1", "11434")
    refused(1, "172.30.0.77 is in the network of br-app: nat-bridge doctor br-app",
            "doctor", "172.30.0.77")
    refused(2, "holds a slash", "add", "10.9.9.0/24", "11434")
    refused(1, "no interface", "add", "10.9.9.9", "11434")


@case("doctor --report to where nothing can be written: the findings are not lost")
def _():
    lab.good("add", "br-app", f"11434:{lab.mapped}")
    done = lab.nb("doctor", "--report", "/nowhere/x")
    expect_eq(done.rc, 1, "exit status")
    expect_match("cannot write the report: /nowhere/x", done.err, "why")
    expect_match("healthy", done.out, "what was found")
    found = lab.json("doctor", "--report", "/nowhere/x", rc=1)
    expect_eq((found["healthy"], found["error"]["code"]), (True, "report"), "in JSON")
    expect_eq(len(found["probes"]), 1, "what was tried")
    path = lab.dir + "/report.json"
    lab.good("doctor", "--report", path)
    before = os.stat(path)
    expect(before.st_size > 100, "a report")
    expect_eq(lab.nb("doctor", "--report", path).rc, 1, "one that is there already")
    expect_eq((os.stat(path).st_ino, os.stat(path).st_size), (before.st_ino, before.st_size),
              "it is left alone")
    os.unlink(path)


@case("an unknown name beside networks of an engine: one of those, not its bridge")
def _():
    docker = FakeEngine(lab.dir + "/docker.sock")
    docker.networks = [network("agents", bridge="br-app"), network("bridge", bridge="br-two")]
    try:
        for words in (("doctor", "nosuch", "11434"), ("add", "nosuch", "11434")):
            refused(1, "; there is agents", *words, env=ENGINES)
    finally:
        docker.stop()
    refused(1, "; there is br-app", "add", "nosuch", "11434", env=ENGINES)


@case("a silent engine is told of where it matters alone")
def _():
    docker = FakeEngine(lab.dir + "/docker.sock")
    docker.networks = [network("agents", bridge="br-two")]
    lab.good("add", "br-app", "11434", env=ENGINES)
    lab.good("add", "agents", "11434", env=ENGINES)
    docker.stop()
    for words in (("list",), ("list", "agents"), ("list", "docker:agents"), ("status",), ("check",),
                  ("doctor",), ("doctor", "agents")):
        done = lab.nb(*words, env=ENGINES)
        expect_match("docker.sock", done.out + done.err, f"{words}: it matters")
    for words in (("list", "br-app"), ("status", "br-app"), ("list", "iface:br-app"),
                  ("verify", "br-app"), ("doctor", "br-app"), ("remove", "br-app", "9999"), ("remove", "br-app", "11434")):
        done = lab.nb(*words, env=ENGINES)
        expect("docker.sock" not in done.out + done.err, f"{words}: it does not: {done}")
    expect_match("docker.sock", lab.nb("remove", "agents", "11434", env=ENGINES).err, "remove")


@case("list fits into the width that there is")
def _():
    name = "docker:a-very-long-project_default-with-a-name-of-its-own"
    lab.write_rules({"a.json": {"version": 1, "mappings": [
        {"network": name, "port": 11434, "target": "127.0.0.1:11434"},
        {"network": "iface:br-app", "port": 8080}]}})
    for width in (80, 100, 120):
        text = lab.good("list", env={"COLUMNS": str(width)}).out
        expect(max(map(len, text.splitlines())) <= width, f"{width} columns:\n{text}")
        expect_match("11434/tcp +127.0.0.1:11434 +pending", text, "the rest is whole")
    expect_match(name, lab.good("list").out, "without a terminal nothing is cut")


run(fresh)
