#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""firewalld itself, in its zones and with its options, and its reloads while a mapping is live."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hosts import *  # noqa: E402

lab, host = enter_host(__file__)
VERSION = host.version("firewalld")
NUMBER = tuple(int(part) for part in VERSION.split("."))
host.firewall = f"firewalld {VERSION}"
CONFIG = "/etc/firewalld/firewalld.conf"
running = []


def configure(**options):
    with open(host.root + CONFIG) as file:
        text = file.read()
    for key, value in options.items():
        changed = re.sub(rf"(?m)^{key}=.*$", f"{key}={value}", text)
        if changed == text and f"{key}={value}" not in text:
            skip(f"firewalld {VERSION} has no {key}", kernel=True)
        text = changed
    with open(host.root + CONFIG, "w") as file:
        file.write(text)


def stop():
    for process in reversed(running):
        process.terminate()
        process.wait()
    running.clear()
    host.sh("rm -rf /run/dbus /run/firewalld; mkdir -p /run/dbus")


def start():
    running.append(host.start("dbus-daemon --system --nofork --nopidfile --nosyslog"))
    wait_for(lambda: os.path.exists(host.root + "/run/dbus/system_bus_socket"), 20)
    running.append(host.start("firewalld --nofork --nopid"))
    expect(wait_for(lambda: "running" == host.sh("firewall-cmd --state 2>&1", check=False).strip(),
                    40, 0.2), f"firewalld starts: {host.sh('cat /var/log/firewalld', check=False)}")


def fwcmd(*lines):
    for line in lines:
        host.sh("firewall-cmd " + line)


def fresh():
    stop()
    host.reset()
    if NUMBER >= (2, 2):
        configure(NftablesTableOwner="no")


def begun(zone="public", **options):
    """firewalld as it starts, with our bridge in a zone; what a plain DNAT gets there."""
    configure(**options)
    if zone == "docker":
        host.sh("firewall-offline-cmd --new-zone=docker && "
                "firewall-offline-cmd --zone=docker --set-target=ACCEPT")
    # by which the lab knows that its frames arrive
    host.sh(f"firewall-offline-cmd --zone={zone} --add-port={lab.sentinel}/udp && "
            f"firewall-offline-cmd --zone={zone} --add-interface=br-app")
    start()
    return host.plain()


def ordinary(zone, event, work, **options):
    without = begun(zone, **options)
    # the container cannot reach the gateway without a mapping, whatever the zone says of it
    host.add()
    expect_eq(host.dial(), "reached", "mapped")
    expect_eq(host.openers(), {}, "nothing is written where the DNAT is accepted anyway")
    host.event(event, work, without=without)
    expect_eq(host.openers(), {}, "nor afterwards")


def reload():
    fwcmd("--reload")


table_cases([(f"zone {zone}: reload", zone, f"zone {zone}: `firewall-cmd --reload`", reload)
             for zone in ("public", "block", "trusted", "docker")], ordinary)


@case("zone drop")
def _():
    # what it drops is what asks the lab whether its frames arrive; its rules are the same
    ordinary("drop", "zone drop: `firewall-cmd --reload`", reload)


@case("complete reload")
def _():
    ordinary("public", "`firewall-cmd --complete-reload`", lambda: fwcmd("--complete-reload"))


@case("a service that is added, and a rich rule")
def _():
    ordinary("public", "`--add-service`, `--add-rich-rule`", lambda: fwcmd(
        "--add-service=https",
        "--add-rich-rule='rule family=ipv4 source address=203.0.113.0/24 reject'"))


@case("beside the watcher: reloads again and again")
def _():
    begun()
    host.add()
    host.watched(reload, lambda: fwcmd("--complete-reload"), rounds=3)


@case("stopped and started")
def _():
    def work():
        stop()
        start()
    ordinary("public", "stop, start", work)


@case("boot: apply first, then firewalld")
def _():
    without = begun()
    stop()
    sh("nft flush ruleset")
    host.add()
    expect_eq(host.dial(), "reached", "no firewall yet")
    host.event("boot: `apply`, then firewalld", start, without=without)


@case("panic mode: nothing passes, and nothing else is said than what ends it")
def _():
    without = begun()
    host.add()
    expect_eq(host.dial(), "reached", "mapped")
    fwcmd("--panic-on")
    expect_eq(host.dial(), "dropped", "panic")
    lab.good("apply")
    expect_eq(host.dial(), "dropped", "panic is panic, also after apply")
    found = " ".join(host.warnings("check"))
    expect_match("firewall-cmd --panic-off", found, "check says what ends it")
    host.rows.append((host.firewall, "`--panic-on`", without, "dropped",
                      "dropped; `check` names `firewall-cmd --panic-off`"))
    host.event("`--panic-off`", lambda: fwcmd("--panic-off"), without=without, silent=True)


def strict(owner):
    options = {"StrictForwardPorts": "yes"}
    if owner:
        options["NftablesTableOwner"] = "yes"
    # not the zone that a command without one means
    without = begun("trusted", **options)
    expect(without in ("rejected", "dropped"), f"control: strict mode forbids a plain DNAT: {without}")
    host.add()
    if not owner:
        expect_eq(host.dial(), "reached", "an opener helps where the table is nobody's own")
        host.event("StrictForwardPorts=yes: `--reload`", reload, without=without)
        return
    expect(host.dial() != "reached", "no opener can be written")
    found = host.event("StrictForwardPorts=yes, owned table: `--reload`", reload, without=without,
                       then=("rejected", "dropped"), warned="firewall-cmd ")
    command = re.search(r"firewall-cmd --\S+(?: --\S+)*", " ".join(found)).group(0)
    host.sh(command)
    answer = host.dial()
    host.rows.append((host.firewall, "StrictForwardPorts=yes, owned table: the command that `check` "
                      "prints", without, answer, answer))
    expect_eq(answer, "reached", f"the command that is printed mends it: {command}")
    expect_eq(host.warnings("check"), [], "and check sees that")
    expect(host.dial(UNMAPPED, 0.7) != "reached", "nothing else is open")


@case("strict forward ports")
def _():
    strict(False)


@case("strict forward ports and an owned table")
def _():
    strict(True)


@case("an owned table, as newer ones have by default")
def _():
    ordinary("public", "owned table: `--reload`", reload, NftablesTableOwner="yes")


@case("the iptables backend")
def _():
    without = begun(FirewallBackend="iptables")
    host.add()
    expect_eq(host.dial(), "reached", "mapped")
    host.event("iptables backend: `--reload`", reload, without=without)
    host.event("iptables backend: `--complete-reload`", lambda: fwcmd("--complete-reload"),
               without=without)


@case("removed, also across a reload: nothing is left")
def _():
    begun()
    host.undone(reload)


@case("the same with the iptables backend")
def _():
    begun(FirewallBackend="iptables")
    host.undone(reload)


run(fresh)
