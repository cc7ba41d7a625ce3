#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts on which iptables-legacy drops: detected without loading anything, the command printed,
and what it does seen. We never run it ourselves."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "iptables-legacy"))
PORT = 11434  # that is dialled; the service is at lab.mapped
REACHED = f"tcp 127.0.0.1:{lab.mapped}"
NAMES = "/proc/net/ip_tables_names"
OPENER = ("-I INPUT 1 -d 127.0.0.0/8 -m mark --mark 0x10000000/0x10000000 "
          "-m comment --comment nat-bridge -j ACCEPT")
in_use = set()


def legacy(*lines):
    for line in lines:
        words = line.split()
        in_use.add(words[1] if words[0] == "-t" else "filter")
        sh("iptables-legacy -w " + line)


def fresh():
    for table in in_use:
        for chain in sh(f"iptables-legacy -w -t {table} -S").splitlines():
            if chain.startswith("-P"):
                sh(f"iptables-legacy -w -t {table} -P {chain.split()[1]} ACCEPT")
        sh(f"iptables-legacy -w -t {table} -F; iptables-legacy -w -t {table} -X")
    lab.reset()
    lab.write_rules({})
    sh("conntrack -F 2>/dev/null", check=False)


def warnings_of(*words):
    return [w for w in lab.json(*words)["warnings"] if "listens" not in w]


def cure_of(warning):
    return warning.split(": ", 1)[1]


def tables():
    try:
        with open(NAMES) as file:
            return file.read().split()
    except FileNotFoundError:
        return []


@case("a host that does not use it: nothing is loaded, nothing is said")
def _():
    expect_eq(tables(), [], "before")
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "add")
    expect_eq(warnings_of("check"), [], "check")
    expect_eq(tables(), [], "nobody asked for a table, which would make it")
    legacy("-A INPUT -j ACCEPT", "-F INPUT")
    if not tables():
        skip("this kernel has no iptables-legacy", kernel=True)


DROPPING = [
    ("a policy", ["-P INPUT DROP"], "the policy of iptables-legacy's chain INPUT in table filter",
     "filter"),
    ("a rule of reject", ["-A INPUT -i lo -j ACCEPT", "-A INPUT -d 127.0.0.0/8 -j REJECT"],
     r"rule 2 of iptables-legacy's chain INPUT in table filter \(.*REJECT\)", "filter"),
    ("a chain that is jumped to",
     ["-N lan", "-N bridges", "-A bridges -i br-+ -p tcp --dport 22 -j ACCEPT",
      "-A bridges ! -i br-two -j DROP", "-A lan -s 10.0.0.0/8 -j DROP",
      "-A INPUT -i br-+ -g bridges", "-A INPUT -j lan"],
     "rule 2 of iptables-legacy's chain bridges in table filter", "filter"),
    ("mangle", ["-t mangle -A INPUT -i br-app ! -p udp -j DROP"],
     "rule 1 of iptables-legacy's chain INPUT in table mangle", "mangle"),
    ("security", ["-t security -A INPUT -m conntrack --ctstate NEW -j DROP"],
     "chain INPUT in table security", "security"),
    ("a limit, which only may drop",
     ["-A INPUT -i br-app -m limit --limit 1/hour --limit-burst 1 -j ACCEPT",
      "-A INPUT -i br-app -j DROP"], "may be dropped by rule 2", "filter"),
]


def dropping(setup, place, table):
    legacy(*setup)
    found = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}", "8081:8088", "8082:8088")
    if table == "filter" and "limit" in setup[0]:
        lab.tcp(PORT, timeout=1.5)
        sh("conntrack -F 2>/dev/null", check=False)
    expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: it drops")
    expect_eq(len(found), 1, f"one command for three mappings, so one warning: {found}")
    expect_match(place, found and found[0], "add")
    expect_eq(cure_of(found[0]), f"iptables-legacy -w -t {table} {OPENER}", "the command")
    expect_eq(warnings_of("check"), found, "check says it until it is done")
    expect_eq(lab.nb("check").rc, 0, "nothing that apply could mend")
    sh(cure_of(found[0]))
    sh("conntrack -F 2>/dev/null", check=False)
    expect_eq(lab.tcp(PORT), REACHED, "mended")
    expect_eq(lab.tcp(lab.unmapped, timeout=1.0) == f"tcp 127.0.0.1:{lab.unmapped}", False,
              "and nothing else is open")
    expect_eq(warnings_of("check"), [], "check sees it")
    shown = [line for line in sh(f"iptables-legacy-save -t {table}").splitlines()
             if "nat-bridge" in line]
    expect_eq(len(shown), 1, f"saved: {shown}")
    sh(f"iptables-legacy -w -t {table} -D INPUT 1")
    expect_eq(warnings_of("check"), found, "taken out: said again")


table_cases(DROPPING, dropping)


@case("beside nft: our opener there, the command for here")
def _():
    sh("nft add table inet fw; nft add chain inet fw input "
       "'{ type filter hook input priority 0; policy drop; }'")
    legacy("-P INPUT DROP")
    found = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}")
    expect_eq(len(found), 1, f"{found}")
    expect_match("nat-bridge", sh("nft list chain inet fw input"), "the opener")
    sh(cure_of(found[0]))
    expect_eq(lab.tcp(PORT), REACHED, "both let it in")
    sh("nft delete table inet fw")


@case("tables of the same name in both: jumps stay in their own")
def _():
    if not shutil.which("iptables-nft"):
        skip("no iptables-nft")
    sh("iptables-nft -N shared; iptables-nft -A shared -j DROP; iptables-nft -A INPUT -j ACCEPT; "
       "iptables-nft -A FORWARD -j shared")
    legacy("-N shared", "-A shared -p tcp -j ACCEPT", "-A INPUT -j shared", "-P INPUT DROP")
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "nothing is dropped")
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    found = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}/udp")
    expect_match("the policy of iptables-legacy's", " ".join(found), "UDP")
    sh("iptables-nft -F; iptables-nft -X; nft delete table ip filter")


ELSEWHERE = [
    ("NOTRACK", ["-t raw -A PREROUTING -i br-app -j NOTRACK"], r"not tracked.*table raw"),
    ("a drop before the translation",
     ["-t mangle -A PREROUTING -i br-app -p tcp --dport 11434 -j DROP"], "table mangle"),
    ("answers of 127/8", ["-A OUTPUT ! -o lo -s 127.0.0.0/8 -j DROP"],
     "answers from .* rule 1 of iptables-legacy's chain OUTPUT"),
    ("answers, by policy", ["-A OUTPUT -o lo -j ACCEPT", "-P OUTPUT DROP"], "chain OUTPUT"),
    ("answers behind that", ["-t mangle -A POSTROUTING -s 127.0.0.0/8 -o br-+ -j DROP"],
     "chain POSTROUTING in table mangle"),
]


def elsewhere(setup, place):
    legacy(*setup)
    found = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}")
    expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: it drops")
    expect_eq(len(found), 1, f"{found}")
    expect_match(place, found and found[0], "add")
    cure = cure_of(found[0])
    expect_match("^iptables-legacy -w -t ", cure, "the command")
    sh(cure)
    sh("conntrack -F 2>/dev/null", check=False)
    expect_eq(lab.tcp(PORT), REACHED, "mended")
    expect_eq(warnings_of("check"), [], "check sees it")


table_cases([(f"where no opener helps: {row[0]}",) + row[1:] for row in ELSEWHERE], elsewhere)


HEALTHY = [
    ("established and DNAT first", ["-A INPUT -m conntrack --ctstate ESTABLISHED,DNAT -j ACCEPT",
                                    "-P INPUT DROP"]),
    ("the bridges are let in", ["-A INPUT -i br-+ -j ACCEPT", "-P INPUT DROP"]),
    ("others' addresses", ["-A INPUT -s 198.51.100.0/24 -j DROP", "-A INPUT ! -s 0.0.0.0/0 -j DROP",
                           "-A INPUT -i br-two -j DROP", "-A INPUT -p icmp -j DROP"]),
    ("forwarding", ["-P FORWARD DROP"]),
]


def healthy(setup):
    legacy(*setup)
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "add")
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    expect_eq(warnings_of("check"), [], "check")


table_cases([(f"nothing to say: {row[0]}",) + row[1:] for row in HEALTHY], healthy)


@case("its tables are never written, also by remove and flush")
def _():
    legacy("-P INPUT DROP", f"{OPENER}")
    before = sh("iptables-legacy-save | grep -v '^[#:]'")
    lab.good("add", "br-app", f"{PORT}:{lab.mapped}")
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    lab.good("apply")
    lab.good("remove", "br-app", PORT)
    lab.good("flush")
    expect_eq(sh("iptables-legacy-save | grep -v '^[#:]'"), before, "its rules")
    expect(lab.tcp(PORT, timeout=1.0) != REACHED, "the rule that is left opens nothing")


@case("marks: who uses our bit is named, who does not is not")
def _():
    for lines, pattern in (
            (["-t mangle -A FORWARD -j MARK --set-xmark 0x10000000/0x10000000"],
             r"used by rule 1 of iptables-legacy's chain FORWARD in table mangle \(-j MARK\), which sets"),
            (["-A FORWARD -m mark --mark 0x10000000/0xf0000000 -j ACCEPT"],
             r"rule 1 of iptables-legacy's chain FORWARD in table filter \(-m mark .*which asks for it"),
            (["-t mangle -N save", "-t mangle -A INPUT -j save",
              "-t mangle -A save -j CONNMARK --save-mark"],
             r"rule 1 of iptables-legacy's chain save in table mangle .*which stores it"),
            (["-t mangle -A INPUT -m mark --mark 0 -j MARK --set-mark 5"],
             "iptables-legacy's chain INPUT in table mangle .* asks for the whole packet mark"),
            (["-t mangle -A PREROUTING -j CONNMARK --restore-mark",
              "-t mangle -A PREROUTING -m mark --mark 0 -j MARK --set-mark 5",
              "-t mangle -A PREROUTING -j CONNMARK --save-mark",
              "-t mangle -A FORWARD -m mark --mark 0x40000/0xff0000 -j ACCEPT",
              "-t mangle -A POSTROUTING -j CONNMARK --save-mark"], None)):
        fresh()
        legacy(*lines)
        found = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}")
        expect_eq(len(found), 1 if pattern else 0, f"{lines}: {found}")
        if pattern:
            expect_match(pattern, found and found[0], f"{lines}")
        expect_eq(lab.tcp(PORT), REACHED, "reached")
        expect_eq(warnings_of("check"), found, "check")


run(fresh)
