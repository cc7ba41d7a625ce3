#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong words and wrong files: one short message, the right status, nothing changed.

Every row stands beside its neighbour on the good side of the limit, so that a
program which refuses everything fails as well. While the rows run, one mapping
is live and one foreign table stands, so that there is something to change.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, containers=False)
WORK = lab.dir + "/work.d"

FOREIGN = """
table inet site {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		tcp dport 22 accept
	}
}
table ip natted {
	chain pre {
		type nat hook prerouting priority dstnat; policy accept;
	}
}
"""


def setup():
    """Once: a live mapping, a foreign firewall."""
    subprocess.run(["nft", "-f", "-"], input=FOREIGN, text=True, check=True)
    lab.good("add", "iface:br-app", "8088")


def said(result, rc, as_json, what):
    """The message: short, prefixed, on the right stream."""
    allowed = rc if isinstance(rc, tuple) else (rc,)
    expect(result.rc in allowed, f"{what}: expected exit {rc} of {result}")
    lines = result.err.splitlines()
    expect(len(lines) <= 4, f"{what}: {len(lines)} lines on standard error: {result.err}")
    if as_json:
        try:
            error = result.json.get("error")
        except ValueError as wrong:
            expect(False, f"{what}: no single JSON object ({wrong}): {result}")
            return {}
        if not expect(isinstance(error, dict), f"{what}: no error object in {result.out}"):
            return {}
        for key in ("code", "message"):
            expect(isinstance(error.get(key), str) and error[key],
                   f"{what}: error.{key} is no text: {result.out}")
        return error
    expect(lines and lines[0].startswith("nat-bridge: "), f"{what}: first line of {result}")
    expect(all(line.startswith(("nat-bridge: ", " ", "\t")) for line in lines),
           f"{what}: a line is not ours: {result.err}")
    expect(not re.search("[\x00-\x08\x0b-\x1f\x7f]", result.err),
           f"{what}: control characters on standard error: {result.err!r}")
    expect_eq(result.out, "", f"{what}: standard output")
    return {}


def refused(words, rc=2, text=None):
    """A wrong command line, plain and with --json."""
    before = lab.snapshot()
    result = lab.nb(*words, timeout=20)
    said(result, rc, False, "plain")
    if text:
        expect_match(text, result.err, "the message")
    result = lab.nb(*words, "--json", timeout=20) if "--" not in words else None
    if result:
        said(result, rc, True, "--json")
    lab.same(before, lab.snapshot())


def accepted(words):
    """The good side of a limit: exit 0 of a dry run."""
    before = lab.snapshot()
    result = lab.execute([lab.program, "--dry-run", "--rules", lab.rules, "--config", lab.config,
                          *words])
    expect(result.rc == 0, f"expected exit 0 of {result}")
    lab.same(before, lab.snapshot(), "dry run")


# ---------------------------------------------------------------- command line

LONG15, LONG16 = "b" * 15, "b" * 16

# name, words, exit status, what the message must hold
WRONG = [
    ("no command", (), 2, None),
    ("unknown command", ("frobnicate",), 2, "frobnicate"),
    ("command in capitals", ("ADD", "br-app", "80"), 2, None),
    ("near miss of a command", ("ad", "br-app", "80"), 2, None),
    ("empty command word", ("",), 2, None),
    ("unknown long option", ("list", "--frobnicate"), 2, "frobnicate"),
    ("unknown short option", ("list", "-Z"), 2, None),
    ("option with a value it does not take", ("list", "--quiet=yes"), 2, None),
    ("--json with a value", ("list", "--json=1"), 2, None),
    ("escape sequence as the command", ("\x1b[31m",), 2, None),
    ("escape sequence as an option", ("list", "--\x1b[31m"), 2, None),
    ("command with a newline", ("add\nnat-bridge: done",), 2, None),
    ("command of 100,000 bytes", ("c" * 100000,), 2, None),
    ("option of 100,000 bytes", ("list", "--" + "o" * 100000), 2, None),
    ("port of 100,000 bytes", ("add", "br-app", "8" * 100000), 2, None),
    ("network of 100,000 bytes", ("add", "n" * 100000, "80"), 2, None),
    ("a thousand words", ("check", *["x"] * 1000), 2, None),
    ("add alone", ("add",), 2, None),
    ("add without a port", ("add", "br-app"), 2, None),
    ("remove alone", ("remove",), 2, None),
    ("remove without a port", ("remove", "br-app"), 2, None),
    ("remove --all without a network", ("remove", "--all"), 2, None),
    ("remove --all with a port", ("remove", "br-app", "8088", "--all"), 2, None),
    ("remove --all-networks with a network", ("remove", "br-app", "--all-networks"), 2, None),
    ("check with an argument", ("check", "br-app"), 2, None),
    ("apply with an argument", ("apply", "br-app"), 2, None),
    ("flush with an argument", ("flush", "br-app"), 2, None),
    # ports
    ("port 0", ("add", "br-app", "0"), 2, "65535|port"),
    ("port 65536", ("add", "br-app", "65536"), 2, "(nat-bridge: |^)65536 is not in 1-65535$"),
    ("port beyond 32 bits", ("add", "br-app", "4294967376"), 2, None),
    ("port beyond 64 bits", ("add", "br-app", "18446744073709551696"), 2, None),
    ("empty port", ("add", "br-app", ""), 2, None),
    ("negative port", ("add", "br-app", "--", "-80"), 2, None),
    ("negative port without --", ("add", "br-app", "-80"), 2, None),
    ("port with a plus", ("add", "br-app", "+80"), 2, None),
    ("port with a leading zero", ("add", "br-app", "080"), 2, None),
    ("port in hexadecimal", ("add", "br-app", "0x50"), 2, None),
    ("port as a float", ("add", "br-app", "80.0"), 2, None),
    ("port with an exponent", ("add", "br-app", "1e3"), 2, None),
    ("port with a blank before", ("add", "br-app", " 80"), 2, None),
    ("port with a blank behind", ("add", "br-app", "80 "), 2, None),
    ("port with a newline", ("add", "br-app", "80\n"), 2, None),
    ("port with letters behind", ("add", "br-app", "80x"), 2, None),
    ("port range", ("add", "br-app", "80-90"), 2, r"words: 80 81 \.\.\."),
    ("port range beyond the end", ("add", "br-app", "65535-65536"), 2, "separate words$"),
    ("port list", ("add", "br-app", "80,81"), 2, None),
    ("port in fullwidth digits", ("add", "br-app", "８０"), 2, None),
    ("port with an escape sequence", ("add", "br-app", "\x1b[31m80"), 2, None),
    ("unknown service", ("add", "br-app", "olama"), 2, "ollama"),
    ("service in capitals", ("add", "br-app", "OLLAMA"), 2, "ollama"),
    ("network and port the wrong way round", ("add", "11434", "br-app"), 2,
     "NETWORK comes first: nat-bridge add br-app 11434"),
    ("remove the wrong way round", ("remove", "80", "br-app"), 2, "NETWORK comes first"),
    ("port with a protocol before the network", ("add", "15432:5432/tcp", "br-app"), 2,
     "nat-bridge add br-app 15432:5432/tcp"),
    ("service before the network", ("add", "ollama", "br-app"), 2, "nat-bridge add br-app ollama"),
    ("localhost alone", ("add", "br-app", "localhost"), 2, "give the port"),
    ("localhost in place of an address", ("add", "br-app", "localhost:5432"), 2, "127.0.0.1"),
    ("a URL", ("add", "br-app", "http://localhost:11434"), 2, "URL: 11434$"),
    ("a URL with a path", ("add", "br-app", "https://127.0.0.1:8443/v1?a=b:1"), 2, "URL: 8443$"),
    ("a URL without a port", ("add", "br-app", "http://localhost/v1"), 2, "URL: 80$"),
    ("a URL with an address of IPv6", ("add", "br-app", "http://[::1]:80/"), 2, "URL: 80$"),
    ("a URL by UDP", ("add", "br-app", "udp://127.0.0.1:53"), 2, "URL: 53/udp$"),
    ("protocol before the port", ("add", "br-app", "tcp/80"), 2, "80/tcp"),
    ("protocol before a colon", ("add", "br-app", "udp:53"), 2, "53/udp"),
    ("protocol as a word of its own", ("add", "br-app", "udp", "53"), 2, "53/udp"),
    ("service with a port", ("add", "br-app", "postgresql:15432"), 2, "write 15432:5432$"),
    ("port with a service", ("add", "br-app", "15432:postgresql"), 2, "write 15432:5432$"),
    ("service with a protocol", ("add", "br-app", "ollama/udp"), 2, "write 11434/udp$"),
    ("service with two ports of its own", ("add", "br-app", "15432:pg:5432"), 2, None),
    ("a name with a port", ("add", "br-app", "db:5432"), 2, "in numbers"),
    ("beginning of another name of a service", ("add", "br-app", "mariad"), 2, "mysql"),
    ("beginning of an alias of a command", ("del", "br-app", "80"), 2, "delete"),
    ("IPv6 that begins with a letter", ("add", "br-app", "fe80::1"), 2, "IPv6"),
    ("a port as an option", ("add", "br-app", "--port=80"), 2, "NETWORK 80"),
    ("-v", ("-v",), 2, "-V"),
    ("letters together, one unknown", ("list", "-qZ"), 2, "-Z"),
    ("letters together, one lacks its argument", ("list", "-qw"), 2, "--wait"),
    ("an option as the argument of another", ("list", "--rules", "--quiet"), 2, "--rules"),
    ("unknown protocol", ("add", "br-app", "80/sctp"), 2, None),
    ("empty protocol", ("add", "br-app", "80/"), 2, None),
    ("two protocols", ("add", "br-app", "80/tcp/udp"), 2, None),
    ("protocol alone", ("add", "br-app", "/tcp"), 2, None),
    ("listen port 0", ("add", "br-app", "0:80"), 2, None),
    ("listen port 65536", ("add", "br-app", "65536:80"), 2, None),
    ("target port 0", ("add", "br-app", "80:0"), 2, None),
    ("target port 65536", ("add", "br-app", "80:65536"), 2, None),
    ("nothing before the colon", ("add", "br-app", ":80"), 2, None),
    ("nothing behind the colon", ("add", "br-app", "80:"), 2, None),
    ("a colon alone", ("add", "br-app", ":"), 2, None),
    ("three ports", ("add", "br-app", "80:81:82"), 2, None),
    ("four parts", ("add", "br-app", "1:127.0.0.1:2:3"), 2, None),
    ("no target address", ("add", "br-app", "80::80"), 2, None),
    ("Docker's order", ("add", "br-app", "127.0.0.1:15432:5432"), 2, "15432:127\\.0\\.0\\.1:5432"),
    ("target in 10/8", ("add", "br-app", "80:10.0.0.1:80"), 2, "127"),
    ("target just below 127/8", ("add", "br-app", "80:126.255.255.255:80"), 2, "127"),
    ("target just above 127/8", ("add", "br-app", "80:128.0.0.0:80"), 2, "127"),
    ("target 0.0.0.0", ("add", "br-app", "80:0.0.0.0:80"), 2, "127"),
    ("target 127.255.255.255", ("add", "br-app", "80:127.255.255.255:80"), 2, None),
    ("target byte 256", ("add", "br-app", "80:127.0.0.256:80"), 2, None),
    ("target with three bytes", ("add", "br-app", "80:127.0.1:80"), 2, None),
    ("target with two bytes", ("add", "br-app", "80:127.1:80"), 2, None),
    ("target with five bytes", ("add", "br-app", "80:127.0.0.0.1:80"), 2, None),
    ("target with octal bytes", ("add", "br-app", "80:127.0.0.010:80"), 2, None),
    ("target as a name", ("add", "br-app", "80:localhost:80"), 2, None),
    ("target ::1 in brackets", ("add", "br-app", "80:[::1]:80"), 2, None),
    ("target ::1", ("add", "br-app", "80:::1:80"), 2, None),
    ("target ::ffff:127.0.0.1", ("add", "br-app", "80:[::ffff:127.0.0.1]:80"), 2, None),
    ("::1 alone", ("add", "br-app", "::1"), 2, None),
    ("address without a port", ("add", "br-app", "127.0.0.1"), 2, None),
    ("second port wrong", ("add", "br-app", "9000", "70000"), 2, "70000"),
    ("first port wrong", ("add", "br-app", "70000", "9000"), 2, "70000"),
    ("remove: port 0", ("remove", "br-app", "0"), 2, None),
    ("remove: port 65536", ("remove", "br-app", "65536"), 2, None),
    ("remove: unknown service", ("remove", "br-app", "olama"), 2, None),
    ("remove: target outside 127/8", ("remove", "br-app", "80:10.0.0.1:80"), 2, None),
    ("one key, two targets", ("add", "br-app", "80:81", "80:82"), (1, 2), None),
    # networks
    ("empty network", ("add", "", "80"), 2, None),
    ("escape sequence as a network", ("add", "\x1b[2J", "80"), 2, None),
    ("escape sequence as an interface", ("add", "iface:\x1b[2J", "80"), 2, None),
    ("remove: escape sequence as a network", ("remove", "\x1b[2J", "80"), 2, None),
    ("empty interface name", ("add", "iface:", "80"), 2, None),
    ("network .", ("add", "iface:.", "80"), 2, None),
    ("network ..", ("add", "iface:..", "80"), 2, None),
    ("interface of 16 bytes", ("add", "iface:" + LONG16, "80"), 2, "15"),
    ("interface of 300 bytes", ("add", "iface:" + "b" * 300, "80"), 2, None),
    ("interface of 8 two-byte letters", ("add", "iface:" + "é" * 8, "80"), 2, None),
    ("interface with a slash", ("add", "iface:a/b", "80"), 2, None),
    ("interface with a colon", ("add", "iface:a:b", "80"), 2, None),
    ("interface with a double quote", ("add", 'iface:a"b', "80"), 2, None),
    ("interface with a star", ("add", "iface:br-*", "80"), 2, None),
    ("interface with a backslash", ("add", "iface:a\\b", "80"), 2, None),
    ("interface with a blank", ("add", "iface:a b", "80"), 2, None),
    ("interface with a tab", ("add", "iface:a\tb", "80"), 2, None),
    ("interface with a newline", ("add", "iface:a\nb", "80"), 2, None),
    ("interface with a control character", ("add", "iface:a\x01b", "80"), 2, None),
    ("interface with DEL", ("add", "iface:a\x7fb", "80"), 2, None),
    ("interface with an umlaut", ("add", "iface:bä", "80"), 2, None),
    ("interface with broken UTF-8", ("add", b"iface:b\xff", "80"), 2, None),
    ("unknown engine", ("add", "lxc:web", "80"), 2, None),
    ("engine in capitals", ("add", "IFACE:br-app", "80"), 2, None),
    ("bare network that is nowhere", ("add", "br-apq", "80"), 1, "br-app"),
    ("remove: interface of 16 bytes", ("remove", "iface:" + LONG16, "80"), 2, None),
    ("remove: interface with a slash", ("remove", "iface:a/b", "80"), 2, None),
    # durations
    ("--for without a value", ("add", "br-app", "80", "--for"), 2, None),
    ("--for empty", ("add", "br-app", "80", "--for", ""), 2, None),
    ("--for 0", ("add", "br-app", "80", "--for", "0"), 2, None),
    ("--for 0s", ("add", "br-app", "80", "--for", "0s"), 2, None),
    ("--for without a unit", ("add", "br-app", "80", "--for", "5"), 2, None),
    ("--for a unit alone", ("add", "br-app", "80", "--for", "h"), 2, None),
    ("--for negative", ("add", "br-app", "80", "--for=-5m"), 2, None),
    ("--for with a plus", ("add", "br-app", "80", "--for", "+5m"), 2, None),
    ("--for a fraction", ("add", "br-app", "80", "--for", "1.5h"), 2, None),
    ("--for weeks", ("add", "br-app", "80", "--for", "1w"), 2, None),
    ("--for two units", ("add", "br-app", "80", "--for", "1h30m"), 2, None),
    ("--for a blank", ("add", "br-app", "80", "--for", "5 m"), 2, None),
    ("--for in capitals", ("add", "br-app", "80", "--for", "5M"), 2, None),
    ("--for a leading zero", ("add", "br-app", "80", "--for", "05m"), 2, None),
    ("--for beyond 64 bits", ("add", "br-app", "80", "--for", "99999999999999999999d"), 2, None),
    ("--for whose seconds overflow", ("add", "br-app", "80", "--for", "213503982334602d"), 2, None),
    ("--wait without a value", ("apply", "--wait"), 2, None),
    ("--wait empty", ("apply", "--wait", ""), 2, None),
    ("--wait a word", ("apply", "--wait", "long"), 2, None),
    ("--wait negative", ("apply", "--wait=-1"), 2, None),
    # options in the wrong place
    ("--for with remove", ("remove", "br-app", "8088", "--for", "1h"), 2, None),
    ("--for with list", ("list", "--for", "1h"), 2, None),
    ("--replace with remove", ("remove", "br-app", "8088", "--replace"), 2, None),
    ("--allow-external with remove", ("remove", "br-app", "8088", "--allow-external"), 2, None),
    ("--keep-going with add", ("add", "br-app", "80", "--keep-going"), 2, None),
    ("--all with add", ("add", "br-app", "--all"), 2, None),
    ("--all-networks with add", ("add", "--all-networks", "80"), 2, None),
    ("--runtime with apply", ("apply", "--runtime"), 2, None),
    ("--runtime with flush", ("flush", "--runtime"), 2, None),
    ("--rules without a value", ("list", "--rules"), 2, None),
    ("--config without a value", ("list", "--config"), 2, None),
]


def wrong_words(words, rc, text):
    # --rules and --config come last in nb(), which would become the missing value
    if words and words[-1] in ("--for", "--wait", "--rules", "--config"):
        before = lab.snapshot()
        result = lab.nb(*words, bare=True)
        said(result, 2, False, "plain")
        result = lab.nb("--json", *words, bare=True)
        said(result, 2, True, "--json")
        lab.same(before, lab.snapshot())
    else:
        refused(words, rc, text)


table_cases([("words: " + name, words, rc, text) for name, words, rc, text in WRONG],
            wrong_words)

RIGHT = [
    ("port 1", ("add", "br-app", "1")),
    ("port 65535", ("add", "br-app", "65535")),
    ("listen 1, target 65535", ("add", "br-app", "1:65535")),
    ("listen 65535, target 1", ("add", "br-app", "65535:1")),
    ("both protocols", ("add", "br-app", "80/tcp", "80/udp")),
    ("target just above the bottom", ("add", "br-app", "80:127.0.0.1:80")),
    ("target just below the broadcast address", ("add", "br-app", "80:127.255.255.254:80")),
    ("target with a protocol", ("add", "br-app", "53:127.0.0.54:53/udp")),
    ("interface of 1 byte", ("add", "iface:b", "80")),
    ("interface of 15 bytes", ("add", "iface:" + LONG15, "80")),
    ("interface with a dot, a dash, an underscore", ("add", "iface:a.b-c_d", "80")),
    ("interface with @ and %", ("add", "iface:a%b@c", "80")),
    ("--for 1s", ("add", "br-app", "80", "--for", "1s")),
    ("--for 15m", ("add", "br-app", "80", "--for", "15m")),
    ("--for 2h", ("add", "br-app", "80", "--for", "2h")),
    ("--for 365d", ("add", "br-app", "80", "--for", "365d")),
    ("--for=2h", ("add", "br-app", "80", "--for=2h")),
    ("-- before the words", ("add", "--", "br-app", "80")),
    ("the same port twice", ("add", "br-app", "80", "80")),
    ("the service under its name", ("add", "br-app", "ollama")),
    ("the service under another name", ("add", "br-app", "mariadb", "valkey", "pg")),
    ("letters together", ("add", "br-app", "80", "-qj")),
    ("a letter with its argument", ("add", "br-app", "80", "-w5")),
    ("letters together, the last with its argument", ("add", "br-app", "80", "-qw", "5")),
]
table_cases([("good words: " + name, words) for name, words in RIGHT], accepted)


# ---------------------------------------------------------------- rule files


def doc(mapping, head='"version": 1'):
    """A file whose mapping stands in line 4."""
    return '{\n  %s,\n  "mappings": [\n    %s\n  ]\n}\n' % (head, mapping)


N, P = '"network": "iface:br-two"', '"port": 80'


def with_port(text):
    return doc('{ %s, "port": %s }' % (N, text))


def with_network(text):
    return doc('{ "network": %s, %s }' % (text, P))


def with_key(text):
    return doc('{ %s, %s, %s }' % (N, P, text))


# name, content, line (0: any), key pattern, pattern of the message
FILES = [
    ("empty", "", 0, None, None),
    ("blanks only", " \n\n ", 0, None, None),
    ("byte order mark", b"\xef\xbb\xbf" + with_port("80").encode(), 1, None, None),
    ("UTF-16", with_port("80").encode("utf-16"), 0, None, None),
    ("binary", bytes(range(256)), 0, None, None),
    ("an array", "[]", 1, None, None),
    ("a number", "5", 1, None, None),
    ("null", "null", 1, None, None),
    ("a text", '"mappings"', 1, None, None),
    ("cut in the middle", with_port("80")[:40], 0, None, None),
    ("cut before the last brace", with_port("80").rstrip()[:-1], 0, None, None),
    ("text behind the end", with_port("80") + "x\n", 7, None, None),
    ("a second object", with_port("80") + "{}", 7, None, None),
    ("comma before a bracket", doc('{ %s, %s },' % (N, P)), 5, None, None),
    ("comma before a brace", doc('{ %s, %s, }' % (N, P)), 4, None, None),
    ("comma missing", doc('{ %s %s }' % (N, P)), 4, None, None),
    ("a // comment", "// mine\n" + with_port("80"), 1, None, None),
    ("a /* comment */", "/* mine */\n" + with_port("80"), 1, None, None),
    ("single quotes", with_port("80").replace('"', "'"), 2, None, None),
    ("a key without quotes", doc('{ network: "iface:br-two", %s }' % P), 4, None, None),
    ("NUL byte at the end", with_port("80").encode() + b"\0", 7, None, None),
    ("NUL byte within", with_port("80").encode().replace(b"iface", b"if\0ace"), 4, None, None),
    ("NUL escape", with_network('"iface:br-two\\u0000x"'), 4, None, None),
    ("NUL escape in a key", with_key('"comment\\u0000": "x"'), 4, None, None),
    ("raw newline in a text", with_key('"comment": "a\nb"'), 0, None, None),
    ("raw tab in a text", with_key('"comment": "a\tb"'), 4, None, None),
    ("unknown escape", with_key('"comment": "a\\qb"'), 4, None, None),
    ("half an escape", with_key('"comment": "a\\u12"'), 4, None, None),
    ("lone high surrogate", with_key('"comment": "\\ud800"'), 4, None, None),
    ("lone low surrogate", with_key('"comment": "\\udc00x"'), 4, None, None),
    ("bad UTF-8 byte", with_key('"comment": "X"').encode().replace(b"X", b"\xff"), 4, None, None),
    ("overlong UTF-8", with_key('"comment": "X"').encode().replace(b"X", b"\xc0\xaf"), 4, None, None),
    ("UTF-8 surrogate", with_key('"comment": "X"').encode().replace(b"X", b"\xed\xa0\x80"), 4,
     None, None),
    ("cut UTF-8", with_key('"comment": "X"').encode().replace(b"X", b"\xe2\x82"), 4, None, None),
    ("nesting of 20 arrays", with_key('"comment": ' + "[" * 20 + "]" * 20), 4, None, None),
    ("nesting of 100,000 arrays", "[" * 100000, 1, None, None),
    ("nesting of 100,000 objects", '{"a":' * 100000, 1, None, None),
    ("unknown key at the top", doc('{ %s, %s }' % (N, P), '"version": 1, "extra": 1'), 2,
     "extra", None),
    ("version 0", doc('{ %s, %s }' % (N, P), '"version": 0'), 2, "version", None),
    ("version 2", doc('{ %s, %s }' % (N, P), '"version": 2'), 2, "version", None),
    ("version as text", doc('{ %s, %s }' % (N, P), '"version": "1"'), 2, "version", None),
    ("version 1.0", doc('{ %s, %s }' % (N, P), '"version": 1.0'), 2, None, None),
    ("version null", doc('{ %s, %s }' % (N, P), '"version": null'), 2, "version", None),
    ("version twice", doc('{ %s, %s }' % (N, P), '"version": 1, "version": 1'), 2, None, None),
    ("$schema a number", doc('{ %s, %s }' % (N, P), '"$schema": 5'), 2, "schema", None),
    ("mappings an object", '{\n"version": 1,\n"mappings": {}\n}', 3, "mappings", None),
    ("mappings null", '{\n"version": 1,\n"mappings": null\n}', 3, "mappings", None),
    ("mappings twice", '{\n"mappings": [],\n"mappings": []\n}', 3, None, None),
    ("a mapping is a number", doc("5"), 4, r"mappings\[0\]", None),
    ("a mapping is null", doc("null"), 4, r"mappings\[0\]", None),
    ("a mapping is an array", doc("[]"), 4, r"mappings\[0\]", None),
    ("a mapping is empty", doc("{}"), 4, r"mappings\[0\]", None),
    ("the second mapping is wrong",
     doc('{ %s, %s },\n    { %s, "port": 0 }' % (N, P, N)), 5, r"mappings\[1\]\.port", None),
    ("no network", doc('{ %s }' % P), 4, r"mappings\[0\]", "network"),
    ("no port", doc('{ %s }' % N), 4, r"mappings\[0\]", "port"),
    ("unknown key", with_key('"prot": "tcp"'), 4, "prot", None),
    ("key in capitals", with_key('"Comment": "x"'), 4, "Comment", None),
    ("network twice", with_key(N), 4, "network", None),
    ("port twice", with_key(P), 4, "port", None),
    ("comment twice", with_key('"comment": "a", "comment": "a"'), 4, "comment", None),
    ("key twice through an escape", with_key('"p\\u006frt": 80'), 4, "port", None),
    ("network bare", with_network('"br-two"'), 4, r"mappings\[0\]\.network", "iface:br-two"),
    ("network a number", with_network("5"), 4, r"mappings\[0\]\.network", None),
    ("network null", with_network("null"), 4, r"mappings\[0\]\.network", None),
    ("network empty", with_network('""'), 4, r"mappings\[0\]\.network", None),
    ("network without a name", with_network('"iface:"'), 4, r"mappings\[0\]\.network", None),
    ("unknown engine", with_network('"lxc:web"'), 4, r"mappings\[0\]\.network", None),
    ("docker without a name", with_network('"docker:"'), 4, r"mappings\[0\]\.network", None),
    ("interface .", with_network('"iface:."'), 4, r"mappings\[0\]\.network", None),
    ("interface ..", with_network('"iface:.."'), 4, r"mappings\[0\]\.network", None),
    ("interface of 16 bytes", with_network('"iface:%s"' % LONG16), 4,
     r"mappings\[0\]\.network", None),
    ("interface with a slash", with_network('"iface:a/b"'), 4, r"mappings\[0\]\.network", None),
    ("interface with a colon", with_network('"iface:a:b"'), 4, r"mappings\[0\]\.network", None),
    ("interface with a quote", with_network('"iface:a\\"b"'), 4, r"mappings\[0\]\.network", None),
    ("interface with a star", with_network('"iface:a*"'), 4, r"mappings\[0\]\.network", None),
    ("interface with a backslash", with_network('"iface:a\\\\b"'), 4,
     r"mappings\[0\]\.network", None),
    ("interface with a blank", with_network('"iface:a b"'), 4, r"mappings\[0\]\.network", None),
    ("interface with a newline", with_network('"iface:a\\nb"'), 4,
     r"mappings\[0\]\.network", None),
    ("interface with an umlaut", with_network('"iface:b\\u00e4"'), 4,
     r"mappings\[0\]\.network", None),
    ("docker name of 2,000 bytes", with_network('"docker:%s"' % ("d" * 2000)), 4,
     r"mappings\[0\]\.network", None),
    ("port 0", with_port("0"), 4, r"mappings\[0\]\.port", "65535"),
    ("port 65536", with_port("65536"), 4, r"mappings\[0\]\.port", "65535"),
    ("port negative", with_port("-1"), 4, r"mappings\[0\]\.port", None),
    ("port -0", with_port("-0"), 4, None, None),
    ("port 080", with_port("080"), 4, None, None),
    ("port 80.0", with_port("80.0"), 4, r"mappings\[0\]\.port", None),
    ("port 80.5", with_port("80.5"), 4, r"mappings\[0\]\.port", None),
    ("port 1e3", with_port("1e3"), 4, r"mappings\[0\]\.port", None),
    ("port 0x50", with_port("0x50"), 4, None, None),
    ("port +80", with_port("+80"), 4, None, None),
    ("port NaN", with_port("NaN"), 4, None, None),
    ("port Infinity", with_port("Infinity"), 4, None, None),
    ("port 1e400", with_port("1e400"), 4, None, None),
    ("port beyond 64 bits", with_port("18446744073709551696"), 4, r"mappings\[0\]\.port", None),
    ("port a text", with_port('"80"'), 4, r"mappings\[0\]\.port", None),
    ("port null", with_port("null"), 4, r"mappings\[0\]\.port", None),
    ("port true", with_port("true"), 4, r"mappings\[0\]\.port", None),
    ("port an array", with_port("[80]"), 4, r"mappings\[0\]\.port", None),
    ("protocol sctp", with_key('"protocol": "sctp"'), 4, "protocol", None),
    ("protocol in capitals", with_key('"protocol": "TCP"'), 4, "protocol", None),
    ("protocol empty", with_key('"protocol": ""'), 4, "protocol", None),
    ("protocol a number", with_key('"protocol": 6'), 4, "protocol", None),
    ("protocol null", with_key('"protocol": null'), 4, "protocol", None),
    ("target outside 127/8", with_key('"target": "10.0.0.1:80"'), 4, "target", "127"),
    ("target just below 127/8", with_key('"target": "126.255.255.255:80"'), 4, "target", None),
    ("target just above 127/8", with_key('"target": "128.0.0.0:80"'), 4, "target", None),
    ("target the broadcast address", with_key('"target": "127.255.255.255:80"'), 4, "target",
     None),
    ("target without a port", with_key('"target": "127.0.0.1"'), 4, "target", None),
    ("target with an empty port", with_key('"target": "127.0.0.1:"'), 4, "target", None),
    ("target without an address", with_key('"target": ":80"'), 4, "target", None),
    ("target port 0", with_key('"target": "127.0.0.1:0"'), 4, "target", None),
    ("target port 65536", with_key('"target": "127.0.0.1:65536"'), 4, "target", None),
    ("target port 080", with_key('"target": "127.0.0.1:080"'), 4, "target", None),
    ("target localhost", with_key('"target": "localhost:80"'), 4, "target", None),
    ("target [::1]", with_key('"target": "[::1]:80"'), 4, "target", None),
    ("target empty", with_key('"target": ""'), 4, "target", None),
    ("target a number", with_key('"target": 80'), 4, "target", None),
    ("target null", with_key('"target": null'), 4, "target", None),
    ("target with a protocol", with_key('"target": "127.0.0.1:80/tcp"'), 4, "target", None),
    ("enabled a text", with_key('"enabled": "true"'), 4, "enabled", None),
    ("enabled 1", with_key('"enabled": 1'), 4, "enabled", None),
    ("enabled null", with_key('"enabled": null'), 4, "enabled", None),
    ("external a text", with_key('"external": "yes"'), 4, "external", None),
    ("external 0", with_key('"external": 0'), 4, "external", None),
    ("until a word", with_key('"until": "tomorrow"'), 4, "until", None),
    ("until empty", with_key('"until": ""'), 4, "until", None),
    ("until a number", with_key('"until": 1800000000'), 4, "until", None),
    ("until null", with_key('"until": null'), 4, "until", None),
    ("until without a zone", with_key('"until": "2030-01-01T00:00:00"'), 4, "until", None),
    ("until a date alone", with_key('"until": "2030-01-01"'), 4, "until", None),
    ("until month 13", with_key('"until": "2030-13-01T00:00:00Z"'), 4, "until", None),
    ("until February 30", with_key('"until": "2030-02-30T00:00:00Z"'), 4, "until", None),
    ("until hour 24", with_key('"until": "2030-01-01T24:00:00Z"'), 4, "until", None),
    ("comment a number", with_key('"comment": 5'), 4, "comment", None),
    ("comment null", with_key('"comment": null'), 4, "comment", None),
    ("comment of 256 bytes", with_key('"comment": "%s"' % ("c" * 256)), 4, "comment", None),
    ("comment of 100,000 bytes", with_key('"comment": "%s"' % ("c" * 100000)), 4, "comment",
     None),
    ("one key with two targets",
     doc('{ %s, %s, "target": "127.0.0.1:81" },\n    { %s, %s, "target": "127.0.0.1:82" }'
         % (N, P, N, P)), 5, r"mappings\[1\]", None),
    ("one key with two targets, one by default",
     doc('{ %s, %s },\n    { %s, %s, "target": "127.0.0.1:82" }' % (N, P, N, P)), 5,
     r"mappings\[1\]", None),
]

GOOD_FILE = {"version": 1, "mappings": [{"network": "iface:br-app", "port": 8088}]}


def wrong_file(content, line, key, text):
    """apply and check refuse it, name the place, and apply nothing."""
    lab.write_rules({"a-good.json": {"version": 1, "mappings": [
        {"network": "iface:br-app", "port": 8089}]}, "wrong.json": content}, WORK)
    before = lab.snapshot(WORK)
    for command in ("apply", "check"):
        result = lab.nb(command, rules=WORK, timeout=20)
        said(result, 2, False, command)
        expect("wrong.json" in result.err, f"{command}: the file is not named: {result.err}")
        if line:
            expect(f"wrong.json:{line}" in result.err,
                   f"{command}: not at line {line}: {result.err}")
        if text:
            expect_match(text, result.err, command)
        error = said(lab.nb(command, "--json", rules=WORK, timeout=20), 2, True,
                     command + " --json")
        expect_match("wrong\\.json$", str(error.get("file")), f"{command}: error.file")
        if line:
            expect_eq(error.get("line"), line, f"{command}: error.line")
        if key:
            expect_match(key, str(error.get("key")), f"{command}: error.key")
    lab.same(before, lab.snapshot(WORK))


table_cases([("file: " + row[0], *row[1:]) for row in FILES], wrong_file)


def two_files():
    lab.write_rules({
        "a.json": doc('{ %s, %s, "target": "127.0.0.1:81" }' % (N, P)),
        "b.json": doc('{ %s, %s, "target": "127.0.0.1:82" }' % (N, P))}, WORK)
    before = lab.snapshot(WORK)
    result = lab.nb("apply", rules=WORK)
    said(result, 2, False, "apply")
    expect("b.json:4" in result.err and "a.json" in result.err,
           f"both files are named: {result.err}")
    lab.same(before, lab.snapshot(WORK))


case("file: one key with two targets in two files")(two_files)

GOOD_FILES = [
    ("port 1", with_port("1")),
    ("port 65535", with_port("65535")),
    ("only mappings", '{"mappings": []}'),
    ("everything", doc('{ %s, %s, "protocol": "udp", "target": "127.0.0.54:53", "comment": "x",'
                       ' "enabled": true, "external": false, "until": "2090-01-01T00:00:00Z" }'
                       % (N, P), '"$schema": "x", "version": 1')),
    ("interface of 15 bytes", with_network('"iface:%s"' % LONG15)),
    ("target 127.255.255.254", with_key('"target": "127.255.255.254:65535"')),
    ("target port 1", with_key('"target": "127.0.0.1:1"')),
    ("comment of 255 bytes", with_key('"comment": "%s"' % ("c" * 255))),
    ("comment empty", with_key('"comment": ""')),
    ("comment with escapes", with_key('"comment": "\\"\\\\\\/ \\u00e4 \\ud83d\\ude00 $(x) */"')),
    ("comment in UTF-8", with_key('"comment": "Brücke 橋 😀"')),
    ("disabled", with_key('"enabled": false')),
    ("until in the past", with_key('"until": "2001-01-01T00:00:00Z"')),
    ("until February 29", with_key('"until": "2032-02-29T23:59:59Z"')),
    ("until with an offset", with_key('"until": "2090-01-01T00:00:00+02:00"')),
    ("no newline at the end", with_port("80").rstrip()),
    ("CRLF", with_port("80").replace("\n", "\r\n")),
    ("a key written as an escape", doc('{ %s, "p\\u006frt": 80 }' % N)),
    ("the same mapping twice", doc('{ %s, %s },\n { %s, %s }' % (N, P, N, P))),
    ("one target, two keys", doc('{ %s, %s },\n { %s, "port": 81, "target": "127.0.0.1:80" }'
                                 % (N, P, N))),
]


def good_file(content):
    lab.write_rules({"good.json": content}, WORK)
    before = lab.snapshot(WORK)
    lab.good("apply", "--dry-run", rules=WORK)
    lab.same(before, lab.snapshot(WORK))


table_cases([("good file: " + name, content) for name, content in GOOD_FILES], good_file)


# ---------------------------------------------------------------- odd directory entries


def odd(make, rc, name="wrong.json"):
    """Something strange at NAME: no hang, no crash, the right status."""
    lab.write_rules({}, WORK)
    make(f"{WORK}/{name}")
    before = lab.snapshot(WORK)
    for command in ("apply", "check"):
        result = lab.nb(command, "--dry-run" if command == "apply" else "--quiet", rules=WORK,
                        timeout=10)
        expect(result.rc in rc, f"{command}: expected exit {rc} of {result}")
        expect(len(result.err.splitlines()) <= 4, f"{command}: too many lines: {result.err}")
    lab.same(before, lab.snapshot(WORK))


def put(path, text=with_port("80"), mode=0o644, uid=0):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    os.chown(path, uid, -1)


ODD = [
    ("a directory", os.mkdir, (1, 2)),
    ("a fifo", os.mkfifo, (1, 2)),
    ("a dangling symlink", lambda path: os.symlink("nowhere", path), (1, 2)),
    ("a symlink to itself", lambda path: os.symlink("wrong.json", path), (1, 2)),
    ("a symlink to /dev/zero", lambda path: os.symlink("/dev/zero", path), (1, 2)),
    ("group may write", lambda path: put(path, mode=0o664), (1, 2)),
    ("others may write", lambda path: put(path, mode=0o646), (1, 2)),
    ("of another owner", lambda path: put(path, uid=1234), (1, 2)),
]
for name, make, rc in ODD:
    case("entry: " + name)(lambda make=make, rc=rc: odd(make, rc))


@case("entry: other names than *.json and dot files are not read")
def _():
    for name in ("wrong.txt", "wrong.json~", "wrong", ".wrong.json", "wrong.json.bak"):
        lab.write_rules({name: "{"}, WORK)
        result = lab.nb("apply", "--dry-run", rules=WORK)
        expect(result.rc == 0, f"{name}: expected exit 0 of {result}")


@case("directory: group may write it, others may, of another owner")
def _():
    for mode, uid in ((0o775, 0), (0o757, 0), (0o755, 1234)):
        lab.write_rules({}, WORK)
        os.chmod(WORK, mode)
        os.chown(WORK, uid, -1)
        before = lab.snapshot(WORK)
        for words in (("apply",), ("check",), ("add", "br-app", "80"), ("remove", "br-app", "8088")):
            result = lab.nb(*words, rules=WORK)
            expect(result.rc in (1, 2), f"mode {mode:o}, owner {uid}: {result}")
            expect(WORK in result.err, f"the directory is not named: {result}")
            expect(len(result.err.splitlines()) <= 4, f"too many lines: {result}")
        lab.same(before, lab.snapshot(WORK))
    shutil.rmtree(WORK)


@case("directory: it is a file, or under a file")
def _():
    shutil.rmtree(WORK, ignore_errors=True)
    put(WORK)
    before = lab.snapshot()
    for path in (WORK, WORK + "/below"):
        for words in (("apply",), ("add", "br-app", "80"), ("check",)):
            result = lab.nb(*words, rules=path)
            expect(result.rc in (1, 2), f"{path}: {result}")
    lab.same(before, lab.snapshot())
    os.unlink(WORK)


# ---------------------------------------------------------------- configuration

CONFIGS = [
    ("empty", ""), ("broken", "{"), ("an array", "[]"), ("unknown key", '{"marc": 1}'),
    ("mark 0", '{"mark": 0}'), ("mark negative", '{"mark": -1}'),
    ("mark beyond 32 bits", '{"mark": 4294967296}'), ("mark 1.5", '{"mark": 1.5}'),
    ("mark a word", '{"mark": "high"}'), ("mark null", '{"mark": null}'),
    ("mark an array", '{"mark": []}'), ("mark true", '{"mark": true}'),
    ("mark twice", '{"mark": 1, "mark": 1}'), ("mark an empty text", '{"mark": ""}'),
    ("mark 0x100000000", '{"mark": "0x100000000"}'), ("mark 0x0", '{"mark": "0x0"}'),
]


def wrong_config(content):
    path = lab.dir + "/wrong-config.json"
    put(path, content)
    before = lab.snapshot()
    for words in (("apply",), ("check",), ("add", "br-app", "9999"), ("remove", "br-app", "8088")):
        result = lab.nb(*words, config=path)
        said(result, 2, False, words[0])
        expect("wrong-config.json" in result.err, f"the file is not named: {result.err}")
    error = said(lab.nb("apply", "--json", config=path), 2, True, "apply --json")
    expect_match("wrong-config\\.json$", str(error.get("file")), "error.file")
    lab.same(before, lab.snapshot())


table_cases([("configuration: " + name, content) for name, content in CONFIGS], wrong_config)


@case("configuration: good marks and a missing file")
def _():
    path = lab.dir + "/good-config.json"
    for text in ("{}", '{"mark": 1}', '{"mark": 4294967295}', '{"mark": 268435456}'):
        put(path, text)
        result = lab.nb("apply", "--dry-run", config=path)
        expect(result.rc == 0, f"{text}: {result}")
    result = lab.nb("apply", "--dry-run", config=lab.dir + "/none.json")
    expect(result.rc == 0, f"missing: {result}")


setup()
run()
