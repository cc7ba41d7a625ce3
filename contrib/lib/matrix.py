#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of docs/firewalls.md from what tests/firewalls found: matrix.py FOLDER DOCUMENT.

FOLDER holds a list of rows in JSON for each test and release; what versions of a program have in
common becomes one line. The table stands in DOCUMENT between two comments.
"""
import json
import os
import re
import sys

BEGIN, END = "<!-- made by contrib/test --nightly -->\n", "<!-- end -->\n"
HEAD = ("| firewall | event | a plain DNAT | after the event | after one `apply` |\n"
        "|---|---|---|---|---|\n")
# What needs something that the machines of these tests do not have.
NOT_RUN = [
    ("iptables-nft 1.8.4", "all", "in no release that Debian's mirrors still have; its encoding is "
     "held by a test of bytes (tests/unit/test_ruleset_openers.c)"),
    ("iptables-nft 1.8.5, 1.8.6, 1.8.8, 1.8.10", "all", "in none of these releases of Debian"),
    ("firewalld 0.9", "all", "that of Debian 11 wants a kernel with modules"),
    ("flowtables", "all", "the kernel of these machines has none"),
    ("Docker's nftables backend", "all", "Debian's docker.io has none; its iptables backend runs in "
     "tests/engines/docker.sh"),
    ("Docker's, Podman's iptables backend", "all", "by this run; tests/engines/docker.sh and "
     "tests/engines/podman.sh run them, without these events"),
    ("netavark's nftables backend", "all", "its version in Debian 12 and here has none"),
    ("kube-proxy, kubelet, Tailscale", "all", "the programs themselves; rules like theirs are in "
     "tests/packets/obstacles.py and marks.py"),
    ("Cilium", "all", "the program itself; marks and rules of policy routing like its own are in "
     "tests/packets/marks.py"),
]


def number(version):
    return [int(part) for part in version.split(".")]


def lines(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            for firewall, event, *results in json.load(file):
                program, version = firewall.rsplit(" ", 1)
                versions = found.setdefault((program, event, *results), [])
                if version not in versions:
                    versions.append(version)
    for (program, event, *results), versions in sorted(found.items(), key=lambda item: item[0][0]):
        versions = ", ".join(sorted(versions, key=number))
        yield f"| {program} {versions} | {event} | {' | '.join(r or '–' for r in results)} |\n"
    for program, event, reason in NOT_RUN:
        yield f"| {program} | {event} | not run | not run | not run: {reason} |\n"


def main():
    folder, document = sys.argv[1:]
    table = "".join(lines(folder))
    with open(document, encoding="utf-8") as file:
        text = file.read()
    changed = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END),
                     lambda _: BEGIN + HEAD + table + END, text, flags=re.S)
    if BEGIN not in text or END not in text:
        sys.exit(f"{document} has no place for the table")
    with open(document, "w", encoding="utf-8") as file:
        file.write(changed)


if __name__ == "__main__":
    main()
