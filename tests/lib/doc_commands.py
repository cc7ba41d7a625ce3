#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of a document's console blocks, and what they print. See doc.sh.

doc_commands.py FILE            who runs it, each command, its output, all ended by NUL bytes
doc_commands.py --same OUT DOC  is OUT what the document says?
"""
import re
import sys


def blocks(text):
    """Console blocks, and what only the test does: <!-- test: COMMAND -->"""
    return [one or f"! {hidden}" for one, hidden in
            re.findall(r"^ *```console\n(.*?)^ *```|^<!-- test: (.*?) -->$", text, re.M | re.S)]


def commands(block):
    found = []
    lines = iter(block.splitlines())
    for line in lines:
        if line[:2] in ("# ", "$ ", "! "):
            command = line[2:]
            while command.endswith("\\"):
                command = command[:-1] + next(lines).strip()
            found.append([line[0], command, []])
        elif found:
            found[-1][2].append(line)
    return [(who, command, "\n".join(output)) for who, command, output in found]


def same(out, documented):
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "..." else
        ".*".join(map(re.escape, line.split("..."))) + r"\n" for line in documented.splitlines())
    # columns are as wide as their contents
    pattern = re.sub(r"(\\ )+", r" +", pattern)
    return re.fullmatch(pattern, out + "\n") is not None


if sys.argv[1] == "--same":
    sys.exit(not same(sys.argv[2], sys.argv[3]))
with open(sys.argv[1]) as file:
    for one in blocks(file.read()):
        for part in commands(one):
            for text in part:
                sys.stdout.write(text + "\0")
