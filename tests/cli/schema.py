#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON schema of rule files says what the program says.

Each document below is judged by rules/nat-bridge.schema.json (by a small
validator that knows the keywords used there) and by `nat-bridge apply
--dry-run`, in an empty network namespace.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.environ.get("NB_SOURCE", os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAM = os.environ.get("NAT_BRIDGE")
# A namespace of its own: the program must see nothing of this host's rules.
ALONE = ["unshare", "-n" if os.geteuid() == 0 else "-rn"]
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}
SILENT = {"$schema", "$defs", "title", "description", "default", "examples", "format"}


def type_fits(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def object_fits(value, schema, root):
    properties = schema.get("properties", {})
    return all(key in value for key in schema.get("required", [])) and all(
        fits(item, properties[key], root) if key in properties
        else schema.get("additionalProperties", True)
        for key, item in value.items())


def same(a, b):
    return type(a) is type(b) and a == b


def fits(value, schema, root):
    """Does the value obey the schema? An unknown keyword is an error of this test."""
    checks = {
        "$ref": lambda ref: fits(value, root["$defs"][ref.removeprefix("#/$defs/")], root),
        "type": lambda name: type_fits(value, name),
        "const": lambda const: same(value, const),
        "enum": lambda items: any(same(value, item) for item in items),
        "required": lambda _: not isinstance(value, dict) or object_fits(value, schema, root),
        "properties": lambda _: not isinstance(value, dict) or object_fits(value, schema, root),
        "additionalProperties": lambda _: True,  # with properties
        "items": lambda item: not isinstance(value, list)
        or all(fits(element, item, root) for element in value),
        "minimum": lambda least: not isinstance(value, int) or value >= least,
        "maximum": lambda most: not isinstance(value, int) or value <= most,
        "maxLength": lambda most: not isinstance(value, str) or len(value) <= most,
        "pattern": lambda text: not isinstance(value, str) or re.search(text, value) is not None,
        "anyOf": lambda all_of: any(fits(value, one, root) for one in all_of),
        "oneOf": lambda all_of: sum(fits(value, one, root) for one in all_of) == 1,
        "not": lambda one: not fits(value, one, root),
    }
    return all(checks[key](schema[key]) for key in schema if key not in SILENT)


def mapping(**members):
    return {"mappings": [{"network": "iface:br0", "port": 80, **members}]}


def without(key):
    document = mapping()
    del document["mappings"][0][key]
    return document


VALID = [
    {"mappings": []},
    {"version": 1, "mappings": [], "$schema": "x"},
    *(mapping(network=name) for name in (
        "iface:a", "iface:fifteen-bytes-x", "iface:...", "iface:a~!#$%&()+,;<=>", "iface:@[]^_{|}?",
        "docker:9_.-", "podman:" + "n" * 95)),
    *(mapping(port=port) for port in (1, 65535)),
    *(mapping(protocol=protocol) for protocol in ("tcp", "udp")),
    *(mapping(target=target) for target in (
        "1", "9", "10", "9999", "10000", "59999", "60000", "64999", "65000", "65499", "65500",
        "65529", "65530", "65535", "127.0.0.1:1", "127.255.255.254:65535", "127.9.10.99:80",
        "127.100.199.200:80", "127.249.250.255:80", "127.0.0.255:80")),
    *(mapping(until=until) for until in (
        "2026-11-23T05:49:21Z", "2026-11-23t05:49:21.5z", "2026-11-23T05:49:21-06:00")),
    mapping(enabled=False, external=True, comment="R\u00e4G \U0001f600"),
    mapping(comment="x" * 255),
    mapping(comment=""),
]

INVALID = [
    [], "x", 1, None, {},
    {"version": 1},
    {"mappings": {}},
    {"mappings": [1]},
    *({"version": version, "mappings": []} for version in (0, 2, "1", None, True)),
    {"mappings": [], "$schema": 1},
    {"mappings": [], "extra": 1},
    without("network"),
    without("port"),
    mapping(extra=1),
    *(mapping(network=name) for name in (
        "br0", "", "iface:", "iface:.", "iface:..", "iface:sixteen-bytes-xx", "iface:a/b",
        "iface:a:b", "iface:a b", 'iface:a"b', "iface:a'b", "iface:a`b", "iface:a*", "iface:a\\b",
        "iface:a\tb", "iface:a\u007f", "iface:b\u00fc", "lxc:a", "docker:", "docker:-a",
        "docker:a b", "podman:" + "n" * 96, 1, None)),
    *(mapping(port=port) for port in (0, 65536, -1, "80", None, True)),
    *(mapping(protocol=protocol) for protocol in ("TCP", "sctp", "", 6)),
    *(mapping(target=target) for target in (
        "", "0", "65536", "080", "70000", "100000", "127.0.0.1", "127.0.0.1:", ":80",
        "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:080", "10.0.0.1:80", "0.0.0.0:80",
        "127.0.0.0:80", "127.255.255.255:80", "127.0.0.256:80", "127.0.0.01:80", "127.0.1:80",
        "localhost:80", "[::1]:80", "127.0.0.1:80/tcp", 80, None)),
    *(mapping(enabled=flag) for flag in (1, "no", None)),
    *(mapping(external=flag) for flag in (0, "yes", None)),
    *(mapping(until=until) for until in (
        "", "tomorrow", "2026-11-23", "2026-11-23T05:49Z", "2026-11-23T05:49:21",
        "2026-11-23 05:49:21Z", "2026-11-23T05:49:21,5Z", 1795412961, None)),
    *(mapping(comment=comment) for comment in ("x" * 256, "a\nb", "a\u007f", "a\u0085", 1, None)),
]


def program_accepts(document):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "a.json")
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(document, stream)
        os.chmod(path, 0o644)
        command = [PROGRAM, "apply", "--dry-run", "--config", "/nonexistent", "--rules", directory]
        result = subprocess.run([*ALONE, *command], capture_output=True, text=True,
                                check=False)
        if result.returncode == 2 and "a.json" not in result.stderr:
            sys.exit(f"unexpected: {result.stderr}")
        return result.returncode != 2


def main():
    with open(os.path.join(SOURCE, "rules", "nat-bridge.schema.json"), encoding="utf-8") as stream:
        schema = json.load(stream)
    with open(os.path.join(SOURCE, "rules", "README.md"), encoding="utf-8") as stream:
        example = json.loads(re.search(r"```json\n(.*?)```", stream.read(), re.DOTALL)[1])
    ask = bool(PROGRAM) and not subprocess.run([*ALONE, "true"], check=False).returncode
    rows = [(document, True) for document in [example, *VALID]]
    rows += [(document, False) for document in INVALID]
    failures = 0
    print("TAP version 13")
    print(f"1..{len(rows)}")
    if not ask:
        print("# no network namespace of our own: the program is not asked")
    for number, (document, valid) in enumerate(rows, 1):
        wrong = []
        if fits(document, schema, schema) != valid:
            wrong.append("schema")
        if ask and program_accepts(document) != valid:
            wrong.append("program")
        failures += bool(wrong)
        # A '#' would begin a TAP directive.
        text = json.dumps(document).replace("#", "\\u0023")
        print(f"{'not ok' if wrong else 'ok'} {number} - {'takes' if valid else 'refuses'} {text}")
        if wrong:
            print(f"# wrong: {', '.join(wrong)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
