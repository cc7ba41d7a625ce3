#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ufw as its users have it, and all that they do with it while a mapping is live."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hosts import *  # noqa: E402

lab, host = enter_host(__file__)
host.firewall = f"ufw {host.version('ufw')}"
UFW_CHAIN = "ip filter INPUT"
SENTINEL = f"allow {lab.sentinel}/udp"  # by which the lab knows that its frames arrive


def edit(path, pattern, text):
    path = host.root + path
    with open(path) as file:
        content = file.read()
    changed = re.sub(pattern, text, content)
    expect(changed != content, f"{path} has no {pattern}")
    with open(path, "w") as file:
        file.write(changed)


def ufw(*lines):
    for line in lines:
        host.sh("ufw " + line)


def fresh():
    host.reset()
    # bring the programs' own state to none: their chains are gone with the kernel's
    host.sh("ufw --force reset >/dev/null 2>&1; rm -f /etc/ufw/*.20*", check=False)
    host.reset()


def enabled(*more):
    """ufw as after its first `ufw enable`; what a plain DNAT gets there."""
    ufw("allow 22/tcp", SENTINEL, *more, "--force enable")
    return host.plain()


def status():
    return host.sh("ufw status verbose; ufw show added")


def live(*more):
    without = enabled(*more)
    expect_eq(without, "dropped", "control: ufw drops what a plain DNAT translates")
    host.add()
    expect_eq(host.dial(), "reached", "mapped")
    expect_eq(host.openers(), {UFW_CHAIN: 1}, "one opener")
    return without


@case("its status and its files are as they were")
def _():
    enabled()
    before, etc = status(), host.etc()
    rules = host.dump()
    host.add()
    expect_eq(host.dial(), "reached", "mapped")
    expect_eq(status(), before, "ufw status")
    expect(host.etc() == etc, "its files")
    lab.good("remove", "br-app", MAPPED)
    expect(host.dump() == rules, f"removed: {difference(rules, host.dump())}")


EVENTS = [
    ("nothing", [], lambda: None),
    ("`ufw reload`", [], lambda: ufw("reload")),
    ("`ufw disable`, `ufw enable`", [], lambda: ufw("disable", "--force enable")),
    ("`ufw allow 443`", [], lambda: ufw("allow 443")),
    ("`ufw allow`, `ufw delete`", [], lambda: ufw("allow 443", "delete allow 443")),
    ("`ufw insert 1 deny` of another network", [], lambda: ufw("insert 1 deny from 203.0.113.0/24")),
    ("`ufw limit ssh`", [], lambda: ufw("limit 22/tcp")),
    ("`ufw logging full`", [], lambda: ufw("logging full")),
    ("`ufw default reject`", [], lambda: ufw("default reject incoming")),
    ("`ufw-init restart`, as its unit does", [], lambda: host.sh("/lib/ufw/ufw-init restart")),
]


def happens(name, more, work):
    without = live(*more)
    host.event(name, work, without=without)
    expect_eq(host.openers(), {UFW_CHAIN: 1}, "one opener")


table_cases([(row[0],) + row for row in EVENTS], happens)


@case("reset and enabled again")
def _():
    without = live()
    host.event("`ufw reset`, `ufw enable`", lambda: ufw("--force reset", SENTINEL, "--force enable"),
               without=without)


@case("MANAGE_BUILTINS=yes: a reload takes the opener")
def _():
    edit("/etc/default/ufw", r"MANAGE_BUILTINS=no", "MANAGE_BUILTINS=yes")
    without = live()
    host.event("`ufw reload` with MANAGE_BUILTINS=yes", lambda: ufw("reload"), without=without)
    expect_eq(host.openers(), {UFW_CHAIN: 1}, "one opener")


@case("flush-all")
def _():
    without = live()
    host.event("`ufw-init flush-all`, `ufw enable`",
               lambda: (host.sh("/lib/ufw/ufw-init flush-all"), ufw("--force enable")),
               without=without)


@case("boot: ufw first, then apply")
def _():
    without = live()
    files = lab.files()
    lab.good("flush")
    sh("nft flush ruleset")
    host.event("boot: ufw, then `apply`", lambda: host.sh("/lib/ufw/ufw-init start quiet"),
               without=without)
    expect(lab.files() == files, "the rule files")


@case("boot: apply first, then ufw")
def _():
    without = live()
    lab.good("flush")
    sh("nft flush ruleset")
    lab.good("apply")
    host.event("boot: `apply`, then ufw", lambda: host.sh("/lib/ufw/ufw-init start quiet"),
               without=without)
    expect_eq(host.openers(), {UFW_CHAIN: 1}, "one opener")


@case("after.init, as docs/firewalls.md words it, makes it automatic")
def _():
    edit("/etc/default/ufw", r"MANAGE_BUILTINS=no", "MANAGE_BUILTINS=yes")
    without = live()
    hook = host.root + "/etc/ufw/after.init"
    with open(lab.source + "/docs/firewalls.md") as file:
        words = re.search(r"```sh\n(#!/bin/sh\n# /etc/ufw/after.init.*?)```", file.read(), re.S)
    with open(hook, "w") as file:
        file.write(words.group(1))
    os.chmod(hook, 0o755)
    # the program, as the host would find it; it has this machine's libraries
    command = " ".join(lab.command("apply", "--quiet"))
    with open(host.root + "/usr/sbin/nat-bridge", "w") as file:
        file.write(f"#!/bin/sh\necho >>/run/hook; exec chroot /proc/1/root {command}\n")
    os.chmod(host.root + "/usr/sbin/nat-bridge", 0o755)

    def work():
        ufw("reload")
        expect_eq(host.openers(), {UFW_CHAIN: 1}, "mended before anybody typed anything")
        expect(os.path.exists(host.root + "/run/hook"), "the hook ran")
    try:
        host.event("`ufw reload` with MANAGE_BUILTINS=yes and after.init", work, without=without)
    finally:
        os.unlink(host.root + "/usr/sbin/nat-bridge")


@case("a saved opener that is restored later is inert, and not doubled")
def _():
    without = live()
    saved = host.sh("iptables-save")
    expect_match("-A INPUT -d 127.0.0.0/8 -m mark --mark 0x10000000/0x10000000 "
                 "-m comment --comment nat-bridge -j ACCEPT", saved, "iptables-save shows it")
    lab.good("remove", "br-app", MAPPED)
    host.sh("iptables-restore", stdin=saved)
    expect_eq(host.dial(), "dropped", "it opens nothing by itself")
    expect_eq(host.plain(), "dropped", "also to a DNAT that is not ours")
    host.add()
    host.event("`iptables-restore` of a saved opener", lambda: host.sh("iptables-restore",
                                                                      stdin=saved),
               without=without)
    expect_eq(host.openers(), {UFW_CHAIN: 1}, "one opener")


@case("beside the watcher: what each of many reloads takes comes back")
def _():
    edit("/etc/default/ufw", r"MANAGE_BUILTINS=no", "MANAGE_BUILTINS=yes")
    live()
    host.watched(lambda: ufw("reload"), lambda: ufw("disable", "--force enable"),
                 lambda: ufw("allow 443", "delete allow 443"))


@case("removed, also across a reload: nothing is left")
def _():
    enabled()
    host.undone(lambda: ufw("reload"))


run(fresh)
