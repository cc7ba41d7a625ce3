#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Check the presets and write them as a C table: embed-presets.py OUT.c IN.json..."""

import json
import os
import re
import sys

MOST_PORTS = 4  # NB_PRESET_PORTS
MOST_ALIASES = 3  # NB_PRESET_ALIASES


def refuse_repeated(pairs):
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def parse_port(text):
    match = re.fullmatch(r"([1-9][0-9]{0,4})/(tcp|udp)", text)
    if not match or int(match[1]) > 65535:
        raise ValueError(f'"{text}" is no port such as "5432/tcp"')
    return int(match[1]), match[2]


def read_preset(path):
    with open(path, encoding="utf-8") as stream:
        preset = json.load(stream, object_pairs_hook=refuse_repeated)
    keys = set(preset) - {"aliases"} if isinstance(preset, dict) else set()
    if keys != {"name", "title", "ports", "note"}:
        raise ValueError("a preset has the keys name, title, ports and note, and maybe aliases")
    for key in ("name", "title", "note"):
        if not isinstance(preset[key], str) or not preset[key].strip():
            raise ValueError(f"{key} must be a string that says something")
        if not preset[key].isprintable():
            raise ValueError(f"{key} must be one line")
    aliases = preset.setdefault("aliases", [])
    if not isinstance(aliases, list) or len(aliases) > MOST_ALIASES:
        raise ValueError(f"aliases must be a list of at most {MOST_ALIASES}")
    # A name that begins with a letter can never be taken for a port.
    for name in [preset["name"], *aliases]:
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", name):
            raise ValueError("a name must be small letters, digits and '-'")
    if os.path.basename(path) != preset["name"] + ".json":
        raise ValueError(f'the file must be called {preset["name"]}.json')
    if not isinstance(preset["ports"], list) or not 1 <= len(preset["ports"]) <= MOST_PORTS:
        raise ValueError(f"ports must be a list of 1 to {MOST_PORTS}")
    preset["ports"] = [parse_port(port) for port in preset["ports"]]
    if len(set(preset["ports"])) != len(preset["ports"]):
        raise ValueError("a port occurs twice")
    return preset


def quote(text):
    """A C string: octal escapes have a fixed length, so no digit behind is taken in."""
    out = []
    for byte in text.encode():
        if byte in b'"\\?' or byte < 0x20 or byte > 0x7E:
            out.append(f"\\{byte:03o}")
        else:
            out.append(chr(byte))
    return '"' + "".join(out) + '"'


def write_table(stream, presets):
    stream.write("/* Made by embed-presets.py from rules/presets. */\n")
    stream.write('#include <netinet/in.h>\n\n#include "nat-bridge/rules.h"\n\n')
    stream.write("const struct nb_preset nb_presets[] = {\n")
    for preset in presets:
        ports = ", ".join(f"{{ {port}, IPPROTO_{protocol.upper()} }}"
                          for port, protocol in preset["ports"])
        stream.write("\t{\n")
        if preset["aliases"]:
            names = ", ".join(quote(name) for name in preset["aliases"])
            stream.write(f"\t\t.aliases = {{ {names} }},\n")
        for key in ("name", "title", "note"):
            stream.write(f"\t\t.{key} = {quote(preset[key])},\n")
        stream.write(f"\t\t.ports = {{ {ports} }},\n")
        stream.write(f'\t\t.port_count = {len(preset["ports"])},\n\t}},\n')
    stream.write("};\n\n")
    stream.write("const size_t nb_preset_count = sizeof(nb_presets) / sizeof(nb_presets[0]);\n")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    presets = []
    for path in sys.argv[2:]:
        try:
            presets.append(read_preset(path))
        except (OSError, ValueError) as error:
            sys.exit(f"{path}: {error}")
    presets.sort(key=lambda preset: preset["name"])
    names = [name for preset in presets for name in (preset["name"], *preset["aliases"])]
    if len(set(names)) != len(names):
        sys.exit("two presets have one name")
    with open(sys.argv[1], "w", encoding="ascii") as stream:
        write_table(stream, presets)


if __name__ == "__main__":
    main()
