#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of docs/troubleshooting.md from what tests/zoo saw: zoo.py FOLDER DOCUMENT.

FOLDER holds a list of hosts in JSON for each test. What is there replaces what stands between two
comments in DOCUMENT; a host that was not looked at is not in the table.
"""
import json
import os
import re
import sys

BEGIN, END = "<!-- made by contrib/test --nightly -->\n", "<!-- end -->\n"
SYMPTOMS = (
    ("timeout", "It times out"),
    ("refused", "Connection refused"),
    ("no route", "No route to host"),
    ("closed", "Connected, then closed or silent"),
    ("exposed", "It works, and more than that is open"),
    ("silent", "It is connected, and nobody answers"),
    ("reached", "It works, with something to know"),
)
HEAD = ("| what is wrong with the host | stands for | `doctor` says | and mends it with |\n"
        "|---|---|---|---|\n")


def read(folder):
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            yield from json.load(file)


def cell(text):
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def code(text):
    """As code, also where a backtick is in it."""
    text = cell(text)
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def line(host):
    if not host.get("mended"):
        return f"| {cell(host['name'])} | {cell(host['stands_for'])} | **not found** | – |\n"
    cure = cell(host["mend"]) if host.get("by_hand") else code(host["mend"])
    if host.get("typed", 1) > 1:
        cure += f", and {host['typed'] - 1} more like it"
    return (f"| {cell(host['name'])} | {cell(host['stands_for'])} | **{host['code']}**: "
            f"{cell(host['what'])} | {cure} |\n")


def tables(hosts):
    sick = [host for host in hosts if not host["healthy"]]
    well = [host for host in hosts if host["healthy"]]
    found = sum(bool(host.get("mended")) for host in sick)
    silent = sum(not host.get("findings") for host in well)
    text = (f"Of {len(sick)} hosts that are broken, `doctor` named the cause first, and its mend made "
            f"the service reached again, in {found}. Of {len(well)} on which nothing is wrong it "
            f"found nothing in {silent}.\n\n")
    for symptom, title in SYMPTOMS:
        lines = [line(host) for host in sick if host["symptom"] == symptom]
        if lines:
            text += f"### {title}\n\n{HEAD}{''.join(lines)}\n"
    names = "".join(f"- {cell(host['name'])}\n" for host in well)
    return f"{text}### Nothing is wrong\n\n{names}"


def main():
    folder, document = sys.argv[1:]
    with open(document, encoding="utf-8") as file:
        text = file.read()
    if BEGIN not in text or END not in text:
        sys.exit(f"{document} has no place for the tables")
    made = tables(list(read(folder)))
    changed = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: BEGIN + made + END, text,
                     flags=re.S)
    with open(document, "w", encoding="utf-8") as file:
        file.write(changed)


if __name__ == "__main__":
    main()
