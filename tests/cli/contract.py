#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's contract: words, statuses, JSON, and what each option does."""
import datetime
import glob
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, containers=False)

COMMANDS = ("add", "remove", "list", "apply", "check", "flush")
LIST_KEYS = {"network": str, "bridge": (str, type(None)), "protocol": str, "port": int,
             "target": str, "origin": str, "file": (str, type(None)), "state": str,
             "connections": (int, type(None)), "packets": (int, type(None)),
             "bytes": (int, type(None)), "expires": (str, type(None))}


def sh(command, **others):
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True,
                          **others).stdout


def need(tool):
    if not shutil.which(tool):
        skip(f"no {tool} here")


def entries():
    return lab.json("list").get("mappings", [])


def entry(port, protocol="tcp"):
    found = [m for m in entries() if m["port"] == port and m["protocol"] == protocol]
    return found[0] if len(found) == 1 else {}


def rule_file(network, port, target=None, **more):
    mapping = {"network": network, "port": port, **more}
    if target:
        mapping["target"] = target
    return {"version": 1, "mappings": [mapping]}


def refused(*words, rc=1, text=None, **others):
    """It fails with RC, says why, and changes nothing."""
    before = lab.snapshot()
    result = lab.nb(*words, **others)
    expect(result.rc == rc, f"expected exit {rc} of {result}")
    expect(result.err.startswith("nat-bridge: ") or "--json" in words, f"no message: {result}")
    expect(len(result.err.splitlines()) <= 6, f"too many words: {result}")
    if text:
        expect_match(text, result.err + result.out, "the message")
    lab.same(before, lab.snapshot(), " ".join(map(str, words)))
    return result


def change_shape(value, what, changed=None):
    for key, kind in (("changed", bool), ("mappings", list), ("pending", list),
                      ("warnings", list)):
        expect(isinstance(value.get(key), kind), f"{what}: {key} in {value}")
    if changed is not None:
        expect_eq(value.get("changed"), changed, f"{what}: changed")
    for mapping in value.get("mappings", []):
        expect(isinstance(mapping, dict), f"{what}: mappings holds {mapping!r}")
        for key in ("network", "protocol", "port", "target"):
            expect(isinstance(mapping.get(key), LIST_KEYS[key]), f"{what}: {key} in {mapping}")
    expect(all(isinstance(w, str) for w in value.get("warnings", [])), f"{what}: warnings")


# ---------------------------------------------------------------- words


@case("--help names every command and ends with 0")
def _():
    for words in (("--help",), ("add", "--help"), ("--help", "list")):
        result = lab.nb(*words, bare=True)
        expect(result.rc == 0 and result.err == "", f"{result}")
        if words == ("--help",):
            for name in COMMANDS:
                expect(re.search(rf"\b{name}\b", result.out), f"{name} is not in --help")
        expect(all(len(line) <= 100 for line in result.out.splitlines()), f"wide: {result}")


@case("every command has its own --help")
def _():
    for name in COMMANDS + ("rm", "delete", "ls"):
        result = lab.nb(name, "--help", bare=True)
        expect(result.rc == 0 and result.out, f"{result}")


@case("--version")
def _():
    result = lab.nb("--version", bare=True)
    expect(result.rc == 0, f"{result}")
    expect_match(r"^nat-bridge \d+(\.\d+)+\S*\n$", result.out, "standard output")


@case("aliases: rm, delete, ls")
def _():
    for alias in ("rm", "delete"):
        lab.good("add", "br-app", "8088")
        change_shape(lab.json(alias, "br-app", "8088"), alias, True)
        expect_eq(entries(), [], "after " + alias)
    lab.good("add", "br-app", "8088")
    expect_eq(lab.nb("ls", "--json").out, lab.nb("list", "--json").out, "ls and list")


@case("options stand before, behind and between the words")
def _():
    options = ["--rules", lab.rules, "--config", lab.config, "--json"]
    words = ["add", "br-app", "8088"]
    for place in range(4):
        lab.reset()
        result = lab.execute([lab.program, *words[:place], *options, *words[place:]])
        expect(result.rc == 0 and result.json["changed"] is True, f"place {place}: {result}")
    lab.reset()
    result = lab.execute([lab.program, f"--rules={lab.rules}", "add", "--json", "br-app",
                          f"--config={lab.config}", "8088", "--for=1h"])
    expect(result.rc == 0 and result.json["changed"] is True, f"with =: {result}")
    result = lab.execute([lab.program, "remove", "--rules", lab.rules, "--", "br-app", "8088"])
    expect(result.rc == 0, f"--: {result}")


@case("the default directories are used when none is named")
def _():
    # /etc as an overlay, so that the machine's own is not touched
    os.makedirs(lab.dir + "/etc/up", exist_ok=True)
    os.makedirs(lab.dir + "/etc/work", exist_ok=True)
    done = subprocess.run(["mount", "-t", "overlay", "lab-etc", "-o",
                           f"lowerdir=/etc,upperdir={lab.dir}/etc/up,workdir={lab.dir}/etc/work",
                           "/etc"], capture_output=True)
    if done.returncode:
        skip("no overlay file system here")
    try:
        shutil.rmtree("/etc/nat-bridge", ignore_errors=True)
        result = lab.nb("add", "br-app", "8088", bare=True)
        expect(result.rc == 0, f"{result}")
        expect(os.listdir("/etc/nat-bridge/rules.d") == ["iface.br-app-8088-tcp.json"],
               "the rule file is in /etc/nat-bridge/rules.d")
        expect_eq(stat.S_IMODE(os.stat("/etc/nat-bridge/rules.d").st_mode), 0o755, "its mode")
        result = lab.nb("remove", "br-app", "8088", bare=True)
        expect(result.rc == 0, f"{result}")
    finally:
        sh("umount /etc")


# ---------------------------------------------------------------- JSON


@case("JSON of add, remove, apply, flush")
def _():
    change_shape(lab.json("add", "br-app", "8088"), "add", True)
    change_shape(lab.json("add", "br-app", "8088"), "add again", False)
    value = lab.json("add", "br-app", "9000:127.0.0.54:53/udp")
    change_shape(value, "add", True)
    expect([(m["network"], m["protocol"], m["port"], m["target"]) for m in value["mappings"]]
           == [("iface:br-app", "udp", 9000, "127.0.0.54:53")], f"mappings: {value}")
    change_shape(lab.json("apply"), "apply", False)
    change_shape(lab.json("remove", "br-app", "9000/udp"), "remove", True)
    change_shape(lab.json("flush"), "flush", True)
    change_shape(lab.json("flush"), "flush again", False)
    change_shape(lab.json("apply"), "apply", True)


@case("JSON of list: the keys of the design and their types")
def _():
    lab.good("add", "br-app", "8088", "53:127.0.0.54:53/udp")
    lab.good("add", "iface:br-none", "80")
    lab.good("add", "br-two", "81", "--for", "1h", "--runtime")
    value = lab.json("list")
    expect(isinstance(value.get("mappings"), list), f"{value}")
    expect_eq(len(value["mappings"]), 4, "mappings")
    for mapping in value["mappings"]:
        expect_eq(sorted(mapping), sorted(LIST_KEYS), "keys")
        for key, kind in LIST_KEYS.items():
            expect(isinstance(mapping.get(key), kind) and not isinstance(mapping[key], bool),
                   f"{key} of {mapping}")
    by = {(m["port"], m["protocol"]): m for m in value["mappings"]}
    first = by[8088, "tcp"]
    expect_eq((first["network"], first["bridge"], first["target"], first["origin"],
               first["state"], first["expires"], first["connections"]),
              ("iface:br-app", "br-app", "127.0.0.1:8088", "file", "active", None, 0), "8088")
    expect_match(r"iface\.br-app-8088-tcp\.json$", first["file"], "file")
    expect_eq(by[53, "udp"]["target"], "127.0.0.54:53", "target")
    expect_eq(by[80, "tcp"]["state"], "pending", "state")
    timed = by[81, "tcp"]
    expect_eq((timed["origin"], timed["state"], timed["file"]), ("runtime", "active", None), "81")
    left = (datetime.datetime.fromisoformat(timed["expires"].replace("Z", "+00:00"))
            - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
    expect(3590 < left <= 3602, f"expires in {left} s")


@case("JSON of check: in sync, and drift")
def _():
    lab.good("add", "br-app", "8088")
    value = lab.json("check")
    expect_eq((value.get("in_sync"), value.get("drift")), (True, []), "check")
    sh("nft flush map inet nat-bridge targets")
    value = lab.json("check", rc=3)
    expect_eq(value.get("in_sync"), False, "in_sync")
    expect(value.get("drift"), "no drift named")
    for item in value.get("drift", []):
        expect_eq(sorted(item), ["mend", "network", "what"], "keys")
        expect(isinstance(item["what"], str) and item["what"], f"what: {item}")
        expect(isinstance(item["network"], (str, type(None))), f"network: {item}")
        expect(isinstance(item["mend"], (str, type(None))), f"mend: {item}")
    expect(any(item["network"] == "iface:br-app" for item in value["drift"]), f"{value}")


@case("JSON of a failure: one object with the change's keys and error")
def _():
    value = lab.json("add", "br-none", "80", rc=1)
    for key in ("code", "message"):
        expect(isinstance(value.get("error", {}).get(key), str), f"error.{key}: {value}")
    lab.write_rules({"bad.json": '{\n"version": 9\n}'})
    value = lab.json("apply", rc=2)
    error = value.get("error", {})
    expect_eq((os.path.basename(str(error.get("file"))), error.get("line"), error.get("key")),
              ("bad.json", 2, "version"), "file, line, key")
    change_shape(value, "failure", False)


@case("rule files: one mapping each, under the name of the design, read back")
def _():
    lab.good("add", "br-app", "8088:127.0.0.1:9000")
    path = lab.rules + "/iface.br-app-8088-tcp.json"
    expect(os.path.exists(path), f"{os.listdir(lab.rules)}")
    with open(path) as file:
        value = json.load(file)
    expect_eq(value.get("version"), 1, "version")
    mapping = value["mappings"][0]
    expect_eq((mapping["network"], mapping["port"], mapping.get("target")),
              ("iface:br-app", 8088, "127.0.0.1:9000"), "mapping")
    expect_eq([name for name in os.listdir(lab.rules) if name.startswith(".")], [], "dot files")
    lab.good("add", "iface:a%b@c", "80")
    names = os.listdir(lab.rules)
    expect(any(re.fullmatch(r"iface\.a%25b(@|%40)c-80-tcp\.json", name) for name in names),
           f"other characters as %XX: {names}")
    expect_eq(lab.good("remove", "iface:a%b@c", "80").rc, 0, "remove")
    expect_eq(os.listdir(lab.rules), ["iface.br-app-8088-tcp.json"], "files left")


# ---------------------------------------------------------------- quiet, dry run


@case("--quiet says nothing of a success, and still says why it fails")
def _():
    for words in (("add", "br-app", "8088"), ("apply",), ("check",), ("remove", "br-app", "8088"),
                  ("flush",)):
        result = lab.nb(*words, "--quiet")
        expect((result.rc, result.out, result.err) == (0, "", ""), f"{result}")
    result = lab.nb("add", "br-none", "80", "--quiet")
    expect(result.rc == 1 and result.err and not result.out, f"{result}")


def dry(*words):
    """The script of a dry run; the kernel takes it, nothing changes."""
    before = lab.snapshot()
    result = lab.good(*words, "--dry-run")
    lab.same(before, lab.snapshot(), "dry run of " + words[0])
    done = subprocess.run(["nft", "-c", "-f", "-"], input=result.out, text=True,
                          capture_output=True)
    expect(done.returncode == 0, f"nft -c refuses the script of {words[0]}: {done.stderr}\n"
                                 f"{result.out}")
    lab.same(before, lab.snapshot(), "nft -c")
    return result.out


@case("--dry-run of add: the script gives the ruleset that add gives")
def _():
    words = ("add", "br-app", "8088:127.0.0.1:9000", "53/udp", "--for", "1h")
    script = dry(*words)
    expect_match("route_localnet", script, "the sysctl is shown")
    expect(all(line.lstrip().startswith("#") for line in script.splitlines()
               if "route_localnet" in line), "the sysctl is a comment")
    expect(not os.path.exists(lab.rules), "no directory is made")

    def listing():
        return re.sub(r"expires \S+", "expires N", lab.ruleset(counters=False))

    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)
    by_nft = listing()
    lab.reset()
    lab.good(*words)
    ours = listing()
    drop = re.compile(r"timeout \S+")     # 59m59s against 1h
    expect_eq(drop.sub("timeout N", by_nft), drop.sub("timeout N", ours), "ruleset")


@case("--dry-run of remove, flush and apply")
def _():
    lab.good("add", "br-app", "8088", "8089")
    lab.good("add", "br-two", "53/udp")
    script = dry("remove", "br-app", "8088")
    expect_match("8088", script, "script of remove")
    dry("remove", "br-app", "--all")
    dry("remove", "--all-networks")
    dry("flush")
    dry("apply")
    dry("add", "br-app", "8088")
    script = dry("flush")
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)
    expect_eq(lab.ruleset(), "", "after the script of flush")
    script = dry("apply")
    expect_match("8089", script, "script of apply")
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)
    lab.good("apply")
    expect(lab.json("check").get("in_sync"), "in sync after apply")


@case("--dry-run with foreign chains shows the openers")
def _():
    need("iptables-nft")
    sh("iptables-nft -P INPUT DROP; nft add table inet site; "
       "nft add chain inet site input '{ type filter hook input priority 0; policy drop; }'")
    script = dry("add", "br-app", "8088")
    expect_match(r"insert rule inet site input .*127\.0\.0\.0/8.*accept", script, "native opener")
    expect_match(r"ip filter INPUT", script, "opener in the table of iptables")
    lab.good("add", "br-app", "8088")
    dry("remove", "br-app", "8088")
    dry("flush")


@case("--dry-run --json prints one object and changes nothing")
def _():
    before = lab.snapshot()
    value = lab.json("add", "br-app", "8088", "--dry-run")
    change_shape(value, "dry run", True)
    lab.same(before, lab.snapshot())


# ---------------------------------------------------------------- networks


@case("removing what is absent: exit 0, changed false, nearest named")
def _():
    value = lab.json("remove", "br-app", "8088")
    change_shape(value, "remove of nothing", False)
    lab.good("add", "br-app", "8088")
    before = lab.snapshot()
    for words, near in ((("br-app", "8089"), "8088"), (("br-apq", "8088"), "br-app"),
                        (("iface:br-apq", "8088"), "br-app"),
                        (("br-app", "8088/udp"), "8088/tcp|tcp")):
        result = lab.nb("remove", *words)
        expect(result.rc == 0, f"{result}")
        expect_match(near, result.out + result.err, f"nearest of {words}")
        change_shape(lab.json("remove", *words), "remove", False)
    lab.same(before, lab.snapshot())


@case("remove: a target written along must be the mapping's")
def _():
    lab.good("add", "br-app", "15432:5432")
    refused("remove", "br-app", "15432:5433", text="5432")
    refused("remove", "br-app", "15432:127.0.0.2:5432")
    change_shape(lab.json("remove", "br-app", "15432:127.0.0.1:5432"), "remove", True)


@case("networks: bare and qualified are the same")
def _():
    lab.good("add", "br-app", "8088")
    change_shape(lab.json("add", "iface:br-app", "8088"), "add qualified", False)
    expect_eq(entry(8088).get("network"), "iface:br-app", "stored")
    change_shape(lab.json("remove", "iface:br-app", "8088"), "remove qualified", True)
    lab.good("add", "iface:br-app", "8088")
    change_shape(lab.json("remove", "br-app", "8088"), "remove bare", True)


@case("networks: an absent bare name is refused, the nearest named")
def _():
    refused("add", "br-aqp", "8088", text="br-app")
    refused("add", "nowhere-at-all", "8088")


@case("networks: iface:NAME of an absent device is pending, then active")
def _():
    result = lab.good("add", "iface:br-late", "8088")
    expect_match("br-late", result.err + result.out, "a warning")
    expect_eq(lab.ruleset(), "", "nothing in the kernel")
    value = lab.json("add", "iface:br-late", "8088")
    expect(value["changed"] is False and value["pending"], f"{value}")
    expect_eq(entry(8088).get("state"), "pending", "state")
    expect(lab.json("check").get("in_sync"), "pending is no drift")
    lab.good("apply")
    result = lab.nb("apply", "--strict")
    expect(result.rc == 1, f"--strict: {result}")
    refused("add", "iface:br-later", "80", "--strict")
    sh("ip link add br-late type bridge")
    try:
        lab.json("check", rc=3)
        change_shape(lab.json("apply", "--strict"), "apply", True)
        expect_eq(entry(8088).get("state"), "active", "state")
        expect_eq(lab.conf("br-late", "route_localnet"), 1, "route_localnet")
        sh("ip link del br-late")
        value = lab.json("apply")
        expect(value["pending"], f"pending again: {value}")
        expect(lab.json("check").get("in_sync"), "in sync without the bridge")
        change_shape(lab.json("remove", "br-late", "8088"), "remove", True)
    finally:
        subprocess.run("ip link del br-late", shell=True, capture_output=True)
    expect_eq(lab.ruleset(), "", "nothing is left")


# ---------------------------------------------------------------- options of add


@case("another target for the same key: exit 1 naming the file; --replace swaps it")
def _():
    lab.good("add", "br-app", "8088")
    refused("add", "br-app", "8088:9000", text=r"iface\.br-app-8088-tcp\.json")
    value = lab.json("add", "br-app", "8088:9000", "--replace")
    change_shape(value, "--replace", True)
    expect_eq(entry(8088).get("target"), "127.0.0.1:9000", "target")
    expect("127.0.0.1 . 8088" not in lab.ruleset(), "the old target is out of the kernel")
    expect(lab.json("check").get("in_sync"), "in sync")
    change_shape(lab.json("add", "br-app", "8088:9000", "--replace"), "again", False)
    expect_eq(os.listdir(lab.rules), ["iface.br-app-8088-tcp.json"], "files")


@case("--replace keeps the other mappings of a hand-written file")
def _():
    lab.write_rules({"mine.json": {"version": 1, "mappings": [
        {"network": "iface:br-app", "port": 8088, "comment": "one"},
        {"network": "iface:br-app", "port": 8089, "comment": "two"}]}})
    lab.good("apply")
    lab.good("add", "br-app", "8088:9000", "--replace")
    expect_eq(os.listdir(lab.rules), ["mine.json"], "files")
    with open(lab.rules + "/mine.json") as file:
        ports = {m["port"]: m for m in json.load(file)["mappings"]}
    expect_eq(ports[8088].get("target"), "127.0.0.1:9000", "replaced")
    expect_eq(ports[8089].get("comment"), "two", "kept")
    lab.good("remove", "br-app", "8089")
    with open(lab.rules + "/mine.json") as file:
        expect_eq([m["port"] for m in json.load(file)["mappings"]], [8088], "rewritten")
    lab.good("remove", "br-app", "8088")
    expect_eq(os.listdir(lab.rules), [], "unlinked with its last mapping")


@case("--runtime: no file, apply keeps it, flush ends it")
def _():
    change_shape(lab.json("add", "br-app", "8088", "--runtime"), "add --runtime", True)
    expect(not os.path.exists(lab.rules) or os.listdir(lab.rules) == [], "no file")
    change_shape(lab.json("add", "br-app", "8088", "--runtime"), "again", False)
    expect_eq((entry(8088).get("origin"), entry(8088).get("state")), ("runtime", "active"), "list")
    expect(lab.json("check").get("in_sync"), "in sync")
    os.makedirs(lab.rules, exist_ok=True)
    change_shape(lab.json("apply"), "apply", False)
    expect_eq(entry(8088).get("state"), "active", "after apply")
    change_shape(lab.json("flush"), "flush", True)
    expect_eq((entries(), lab.ruleset()), ([], ""), "after flush")
    change_shape(lab.json("apply"), "apply", False)
    lab.good("add", "br-app", "8088", "--runtime")
    change_shape(lab.json("remove", "br-app", "8088"), "remove", True)
    expect_eq(lab.ruleset(), "", "after remove")


@case("a runtime mapping becomes permanent with a plain add")
def _():
    lab.good("add", "br-app", "8088", "--runtime")
    change_shape(lab.json("add", "br-app", "8088"), "add", True)
    expect_eq(entry(8088).get("origin"), "file", "origin")
    expect(lab.json("check").get("in_sync"), "in sync")
    lab.good("flush")
    lab.good("apply")
    expect_eq(entry(8088).get("state"), "active", "after flush and apply")


@case("--for: the element has a timeout, the file has until")
def _():
    change_shape(lab.json("add", "br-app", "8088", "--for", "2h"), "add --for", True)
    text = lab.ruleset()
    expect(len(re.findall(r"8088 .*?timeout (?:2h|1h59m\d+s)", text)) >= 2 or
           text.count("expires") >= 2, f"both elements have a timeout: {text}")
    with open(lab.rules + "/iface.br-app-8088-tcp.json") as file:
        until = json.load(file)["mappings"][0].get("until")
    expect_match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", until, "until")
    expect(lab.json("check").get("in_sync"), "in sync")
    before = generation()
    change_shape(lab.json("apply"), "apply", False)
    expect_eq(generation(), before, "generation")
    change_shape(lab.json("add", "br-app", "8088", "--for", "3h"), "with another time", True)
    expect(entry(8088)["expires"] > until, "later")
    change_shape(lab.json("add", "br-app", "8088"), "without --for", True)
    expect_eq(entry(8088).get("expires"), None, "permanent")
    expect("expires" not in lab.ruleset(), "no timeout in the kernel")
    change_shape(lab.json("add", "br-app", "8088", "--for", "1h"), "timed again", True)
    expect(lab.json("check").get("in_sync"), "in sync")


@case("--for: after the time it is expired, no drift, and apply leaves it so")
def _():
    lab.good("add", "br-app", "8088", "--for", "1s")
    lab.good("add", "br-app", "8089")
    expect(wait_for(lambda: entry(8088).get("state") == "expired", 6, 0.1), f"{entries()}")
    expect(wait_for(lambda: "8088" not in lab.ruleset(), 3, 0.1), "out of the kernel")
    expect(lab.json("check").get("in_sync"), "no drift")
    change_shape(lab.json("apply"), "apply", False)
    expect("8088" not in lab.ruleset(), "still out")
    expect(os.path.exists(lab.rules + "/iface.br-app-8088-tcp.json"), "the file stays")
    change_shape(lab.json("add", "br-app", "8088"), "add", True)
    expect_eq((entry(8088).get("state"), entry(8088).get("expires")), ("active", None), "renewed")
    lab.good("add", "br-app", "8088", "--for", "1s")
    expect(wait_for(lambda: entry(8088).get("state") == "expired", 6, 0.1), f"{entries()}")
    change_shape(lab.json("remove", "br-app", "8088"), "remove", True)
    expect_eq([m["port"] for m in entries()], [8089], "left")


@case("--for of a bridge's only mapping leaves a guarded bridge, then nothing")
def _():
    lab.good("add", "br-app", "8088", "--for", "1s")
    expect(wait_for(lambda: entry(8088).get("state") == "expired", 6, 0.1), f"{entries()}")
    expect_eq(lab.guarded(), "", "guard")
    expect(lab.json("check").get("in_sync"), "no drift")
    lab.good("remove", "br-app", "8088")
    expect_eq((lab.ruleset(), lab.links()["br-app"]), ("", (0, 0)), "nothing is left")


HIJACKS = [
    ("in a table of nft", "nft add table ip site; nft add chain ip site pre "
     "'{ type nat hook prerouting priority -100; }'; "
     "nft add rule ip site pre iifname br-app tcp dport 7777 dnat to 127.0.0.1:7777", "site"),
    ("in a table of iptables", "iptables-nft -t nat -A PREROUTING -i br-app -p tcp --dport 7777 "
     "-j DNAT --to-destination 127.0.0.1:7777", "PREROUTING"),
]
for kind, recipe, word in HIJACKS:
    def hijack(recipe=recipe, word=word):
        need("iptables-nft")
        sh(recipe)
        lab.set_conf("br-app", "route_localnet", 1)
        refused("add", "br-app", "8088", text=word)
        value = lab.json("add", "br-app", "8088", "--force")
        change_shape(value, "--force", True)
        lab.good("remove", "br-app", "8088")
        expect_eq(lab.conf("br-app", "route_localnet"), 1, "route_localnet as it was")
        lab.set_conf("br-app", "route_localnet", 0)
    case(f"--force: somebody's own DNAT to 127/8, {kind}")(hijack)


EXTERNAL = [
    ("loopback", "true", "lo", "true", False),
    ("a dummy", "ip link add x0 type dummy", "x0", "ip link del x0", True),
    ("a bridge with a dummy as a port",
     "ip link add x0 type dummy; ip link add xbr type bridge; ip link set x0 master xbr",
     "xbr", "ip link del x0; ip link del xbr", True),
    ("a VLAN", "ip link add x0 type dummy; ip link add link x0 name x0.5 type vlan id 5", "x0.5",
     "ip link del x0", True),
    ("a VLAN on a bridge", "ip link add link br-app name x0.5 type vlan id 5", "x0.5",
     "ip link del x0.5", True),
    ("a bond", "ip link add x0 type bond", "x0", "ip link del x0", True),
    ("a bridge with a bond as a port",
     "ip link add x0 type bond; ip link add xbr type bridge; ip link set x0 master xbr", "xbr",
     "ip link del x0; ip link del xbr", True),
    ("a VRF", "ip link add x0 type vrf table 77", "x0", "ip link del x0", True),
    ("a bridge in a VRF",
     "ip link add x0 type vrf table 77; ip link add xbr type bridge; ip link set xbr master x0",
     "xbr", "ip link del xbr; ip link del x0", True),
    ("an ifb", "ip link add x0 type ifb", "x0", "ip link del x0", True),
    ("a bridge with an ifb as a port",
     "ip link add x0 type ifb; ip link add xbr type bridge; ip link set x0 master xbr", "xbr",
     "ip link del x0; ip link del xbr", True),
    ("a macvlan", "ip link add x1 type veth peer name x2; "
     "ip link add link x1 name x0 type macvlan mode bridge", "x0", "ip link del x1", True),
    ("a bridge with a macvlan as a port", "ip link add x1 type veth peer name x2; "
     "ip link add link x1 name x0 type macvlan; ip link add xbr type bridge; "
     "ip link set x0 master xbr", "xbr", "ip link del xbr; ip link del x1", True),
    ("a tun, which carries a VPN", "ip tuntap add dev x0 mode tun", "x0", "ip link del x0", True),
    ("a WireGuard or GRE tunnel", "ip link add x0 type gre local 192.0.2.1 remote 192.0.2.2", "x0",
     "ip link del x0", True),
    ("a bridge with a VXLAN as a port",
     "ip link add x0 type vxlan id 5 dstport 4789 local 192.0.2.1; ip link add xbr type bridge; "
     "ip link set x0 master xbr", "xbr", "ip link del x0; ip link del xbr", True),
    ("the default route's device", "ip link add x0 type veth peer name x1; ip link set x0 up; "
     "ip link set x1 up; ip addr add 192.0.2.1/24 dev x0; ip route add default via 192.0.2.2",
     "x0", "ip link del x0", True),
]


def external(make, device, undo, allowed):
    if subprocess.run("set -e; " + make, shell=True, capture_output=True).returncode:
        subprocess.run(undo, shell=True, capture_output=True)
        skip("the kernel cannot make such a device", kernel=True)
    try:
        refused("add", device, "8088", text=device)
        refused("add", "iface:" + device, "8088", text=device)
        lab.write_rules({"a.json": rule_file("iface:" + device, 8088)})
        refused("apply", text=device)
        expect_eq(lab.conf(device, "route_localnet"), 0, "route_localnet")
        lab.reset()
        result = lab.nb("add", device, "8088", "--allow-external")
        if allowed:
            expect(result.rc == 0, f"--allow-external: {result}")
            with open(f"{lab.rules}/iface.{device}-8088-tcp.json") as file:
                expect_eq(json.load(file)["mappings"][0].get("external"), True, "external")
            lab.good("apply")
            expect(lab.json("check").get("in_sync"), "in sync")
            lab.good("remove", device, "8088")
        else:
            expect(result.rc == 1, f"--allow-external: {result}")
        expect_eq((lab.ruleset(), lab.conf(device, "route_localnet")), ("", 0), "nothing is left")
    finally:
        subprocess.run(undo, shell=True, capture_output=True)


table_cases([("--allow-external: " + row[0], *row[1:]) for row in EXTERNAL], external)

INTERNAL = [
    ("an empty bridge", "ip link add xbr type bridge", "xbr", "ip link del xbr"),
    ("a bridge with a veth", "ip link add xbr type bridge; ip link add x0 type veth peer name x1; "
     "ip link set x0 master xbr", "xbr", "ip link del x0; ip link del xbr"),
    ("a bridge with a tap", "ip link add xbr type bridge; ip tuntap add dev x0 mode tap; "
     "ip link set x0 master xbr", "xbr", "ip link del x0; ip link del xbr"),
    ("a tap", "ip tuntap add dev x0 mode tap", "x0", "ip link del x0"),
    ("a veth", "ip link add x0 type veth peer name x1", "x0", "ip link del x0"),
]


def internal(make, device, undo):
    if subprocess.run("set -e; " + make, shell=True, capture_output=True).returncode:
        subprocess.run(undo, shell=True, capture_output=True)
        skip("the kernel cannot make such a device", kernel=True)
    try:
        lab.good("add", device, "8088")
        lab.good("remove", device, "8088")
    finally:
        subprocess.run(undo, shell=True, capture_output=True)


table_cases([("no --allow-external needed: " + row[0], *row[1:]) for row in INTERNAL], internal)


@case("a bridge that got a physical-like port later is refused by apply, and still removable")
def _():
    lab.good("add", "br-app", "8088")
    sh("ip link add x0 type ifb; ip link set x0 master br-app")
    try:
        result = lab.nb("apply")
        expect(result.rc == 1, f"expected exit 1 of {result}")
        expect_match("br-app|x0", result.err, "message")
        lab.good("remove", "br-app", "8088")
        expect_eq((lab.ruleset(), lab.links()["br-app"]), ("", (0, 0)), "nothing is left")
    finally:
        sh("ip link del x0")


# ---------------------------------------------------------------- presets, --all


def preset_files():
    found = sorted(glob.glob(f"{lab.source}/rules/presets/*.json"))
    return [(os.path.basename(path)[:-5], path) for path in found]


NEEDED = ("ollama", "postgresql", "mysql", "redis", "litellm", "openclaw", "n8n", "lm-studio",
          "vllm", "mcp", "mongodb", "elasticsearch", "rabbitmq", "http")


@case("presets: all that were promised are there")
def _():
    names = [name for name, _ in preset_files()]
    if not names:
        skip("NB_SOURCE names no source tree with presets")
    expect([n for n in NEEDED if n not in names] == [], f"missing among {names}")


def preset(name, path):
    with open(path) as file:
        ports = {int(word.split("/")[0]) for word in json.load(file)["ports"]}
    value = lab.json("add", "br-app", name)
    change_shape(value, "add", True)
    got = {m["port"] for m in entries()}
    expect_eq(got, ports, "ports")
    expect(all(m["state"] == "active" for m in entries()), f"{entries()}")
    change_shape(lab.json("add", "br-app", name), "again", False)
    change_shape(lab.json("remove", "br-app", name), "remove", True)
    expect_eq((entries(), lab.ruleset()), ([], ""), "after remove")


table_cases([("preset " + name, name, path) for name, path in preset_files()], preset)


@case("remove --all takes one network, --all-networks takes everything")
def _():
    lab.good("add", "br-app", "1", "2", "3/udp")
    lab.good("add", "br-two", "1")
    lab.good("add", "iface:br-none", "1")
    lab.good("add", "br-two", "9", "--runtime")
    change_shape(lab.json("remove", "br-app", "--all"), "--all", True)
    expect_eq(sorted((m["network"], m["port"]) for m in entries()),
              [("iface:br-none", 1), ("iface:br-two", 1), ("iface:br-two", 9)], "left")
    expect_eq(lab.links()["br-app"], (0, 0), "br-app is released")
    change_shape(lab.json("remove", "br-app", "--all"), "--all again", False)
    change_shape(lab.json("remove", "--all-networks"), "--all-networks", True)
    expect_eq((entries(), lab.ruleset(), os.listdir(lab.rules)), ([], "", []), "left")
    change_shape(lab.json("remove", "--all-networks"), "--all-networks again", False)


@case("two networks on one bridge: same target merges, different targets are refused")
def _():
    # Only interfaces exist as yet, so one file twice is what can be shown here.
    lab.write_rules({"a.json": rule_file("iface:br-app", 8088),
                     "b.json": rule_file("iface:br-app", 8088, "127.0.0.1:8088")})
    value = lab.json("apply")
    expect(value.get("warnings"), f"a warning: {value}")
    expect_eq(len(entries()), 1, "mappings")


# ---------------------------------------------------------------- invalid files


@case("an invalid file: apply and check give 2 and apply nothing, before drift")
def _():
    lab.good("add", "br-app", "8088")
    sh("nft flush map inet nat-bridge targets")
    with open(lab.rules + "/zz.json", "w") as file:
        file.write('{ "version": 1, "mappings": [ { "network": "iface:br-two", "port": 0 } ] }')
    refused("apply", rc=2, text="zz.json:1")
    refused("check", rc=2, text="zz.json:1")


@case("--keep-going applies every valid file, names the others, exit 4")
def _():
    lab.write_rules({"a.json": rule_file("iface:br-app", 8088), "b.json": "{", "c.json": "",
                     "d.json": rule_file("iface:br-two", 8089)})
    result = lab.nb("apply", "--keep-going")
    expect(result.rc == 4, f"expected exit 4 of {result}")
    for name in ("b.json", "c.json"):
        expect(name in result.err, f"{name} is not named: {result.err}")
    expect_eq(sorted(m["port"] for m in entries() if m["state"] == "active"), [8088, 8089], "live")
    result = lab.nb("apply", "--keep-going", "--json")
    expect(result.rc == 4 and result.json["changed"] is False, f"{result}")
    for name in ("b.json", "c.json"):
        os.unlink(f"{lab.rules}/{name}")
    lab.good("apply", "--keep-going")


@case("--keep-going takes nothing away that an invalid file may still want")
def _():
    lab.write_rules({"a.json": rule_file("iface:br-app", 8088),
                     "b.json": rule_file("iface:br-two", 8089)})
    lab.good("apply")
    with open(lab.rules + "/b.json", "a") as file:
        file.write("x")
    result = lab.nb("apply", "--keep-going")
    expect(result.rc == 4, f"expected exit 4 of {result}")
    expect("8089" in lab.ruleset(), "the live mapping of the broken file was taken out")


@case("an invalid file: add, remove and list warn and go on with other keys")
def _():
    lab.write_rules({"bad.json": '{ "mappings": [ { "network": "iface:br-two", "port": 81, } ] }'})
    for words in (("add", "br-app", "8088"), ("list",), ("remove", "br-app", "8088")):
        result = lab.nb(*words)
        expect(result.rc == 0, f"expected exit 0 of {result}")
        expect("bad.json" in result.err, f"no warning: {result}")
    value = lab.json("add", "br-app", "8088")
    expect(any("bad.json" in w for w in value["warnings"]), f"{value}")


@case("an invalid file: add and remove of a key within it give 2")
def _():
    lab.write_rules({"bad.json": '{ "mappings": [ { "network": "iface:br-two", "port": 81, } ] }'})
    refused("add", "br-two", "81", rc=2, text="bad.json")
    refused("remove", "br-two", "81", rc=2, text="bad.json")


@case("an invalid file: remove --all and --all-networks, whose keys may be in it, give 2")
def _():
    lab.good("add", "br-app", "8088")
    lab.good("add", "br-two", "81")
    with open(lab.rules + "/iface.br-two-81-tcp.json", "a") as file:
        file.write("x")
    refused("remove", "br-two", "--all", rc=2, text="br-two-81-tcp.json")
    refused("remove", "--all-networks", rc=2, text="br-two-81-tcp.json")
    # of a network that the file does not mention, both are defensible
    result = lab.nb("remove", "br-app", "--all")
    expect(result.rc in (0, 2), f"{result}")
    lab.good("remove", "br-app", "8088")


@case("a disabled mapping is not in the kernel, and add enables it")
def _():
    lab.write_rules({"a.json": rule_file("iface:br-app", 8088, enabled=False),
                     "b.json": rule_file("iface:br-app", 8089)})
    lab.good("apply")
    expect_eq((entry(8088).get("state"), entry(8089).get("state")), ("disabled", "active"), "list")
    expect("8088" not in lab.ruleset(), "8088 in the kernel")
    expect(lab.json("check").get("in_sync"), "in sync")


@case("a missing rules directory: nothing live is fine, live mappings are exit 1")
def _():
    shutil.rmtree(lab.rules, ignore_errors=True)
    change_shape(lab.json("apply"), "apply", False)
    lab.good("check")
    lab.good("add", "br-app", "8088")
    shutil.rmtree(lab.rules)
    refused("apply", text="rules.d")
    refused("check", text="rules.d")
    refused("add", "br-app", "8089", text="rules.d")
    lab.good("flush")
    expect_eq(lab.ruleset(), "", "flush works without files")


# ---------------------------------------------------------------- rights and resources

NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
NO_ADMIN = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")


@case("as nobody: list shows what it may, and says what it cannot see")
def _():
    need("setpriv")
    lab.good("add", "br-app", "8088")
    result = lab.nb("list", prefix=NOBODY)
    expect(result.rc == 0, f"expected exit 0 of {result}")
    expect_match("8088", result.out, "the mapping")
    expect_match("root|privilege|permission|CAP_NET_ADMIN|may not", result.out + result.err,
                 "says so")
    value = lab.nb("list", "--json", prefix=NOBODY)
    expect(value.rc == 0, f"{value}")
    expect_eq(sorted(value.json["mappings"][0]), sorted(LIST_KEYS), "keys")


@case("as nobody, and as root without CAP_NET_ADMIN: changes are refused, with the reason")
def _():
    need("setpriv")
    lab.good("add", "br-app", "8088")
    for prefix in (NOBODY, NO_ADMIN):
        for words in (("add", "br-app", "8089"), ("add", "br-app", "8089", "--runtime"),
                      ("remove", "br-app", "8088"), ("apply",), ("flush",), ("check",)):
            result = refused(*words, prefix=prefix)
            expect_match("root|CAP_NET_ADMIN|privilege", result.err, f"reason for {words[0]}")


@case("as nobody: --help, --version and usage errors as ever")
def _():
    need("setpriv")
    expect_eq(lab.nb("--help", prefix=NOBODY).rc, 0, "--help")
    expect_eq(lab.nb("--version", prefix=NOBODY).rc, 0, "--version")
    expect_eq(lab.nb("add", "br-app", "0", prefix=NOBODY).rc, 2, "usage")


@case("read-only rules directory: said as such, nothing changed")
def _():
    lab.good("add", "br-app", "8088")
    sh(f"mount --bind {lab.rules} {lab.rules} && mount -o remount,ro,bind {lab.rules}")
    try:
        for words in (("add", "br-app", "8089"), ("remove", "br-app", "8088"),
                      ("add", "br-app", "8088:9", "--replace")):
            refused(*words, text="read-only")
        lab.good("check")
        lab.good("apply")
        lab.good("add", "br-two", "1", "--runtime")
        lab.good("list")
    finally:
        sh(f"umount {lab.rules}")


@case("a full disk: said as such, nothing changed, nothing left behind")
def _():
    os.mkdir(lab.rules)
    sh(f"mount -t tmpfs -o size=64k,mode=755 lab-small {lab.rules}")
    try:
        lab.good("add", "br-app", "8088")
        fill(lab.rules + "/fill")
        refused("add", "br-app", "8089", text="no space|full")
        lab.good("remove", "br-app", "8088")
    finally:
        sh(f"umount {lab.rules}")


def fill(path):
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 512)
        except OSError:
            pass


@case("out of inodes: said as such, nothing changed")
def _():
    os.mkdir(lab.rules)
    sh(f"mount -t tmpfs -o nr_inodes=4,mode=755 lab-small {lab.rules}")
    try:
        lab.good("add", "br-app", "8088")
        for number in range(8):
            try:
                open(f"{lab.rules}/fill{number}", "w").close()
            except OSError:
                break
        refused("add", "br-app", "8089", text="no space|full")
    finally:
        sh(f"umount {lab.rules}")


@case("umask: neither an open nor a closed one spoils directory and files")
def _():
    for mask in (0o000, 0o077, 0o777):
        lab.reset()
        result = lab.nb("add", "br-app", "8088", prefix=("sh", "-c", f'umask {mask:o}; exec "$@"',
                                                         "sh"))
        expect(result.rc == 0, f"umask {mask:o}: {result}")
        expect_eq(stat.S_IMODE(os.stat(lab.rules).st_mode), 0o755, f"umask {mask:o}: directory")
        mode = stat.S_IMODE(os.stat(lab.rules + "/iface.br-app-8088-tcp.json").st_mode)
        expect(mode & 0o022 == 0 and mode & 0o400, f"umask {mask:o}: file {mode:o}")
        lab.good("apply")


@case("lock: a second writer waits, gives up in time, and names the holder")
def _():
    need("strace")
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=/^rename",
            "-e", "inject=/^rename:delay_enter=6000000"]
    holder = subprocess.Popen(slow + lab.command("add", "br-app", "8088"),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
    try:
        locked = wait_for(lambda: "br-app" in lab.ruleset(), 5)
        expect(locked, "the slow add never came to its batch")
        for wait, least, most in (("0", 0, 2), ("1s", 0.9, 4)):
            result = lab.nb("add", "br-app", "8089", "--wait", wait)
            expect(result.rc == 1, f"--wait {wait}: expected exit 1 of {result}")
            expect(least <= result.seconds <= most, f"--wait {wait}: {result}")
            expect_match(r"lock|another", result.err, "message")
            expect_match(r"\b\d+\b.*add|add.*\b\d+\b|process \d+|pid \d+", result.err, "holder")
        for words in (("list",), ("check",), ("add", "br-app", "8090", "--dry-run")):
            result = lab.nb(*words)
            expect(result.rc in (0, 3) and result.seconds < 2, f"no lock for readers: {result}")
        expect(holder.poll() is None, "the holder ended too early for this test")
        result = lab.nb("add", "br-app", "8089")
        expect(result.rc == 0, f"with the default wait: {result}")
    finally:
        holder.wait(20)
    expect_eq(holder.returncode, 0, "the slow add")
    expect(lab.json("check").get("in_sync"), "in sync")
    locks = [name for name in os.listdir("/run/nat-bridge") if name.endswith(".lock")]
    inode = os.stat("/proc/self/ns/net").st_ino
    expect_eq(sorted(locks), [f"{inode}.lock", "rules.lock"], "the locks' names")
    expect_eq(stat.S_IMODE(os.stat("/run/nat-bridge").st_mode) & 0o077 &
              stat.S_IMODE(os.stat(f"/run/nat-bridge/{inode}.lock").st_mode), 0, "root only")


@case("no place for the lock: said, nothing changed")
def _():
    lab.good("add", "br-app", "1")
    lab.good("remove", "br-app", "1")
    shutil.rmtree("/run/nat-bridge")
    with open("/run/nat-bridge", "w"):
        pass
    try:
        refused("add", "br-app", "8088", text="/run/nat-bridge")
    finally:
        os.unlink("/run/nat-bridge")


@case("output that cannot be written gives a failure")
def _():
    lab.good("add", "br-app", "8088")
    for words in (("list",), ("list", "--json"), ("check", "--json"), ("--help",), ("--version",),
                  ("apply", "--dry-run")):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(lab.command(*words), stdout=full, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, timeout=20)
        expect(done.returncode not in (0, 3), f"{words} > /dev/full: exit {done.returncode}")
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(lab.command(*words), stdout=writer, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=20)
        os.close(writer)
        expect(done.returncode != 0, f"{words} into a closed pipe: exit {done.returncode}")


@case("started with closed standard files it writes into nothing of its own")
def _():
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        lab.reset()
        done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *lab.command("add", "br-app",
                              "8088")], capture_output=True, timeout=20)
        expect(done.returncode == 0 or ">&-" in closed, f"{closed}: exit {done.returncode}")
        result = lab.nb("check")
        expect(result.rc == 0, f"{closed}: {result}")
        with open(lab.rules + "/iface.br-app-8088-tcp.json") as file:
            json.load(file)


def strace(*inject):
    need("strace")
    words = ["strace", "-f", "-qq", "-o", "/dev/null"]
    for item in inject:
        words += ["-e", item]
    return words


@case("a kernel without netlink or nf_tables: said, nothing changed")
def _():
    lab.good("add", "br-app", "8088")
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    for words in (("add", "br-app", "8089"), ("remove", "br-app", "8088"), ("apply",), ("flush",)):
        result = refused(*words, prefix=strace("trace=socket",
                                               "inject=socket:error=EPROTONOSUPPORT"),
                         env=environment)
        expect_match("netlink|nf_tables|kernel", result.err, "message")
    for number in range(1, 6):
        before = lab.snapshot()
        result = lab.nb("add", "br-app", "8089", env=environment, prefix=strace(
            "trace=socket", f"inject=socket:error=EPROTONOSUPPORT:when={number}"))
        if result.rc == 0:
            break
        expect(result.rc == 1 and result.err.startswith("nat-bridge: "), f"socket {number}: {result}")
        lab.same(before, lab.snapshot(), f"socket {number}")


@case("a newer schema in the kernel is left alone")
def _():
    lab.good("add", "br-app", "8088")
    table = lab.ruleset().replace('comment "schema 2"', 'comment "schema 3"')
    sh("nft delete table inet nat-bridge")
    subprocess.run(["nft", "-f", "-"], input=table, text=True, check=True)
    for words in (("add", "br-app", "8089"), ("remove", "br-app", "8088"), ("apply",),
                  ("flush",)):
        refused(*words, text="schema|newer")
    result = lab.nb("check")
    expect(result.rc in (1, 3), f"{result}")


@case("list: a table that a person reads, empty or not")
def _():
    result = lab.good("list")
    expect(len(result.out.splitlines()) <= 2, f"{result}")
    lab.good("add", "br-app", "8088", "15432:5432", "53/udp")
    result = lab.good("list")
    for word in ("br-app", "8088", "15432", "127.0.0.1:5432", "udp", "active"):
        expect(word in result.out, f"{word} is not in {result.out}")
    expect("\x1b" not in result.out, "no colours into a pipe")
    widths = {len(line.rstrip()) for line in result.out.splitlines()}
    expect(max(widths) <= 120, f"wide: {result.out}")


@case("list NETWORK shows that network alone")
def _():
    lab.good("add", "br-app", "8088")
    lab.good("add", "br-two", "8089")
    for name in ("br-two", "iface:br-two"):
        expect_eq([m["port"] for m in lab.json("list", name)["mappings"]], [8089], name)


run(before=lab.reset)
