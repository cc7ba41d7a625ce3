#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""States that time, people's hands and other programs make: said rightly, and nothing lost."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402

lab = enter(__file__, containers=False)
# LeakSanitizer does not work under strace
NO_LEAK_CHECK = {"ASAN_OPTIONS": "detect_leaks=0"}


def sh(command):
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def mapping(port, **more):
    return {"network": "iface:br-app", "port": port, **more}


def write(name="hand.json", *mappings):
    with open(f"{lab.rules}/{name}", "w") as file:
        json.dump({"version": 1, "mappings": list(mappings)}, file)


def fresh():
    lab.reset()
    lab.write_rules({})


def states(**others):
    return {(m["origin"], m["port"]): m["state"]
            for m in lab.json("list", **others).get("mappings", [])}


def is_live(port):
    return f". {port} " in lab.ruleset() or f". {port}\n" in lab.ruleset()


PAST, FUTURE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


@case("until: a time that the kernel cannot count is for ever")
def _():
    for until in ("9999-12-31T23:59:59Z", "2610-01-01T00:00:00Z", "2286-11-20T17:46:40Z"):
        fresh()
        write("hand.json", mapping(5, until=until))
        lab.good("apply")
        expect("timeout" not in re.sub("flags timeout", "", lab.ruleset()), f"{until}: no timeout")
        expect(lab.json("check")["in_sync"], f"{until}: in sync")
        expect_eq(lab.json("list")["mappings"][0]["expires"], until, "list says what the file does")
        expect_eq(lab.json("apply")["changed"], False, "a second apply")
    fresh()
    write("hand.json", mapping(5, until="2286-11-20T17:46:39Z"))
    lab.good("apply")
    expect(re.search(r"timeout \d+d", lab.ruleset()), "one that it can count has a timeout")


@case("list: an entry that is over or disabled while the kernel still has it is drift")
def _():
    for more in ({"until": PAST}, {"enabled": False}):
        fresh()
        lab.good("add", "br-app", "5")
        os.unlink(f"{lab.rules}/iface.br-app-5-tcp.json")
        write("hand.json", mapping(5, **more))
        expect_eq(states(), {("file", 5): "drift"}, f"{more}")
        expect_eq(lab.nb("check").rc, 3, f"{more}: check")
        lab.good("apply")
        expect(not is_live(5), f"{more}: closed by apply")
        expect_eq(list(states().values())[0] in ("expired", "disabled"), True, f"{more}: after it")


@case("a runtime mapping beside an entry that is over or disabled is listed, kept and removed")
def _():
    for more in ({"until": PAST}, {"enabled": False}):
        fresh()
        lab.good("add", "br-app", "5", "--runtime")
        write("hand.json", mapping(5, **more))
        got = states()
        expect_eq(got.get(("runtime", 5)), "active", f"{more}: {got}")
        expect(got.get(("file", 5)) in ("expired", "disabled"), f"{more}: {got}")
        lab.good("apply")
        expect(is_live(5), "apply keeps it")
        lab.good("remove", "br-app", "5")
        expect(not is_live(5) and not os.listdir(lab.rules), "remove takes both")


@case("add over an entry that is over asks before it changes a runtime target")
def _():
    fresh()
    lab.good("add", "br-app", "5:6", "--runtime")
    write("hand.json", mapping(5, until=PAST))
    before = lab.snapshot()
    result = lab.nb("add", "br-app", "5:7")
    expect(result.rc == 1 and "--replace" in result.err, f"{result}")
    lab.same(before, lab.snapshot(), "refused")
    lab.good("add", "br-app", "5:7", "--replace")
    expect(lab.json("check")["in_sync"], "in sync")


@case("a file takes a runtime mapping's key over: drift, until apply")
def _():
    fresh()
    lab.good("add", "br-app", "5", "--runtime")
    write("hand.json", mapping(5))
    expect_eq(states(), {("file", 5): "drift"}, "list")
    expect_eq(lab.nb("check").rc, 3, "check")
    lab.good("apply")
    expect_eq(states(), {("file", 5): "active"}, "after apply")


@case("apply --keep-going: a file that went bad loses nothing that its name tells")
def _():
    for text in ("", "{", "\0" * 40, '{"version": 2}'):
        fresh()
        lab.good("add", "br-app", "5", "6/udp")
        lab.good("add", "br-two", "7")
        with open(f"{lab.rules}/iface.br-app-5-tcp.json", "w") as file:
            file.write(text)
        os.unlink(f"{lab.rules}/iface.br-two-7-tcp.json")
        result = lab.nb("apply", "--keep-going")
        expect(result.rc == 4, f"{result}")
        expect([is_live(p) for p in (5, 6, 7)] == [True, True, False], f"{text!r}: live")


@case("apply --keep-going: a file of any name that was emptied takes nothing with it")
def _():
    for text in ("", "\n", "\0" * 40, "{"):
        fresh()
        lab.write_rules({"by-hand.json": {"version": 1, "mappings": [mapping(5), mapping(6)]}})
        lab.good("apply")
        lab.write_rules({"by-hand.json": text})
        result = lab.nb("apply", "--keep-going")
        expect(result.rc == 4, f"{result}")
        expect([is_live(p) for p in (5, 6)] == [True, True], f"{text!r}: live")


@case("list names the file that the network may stand in")
def _():
    fresh()
    lab.write_rules({"bad.json": '{"mappings": [{"network": "iface:br-app", "port": 99999}]}'})
    for words, rc in ((["br-app"], 2), (["iface:br-app"], 2), (["br-two"], 0), ([], 0)):
        result = lab.nb("list", *words)
        expect((result.rc, "bad.json" in result.err) == (rc, True), f"{result}")


@case("a bridge that came to lead outside: check says that, and not what follows from it")
def _():
    fresh()
    lab.good("add", "br-two", "7")
    sh("ip link add ifb9 type ifb && ip link set ifb9 master br-two")
    try:
        drift = lab.json("check", rc=3)["drift"]
        expect([("refused" in d["what"], d["network"]) for d in drift] == [(True, "iface:br-two")],
               f"{drift}")
        # what the file says already need not be said again
        lab.write_rules({"out.json": {"version": 1, "mappings": [
            {"network": "iface:br-two", "port": 7, "external": True}]}})
        lab.good("apply")
        lab.good("add", "br-two", "7", "--for", "1h")
        expect(lab.nb("add", "br-two", "8").rc == 1, "another port has to be allowed")
    finally:
        sh("ip link del ifb9")


@case("apply --keep-going beside 20,000 live mappings reads a bad file once")
def _():
    fresh()
    lab.write_rules({"many.json": {"version": 1, "mappings": [mapping(p) for p in
                                                              range(1, 20001)]}})
    lab.good("apply")
    os.unlink(f"{lab.rules}/many.json")
    with open(f"{lab.rules}/bad.json", "w") as file:
        file.write('{"iface:br-app": [5, 6, 0000000000000007, 123456] ' + " " * 1000000)
    trace = lab.dir + "/trace"
    result = lab.nb("apply", "--keep-going", prefix=("strace", "-f", "-o", trace, "-e",
                                                     "trace=openat"), timeout=120,
                    env=NO_LEAK_CHECK)
    expect(result.rc == 4, f"{result}")
    with open(trace) as file:
        expect(file.read().count("bad.json") <= 3, "opened a few times at most")
    expect([is_live(p) for p in (5, 6, 7, 8, 123)] == [True, True, True, False, False], "kept")


@case("no rules directory while its mappings are live: remove and list give 1, and say it")
def _():
    fresh()
    lab.good("add", "br-app", "5")
    lab.good("add", "br-app", "6", "--runtime")
    shutil.rmtree(lab.rules)
    before = lab.snapshot()
    result = lab.nb("remove", "br-app", "5")
    expect(result.rc == 1 and lab.rules in result.err, f"{result}")
    result = lab.nb("list", "--json")
    expect(result.rc == 1 and len(result.json["mappings"]) == 2 and
           result.json["error"]["code"] == "no-rules", f"{result}")
    expect(lab.nb("remove", "br-app", "9").rc == 0, "what is not mapped is removed")
    lab.same(before, lab.snapshot(), "all of it")
    lab.good("remove", "br-app", "6")
    lab.good("flush")
    expect(lab.nb("list").rc == 0, "nothing is live: list")


@case("flush needs no rules directory, and none that can be trusted")
def _():
    fresh()
    lab.good("add", "br-app", "5")
    with open(f"{lab.rules}/.x.json.new", "w"):
        pass
    os.chmod(lab.rules, 0o777)
    result = lab.nb("add", "br-app", "6")
    expect(result.rc == 1, f"{result}")
    expect(os.path.exists(f"{lab.rules}/.x.json.new"), "nothing was deleted in such a directory")
    lab.good("flush")
    expect("nat-bridge" not in lab.ruleset(), "flushed")


@case("the rules directory on a read-only file system: apply works, also with a .gone in it")
def _():
    fresh()
    lab.good("add", "br-app", "5")
    shutil.copy(f"{lab.rules}/iface.br-app-5-tcp.json", f"{lab.rules}/.old.json.gone")
    lab.good("flush")
    sh(f"mount --bind {lab.rules} {lab.rules} && mount -o remount,ro,bind {lab.rules}")
    try:
        result = lab.nb("apply")
        expect(result.rc == 0 and "read-only" in result.err, f"{result}")
        expect(is_live(5), "applied")
    finally:
        sh(f"umount {lab.rules}")
    value = lab.json("apply")
    expect_eq(value["changed"], True, "the removal is finished")
    expect(not os.path.exists(f"{lab.rules}/.old.json.gone"), "and its file gone")


@case("a directory below another's that becomes a link is not followed")
def _():
    fresh()
    home, secret = lab.dir + "/home", lab.dir + "/secret"
    os.mkdir(secret, 0o700)
    os.mkdir(home)
    os.chown(home, 65534, 65534)
    os.symlink(secret, home + "/rules.d")
    lab.nb("add", "br-app", "5", rules=home + "/rules.d")
    expect_eq(stat.S_IMODE(os.stat(secret).st_mode), 0o700, "its mode")
    lab.good("remove", "--all-networks", rules=home + "/rules.d")
    shutil.rmtree(home)
    shutil.rmtree(secret)


@case("names of files are printed without what terminals obey, and as valid UTF-8")
def _():
    fresh()
    with open(os.fsencode(f"{lab.rules}/a\x1b[31m") + b"\xff.json", "w") as file:
        json.dump({"version": 1, "mappings": [mapping(5)]}, file)
    for words in (("apply",), ("list",), ("list", "--json"), ("check", "--json"),
                  ("add", "br-app", "5:6"), ("add", "br-app", "5:6", "--json")):
        done = subprocess.run(lab.command(*words), capture_output=True)
        expect(b"\x1b" not in done.stdout + done.stderr, f"{words}: {done}")
        (done.stdout + done.stderr).decode("utf-8")
    os.rename(os.fsencode(f"{lab.rules}/a\x1b[31m") + b"\xff.json",
              os.fsencode(f"{lab.rules}/.a\x1b[31m") + b"\xff.json.gone")
    for words in (("check",), ("check", "--json")):
        done = subprocess.run(lab.command(*words), capture_output=True)
        expect(done.returncode == 3 and b"\x1b" not in done.stdout, f"{words}: {done}")
        done.stdout.decode("utf-8")


@case("a half-done remove says that it changed something")
def _():
    fresh()
    lab.good("add", "br-app", "5")
    result = lab.nb("remove", "br-app", "5", "--json",
                    prefix=("strace", "-f", "-o", "/dev/null", "-e", "trace=unlinkat", "-e",
                            "inject=unlinkat:error=EIO"), env=NO_LEAK_CHECK)
    expect(result.rc == 1 and result.json["changed"] is True, f"{result}")
    expect(not is_live(5), "and it is closed")
    lab.good("apply")
    expect_eq(os.listdir(lab.rules), [], "apply ends it")


@case("a rules directory that two network namespaces share has one writer at a time")
def _():
    fresh()
    holder = subprocess.Popen(
        ["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync", "-e",
         "inject=fsync:delay_enter=3000000:when=1", *lab.command("add", "br-app", "5")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **NO_LEAK_CHECK})
    try:
        expect(wait_for(lambda: any(n.endswith(".new") for n in os.listdir(lab.rules)), 10),
               "the first one writes")
        result = lab.nb("add", "iface:later", "6", "--wait", "0",
                        prefix=("unshare", "-n"))
        expect(result.rc == 1 and result.err.count("add") and "holds the lock" in result.err,
               f"{result}")
        lab.good("add", "iface:later", "6", prefix=("unshare", "-n"))
    finally:
        holder.wait(20)
    expect_eq(sorted(os.listdir(lab.rules)),
              ["iface.br-app-5-tcp.json", "iface.later-6-tcp.json"], "both files")


@case("what cannot be is named with its file, line and key, at apply and at check")
def _():
    fresh()
    write("hand.json", mapping(5), {"network": "iface:lo", "port": 6})
    error = lab.json("apply", rc=1)["error"]
    expect_eq((error["code"], error["file"], error["line"], error["key"]),
              ("loopback", lab.rules + "/hand.json", 1, "mappings[1]"), f"{error}")
    with open(f"{lab.rules}/hand.json", "w") as file:
        json.dump({"version": 1, "mappings": [mapping(5), {"network": "iface:lo", "port": 6}]},
                  file, indent=1)
    error = lab.json("apply", rc=1)["error"]
    expect_eq(error["key"], "mappings[1]", f"{error}")
    drift = lab.json("check", rc=3)["drift"]
    expect(any("hand.json" in d["what"] and d["mend"] == "nat-bridge remove iface:lo 6/tcp"
               for d in drift), f"{drift}")
    result = lab.nb("apply", "--keep-going", "--json")
    expect(result.rc == 4 and is_live(5), f"{result}")
    lab.good("remove", "iface:lo", "6/tcp")
    expect(lab.json("check")["in_sync"], "the mend mends it")


@case("check --strict names the drift as well as what is pending")
def _():
    fresh()
    write("hand.json", mapping(5), {"network": "iface:later", "port": 6})
    result = lab.nb("check", "--strict", "--json")
    expect(result.rc == 1 and len(result.json["drift"]) > 0 and
           result.json["error"]["code"] == "pending" and not result.json["in_sync"], f"{result}")
    lab.good("apply")
    result = lab.nb("check", "--strict")
    expect(result.rc == 1 and "in sync" not in result.out, f"{result}")
    expect_eq(lab.nb("apply", "--strict").rc, 1, "apply --strict of what is applied")


@case("list as a user who may not read the configuration or the rules directory")
def _():
    fresh()
    lab.good("add", "br-app", "5")
    with open(lab.config, "w") as file:
        file.write("{}")
    os.chmod(lab.config, 0o600)
    user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    result = lab.nb("list", "--json", prefix=user)
    expect(result.rc == 0 and len(result.json["mappings"]) == 1, f"{result}")
    os.chmod(lab.rules, 0o700)
    result = lab.nb("list", "--json", prefix=user)
    expect(result.rc == 0 and lab.rules in str(result.json["warnings"]), f"{result}")
    os.chmod(lab.rules, 0o755)


@case("a bridge that is made anew is not opened on account of the one before")
def _():
    for again in (False, True):
        fresh()
        sh("ip link add br-new type bridge; ip link set br-new up")
        lab.set_conf("br-new", "route_localnet", 1)
        lab.good("add", "br-new", "5")
        sh("ip link del br-new; ip link add br-new type bridge; ip link set br-new up")
        if again:
            lab.good("apply")
            expect_eq(lab.conf("br-new", "route_localnet"), 1, "mapped")
        lab.good("remove", "br-new", "5")
        expect_eq((lab.conf("br-new", "route_localnet"), lab.conf("br-new", "tag")), (0, 0),
                  f"after the last remove, apply before it: {again}")
        sh("ip link del br-new")


@case("each set keeps its own counts when an element is made anew")
def _():
    fresh()
    lab.good("add", "br-app", "5", "--for", "2h")
    for name, element, end in (
            ("targets", '"br-app" . tcp . 5', ": 127.0.0.1 . 5"),
            ("accepted", '"br-app" . tcp . 5 . 127.0.0.1 . 5', "")):
        packets = 3 if name == "targets" else 5000
        sh(f"nft delete element inet nat-bridge {name} '{{ {element} }}'")
        sh(f"nft add element inet nat-bridge {name} '{{ {element} counter packets {packets} "
           f"bytes {packets}0 timeout 2h {end} }}'")
    lab.good("add", "br-app", "5")
    got = re.findall(r"packets (\d+) bytes (\d+)", lab.ruleset())
    expect({("3", "30"), ("5000", "50000")} <= set(got), f"counts: {got}")


@case("apply says which bridge it closed a mapping on")
def _():
    fresh()
    lab.good("add", "br-app", "5")
    os.unlink(f"{lab.rules}/iface.br-app-5-tcp.json")
    removed = lab.json("apply")["removed"]
    expect_eq([(m["bridge"], m["port"]) for m in removed], [("br-app", 5)], "removed")


@case("--json and --version, --help; --dry-run where nothing would be changed anyway")
def _():
    expect_match(r"^\d+\.\d+", lab.nb("--version", "--json", bare=True).json["version"], "version")
    expect("Usage" in lab.nb("add", "--help", "--json", bare=True).json["help"], "help")
    fresh()
    for words in (("list", "-n"), ("check", "--dry-run")):
        expect_eq(lab.nb(*words).rc, 0, str(words))


@case("an engine that knows no such network: the nearest; no name, or half of one")
def _():
    fresh()
    docker = FakeEngine(lab.dir + "/docker.sock")
    docker.networks = [network("agents", bridge="br-app"), network("empty", bridge="")]
    with open(lab.config, "w") as file:
        json.dump({"docker": docker.path}, file)
    result = lab.nb("add", "docker:agent", "5")
    expect(result.rc == 0 and "there is agents" in result.err, f"{result}")
    result = lab.nb("apply")
    expect("there is agents" in result.err, f"{result}")
    docker.networks[1]["Id"] = "0123456789ab" * 5
    lab.good("remove", "docker:agent", "5")
    value = lab.json("add", "docker:empty", "5")
    expect("br-0123456789ab" in str(value["warnings"]), f"{value}")
    docker.networks.append(network("half\0name", bridge="br-two"))
    result = lab.nb("add", "half", "5")
    expect(result.rc == 1, f"{result}")
    docker.stop()


run()
