#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nat-bridge watch: what it mends, what it leaves alone, what it costs, and that nothing
depends on its memory.

How often it looks is counted by processes: each look is one, and in this PID namespace the
kernel tells the number of the last.
"""
import os
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402
from watcher import Watcher, comes_to_rest, last_pid  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "tc", "iptables-nft"))
SITE = """
flush ruleset
table inet site {
	set blocked { type ipv4_addr; }
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		udp dport 7007 accept
	}
}
"""


def in_sync():
    return lab.nb("check").rc == 0


def heals(what, seconds=10):
    expect(wait_for(in_sync, seconds, 0.05), f"{what}: not mended: {lab.nb('check').out}")


def fresh():
    lab.reset()
    for name in ("br-late", "br-new"):
        sh(f"ip link del {name}", check=False)
    sh("nft -f -", stdin=SITE)
    sh("iptables-nft -P INPUT DROP")
    lab.good("add", "br-app", str(lab.mapped), f"{lab.mapped}/udp")


def reached():
    return wait_for(lambda: lab.tcp(lab.mapped, timeout=1) not in ("refused", "timeout", "reset"), 5)


def done():
    lab.reset()
    sh("nft flush ruleset")


@case("what others break is mended: table, elements, chains, openers, filters")
def _():
    fresh()
    with Watcher(lab) as watcher:
        for command in ("nft flush ruleset", "nft delete table inet nat-bridge",
                        "nft flush chain inet nat-bridge guard", "nft flush set inet nat-bridge accepted",
                        "nft delete element inet nat-bridge bridges { br-app }",
                        "tc filter del dev br-app ingress", "tc qdisc del dev br-app clsact"):
            sh(command)
            heals(command)
            lab.closed(command)
        sh("nft -f -", stdin=SITE)
        heals("a ruleset is loaded")
        expect("nat-bridge" in sh("nft list chain inet site input"), "the opener is there")
        handle = re.search(r'comment "nat-bridge" # handle (\d+)',
                           sh("nft -a list chain inet site input")).group(1)
        sh(f"nft delete rule inet site input handle {handle}")
        heals("an opener is deleted")
        expect_eq(watcher.process.poll(), None, "still there")


@case("bridges that come, go, are renamed and made anew")
def _():
    fresh()
    with Watcher(lab):
        lab.good("add", "iface:br-late", str(lab.mapped))
        sh("ip link add br-late type bridge")
        expect(wait_for(lambda: lab.conf("br-late", "route_localnet") == 1, 5), "a new bridge")
        heals("a new bridge")
        sh("ip link set br-late name br-new")
        expect(wait_for(lambda: lab.conf("br-new", "route_localnet") == 0, 5), "closed when renamed")
        sh("ip link set br-new name br-late")
        expect(wait_for(lambda: lab.conf("br-late", "route_localnet") == 1, 5), "named back")
        for _ in range(5):
            sh("ip link del br-late && ip link add br-late type bridge")
        expect(wait_for(lambda: lab.conf("br-late", "route_localnet") == 1, 5), "made anew")
        heals("made anew")


@case("rule files: written, removed, broken, and a directory that comes later")
def _():
    fresh()
    lab.good("remove", "--all-networks")
    shutil.rmtree(lab.rules)
    with Watcher(lab) as watcher:
        good = {"version": 1, "mappings": [{"network": "iface:br-app", "port": lab.mapped}]}
        lab.write_rules({"one.json": good})
        heals("a file in a directory that is new")
        expect(wait_for(lambda: "br-app" in lab.ruleset(), 5), "it is applied")
        with open(f"{lab.rules}/one.json", "w", encoding="ascii") as file:
            file.write("{ broken")
        expect(wait_for(lambda: "one.json:1" in watcher.said(), 5), "a broken file is named")
        expect("br-app" in lab.ruleset(), "the last good state is kept")
        before = watcher.said()
        sh("nft add table ip noise")
        sh("nft delete table ip noise")
        time.sleep(0.3)
        expect_eq(watcher.said(), before, "it is said once")
        lab.write_rules({"one.json": good})
        heals("mended")
        os.unlink(f"{lab.rules}/one.json")
        expect(wait_for(lambda: "nat-bridge" not in lab.ruleset(), 5), "removed with its file")


@case("runtime mappings come back after a flush of others, and never after our own commands")
def _():
    fresh()
    with Watcher(lab) as watcher:
        lab.good("add", "br-two", "9001", "9002", "--runtime")
        lab.good("add", "br-two", "9003", "--runtime", "--for", "1h")
        comes_to_rest("added")
        for _ in range(3):
            sh("nft flush ruleset")
            expect(wait_for(lambda: lab.ruleset().count('"br-two" . tcp . 900') >= 6, 5),
                   f"all three came back: {lab.ruleset()}\n{watcher.said()}")
        rows = [row for row in lab.json("list")["mappings"] if row["network"] == "iface:br-two"]
        expect_eq([(row["port"], row["origin"], row["expires"] is not None) for row in rows],
                  [(9001, "runtime", False), (9002, "runtime", False), (9003, "runtime", True)], "rows")
        lab.good("remove", "br-two", "9001")
        comes_to_rest("removed")
        sh("nft flush ruleset")
        heals("flushed")
        expect(wait_for(lambda: "9002" in lab.ruleset(), 5), "the other one came back")
        expect(". 9001 " not in lab.ruleset(), "what was removed did not")
        lab.good("remove", "br-two", "9002", "9003")
        sh("nft flush ruleset")
        heals("flushed at once")
        expect(". 9002 " not in lab.ruleset(), "removed and flushed at once: closed")
        lab.good("add", "br-two", "9004", "--runtime")
        lab.good("flush")
        comes_to_rest("our flush")
        expect("nat-bridge" not in lab.ruleset(), "what our flush takes out stays out")
        expect(wait_for(lambda: "flushed" in watcher.said(), 5), "and that is said")
        sh("nft add table ip noise")
        sh("ip link add br-late type bridge")
        comes_to_rest("noise")
        expect("nat-bridge" not in lab.ruleset(), "whatever happens")
        lab.good("apply")
        heals("until apply")
        sh("nft flush ruleset")
        heals("and then it is watched again")
        expect("9004" not in lab.ruleset(), "the runtime mapping ended with our flush")


@case("a mapping that ends: its file is tidied")
def _():
    fresh()
    with Watcher(lab):
        lab.good("add", "br-app", "9005", "--for", "1s")
        path = f"{lab.rules}/iface.br-app-9005-tcp.json"
        expect(os.path.exists(path), "the file")
        expect(wait_for(lambda: not os.path.exists(path), 10), "is gone")
        heals("ended")
        expect(os.path.exists(f"{lab.rules}/iface.br-app-{lab.mapped}-tcp.json"), "others stay")


@case("one at a time; SIGHUP looks; SIGTERM ends it with 0; a dry run is refused")
def _():
    fresh()
    with Watcher(lab) as watcher:
        second = lab.nb("watch", "--json")
        expect_eq((second.rc, second.json["error"]["code"]), (1, "locked"), "a second one")
        expect(str(watcher.process.pid) in second.err, "names the first")
        before = last_pid()
        watcher.process.send_signal(signal.SIGHUP)
        expect(wait_for(lambda: last_pid() > before, 5), "looked")
        expect_eq(watcher.end(), 0, "exit status")
    expect(in_sync(), "its end changes nothing")
    expect_eq(lab.nb("watch", "--dry-run").rc, 2, "dry run")


@case("--json: one object a line")
def _():
    fresh()
    with Watcher(lab, "--json") as watcher:
        sh("nft flush ruleset")
        heals("flushed")
        wait_for(lambda: '"changed":true' in watcher.said(), 5)
        lines = [json.loads(line) for line in watcher.said().splitlines()]
        expect(any(line.get("changed") and len(line["mappings"]) == 2 for line in lines), f"{lines}")


@case("killed at any moment, in the middle of changes: the next one puts all right")
def _():
    fresh()
    for round_ in range(12 if not arguments.full else 60):
        watcher = Watcher(lab)
        sh("nft flush ruleset")
        time.sleep(0.0005 * (round_ % 12))
        watcher.end(signal.SIGKILL)
        lab.closed(f"round {round_}")
    # a look whose watcher was killed ends by itself
    with Watcher(lab):
        heals("the next one")
    expect(reached(), "reached")


@case("nothing happens: no wake-up; 2 MiB at most; descriptors and memory stay flat")
def _():
    fresh()
    with Watcher(lab) as watcher:
        sh("nft flush ruleset")
        heals("flushed")
        # a busy machine takes its time for the last look; one that woke up every second would
        # never be quiet
        expect(wait_for(lambda: watcher.is_quiet(2), 40), "it wakes up although nothing happens")
        descriptors = watcher.descriptors()
        memory = watcher.status("VmRSS")
        note(f"resident: {memory} KiB")
        if not lab.sanitized:
            expect(memory <= 2048, f"{memory} KiB resident")
        anonymous = watcher.status("RssAnon")
        for _ in range(40 if not arguments.full else 400):
            sh("nft flush ruleset")
            sh("nft add table ip noise")
        heals("flushed many times")
        comes_to_rest("flushed many times")
        expect_eq(watcher.descriptors(), descriptors, "descriptors")
        if not lab.sanitized:
            expect(watcher.status("RssAnon") <= anonymous + 64, "anonymous memory grows")


@case("what it mends is one look, of which it does not make another reason")
def _():
    fresh()
    with Watcher(lab) as watcher:
        comes_to_rest("from the beginning")
        for command in ("nft flush ruleset", "nft delete table inet nat-bridge",
                        "tc filter del dev br-app ingress", "tc qdisc del dev br-app clsact",
                        "nft flush chain inet site input", "nft flush ruleset"):
            looks = []
            # the kernel may have something to tell of a device in between: a look of its own
            for _ in range(3):
                if "site" in command:
                    sh("nft -f -", stdin=SITE)
                    comes_to_rest("a ruleset")
                before = last_pid()
                sh(command.split())
                time.sleep(1.5)
                # the command itself is one
                looks.append(last_pid() - before - 1)
                heals(command)
                comes_to_rest(command)
                if looks[-1] == 1:
                    break
            expect(1 in looks, f"{command}: looks: {looks}")
        # and what is no echo is none: a device that others change while it looks
        for _ in range(6):
            sh("nft flush ruleset; ip link set br-app name br-app2; ip link set br-app2 name br-app")
        heals("renamed meanwhile")
        sh("nft flush ruleset; ip link set br-app name br-app2")
        expect(wait_for(lambda: lab.conf("br-app2", "route_localnet") == 0, 5), "closed when renamed")
        sh("ip link set br-app2 name br-app")
        heals("named back")
        expect("again" not in watcher.said(), watcher.said())


@case("a storm slows it to one look a second")
def _():
    fresh()
    with Watcher(lab):
        comes_to_rest("from the beginning")
        before, commits = last_pid(), 0
        nft = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, text=True)
        end = time.monotonic() + 8
        while time.monotonic() < end:
            nft.stdin.write("add table ip noise\ndelete table ip noise\n")
            nft.stdin.flush()
            commits += 2
            time.sleep(0.006)
        nft.communicate()
        looks = last_pid() - before - 1
        note(f"{commits} commits in 8 s: {looks} looks")
        # after 20, 40, ... 640 ms, and then one a second
        expect(7 <= looks <= 18, f"{looks} looks")


@case("a thousand commits of others are a few looks, and blocklists none")
def _():
    fresh()
    with Watcher(lab):
        comes_to_rest("from the beginning")
        before = last_pid()
        commits = "".join(f"add element inet site blocked {{ 192.0.{i // 250}.{i % 250} }}\n"
                          for i in range(1000))
        sh(["nft", "-i"], stdin=commits)
        comes_to_rest("a blocklist")
        expect(last_pid() - before <= 6, f"{last_pid() - before} processes for a blocklist")
        before, began = last_pid(), time.monotonic()
        sh(["nft", "-i"], stdin="add table ip noise\ndelete table ip noise\n" * 500)
        took = time.monotonic() - began
        comes_to_rest("a thousand commits")
        looks = last_pid() - before
        note(f"1,000 commits in {took:.2f} s: {looks} processes")
        expect(looks <= 20 + 10 * took, f"{looks} looks")


@case("a kernel without the classifier: it is said, and that is all")
def _():
    without = {"LD_PRELOAD": os.environ["NB_NO_CLASSIFIER"],
               "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0"}
    fresh()
    lab.good("remove", "--all-networks")

    def says(command, times, **others):
        warnings = lab.json(command, env=without, **others)["warnings"]
        expect_eq(sum("guard: nftables only (tc: " in text for text in warnings), times,
                  f"{command}: {warnings}")
    said = lab.good("add", "br-app", str(lab.mapped), env=without).err
    expect("guard: nftables only (tc: " in said, said)
    expect_eq(lab.ingress(), {}, "nothing is left of the attempt")
    for _ in range(2):
        says("check", 1)
        says("list", 1)
        expect_eq(lab.json("apply", env=without)["changed"], False, "apply")
    # the first look tries, too; those that follow do not
    with Watcher(lab, env=without) as watcher:
        comes_to_rest("from the beginning")
        sh("nft flush ruleset")
        expect(wait_for(lambda: lab.nb("check", env=without).rc == 0, 10), "flushed: mended")
        comes_to_rest("flushed")
        sh("ip link add br-late type bridge")
        lab.good("add", "iface:br-late", "9001", env=without)
        comes_to_rest("another bridge")
        expect(watcher.said().count("nftables only") <= 1, watcher.said())
        says("check", 1)
    # once it is there whoever tries again finds it
    lab.good("apply")
    expect_eq(sorted(lab.ingress()), ["br-app", "br-late"], "filters")
    says("check", 0)


def hangs(connection):
    """Until who asked has had enough."""
    connection.recv(1)


def with_docker():
    """A host with a mapping of one of Docker's networks, and one of a container."""
    fresh()
    docker = FakeEngine(f"{lab.dir}/docker.sock")
    docker.networks = [network("agents", bridge="br-app"), network("others", bridge="br-two")]
    docker.others = {"/events": hangs, "containers/web/json": {
        "HostConfig": {}, "NetworkSettings": {"Networks": {"others": {}}}}}
    lab.good("remove", "--all-networks")
    with open(lab.config, "w", encoding="ascii") as file:
        json.dump({"docker": docker.path, "podman": f"{lab.dir}/none",
                   "podman_networks": f"{lab.dir}/none"}, file)
    lab.good("add", "docker:agents", str(lab.mapped))
    lab.good("add", "container:web", str(lab.mapped))
    lab.good("add", "docker:*", "81", "--except", "others")
    return docker


def is_back(bridge="br-app"):
    text = sh("nft list table inet nat-bridge", check=False)
    return (f'"{bridge}" . tcp . {lab.mapped}' in text and lab.conf(bridge, "route_localnet") == 1
            and lab.ingress().get(bridge))


def heals_soon(command, *bridges):
    """In less time than an engine is given. (`check` would wait for it.)"""
    began = time.monotonic()
    sh(command)
    for bridge in bridges or ("br-app", "br-two"):
        expect(wait_for(lambda bridge=bridge: is_back(bridge), 10, 0.002), f"{command}: {bridge}")
    took = time.monotonic() - began
    expect(took < 2.5, f"{command}: healed after {took:.2f} s")
    return took


BREAK = ("nft flush ruleset", "nft delete table inet nat-bridge",
         "nft flush map inet nat-bridge targets", "tc filter del dev br-app ingress")


@case("an engine that hangs keeps nothing from being mended")
def _():
    docker = with_docker()
    with Watcher(lab) as watcher:
        comes_to_rest("from the beginning")
        for what in ("everything", "containers"):
            if what == "everything":
                docker.raw = hangs
            else:
                docker.raw = None
                docker.others["containers/web/json"] = hangs
            took = [heals_soon(command) for command in BREAK]
            # again and again, at any moment of its waiting
            took += [heals_soon("nft flush ruleset") for _ in range(4)]
            note(f"{what} hangs: healed after {', '.join(f'{t * 1000:.0f}' for t in took)} ms, "
                 f"with the command")
        targets = sh("nft list map inet nat-bridge targets")
        expect_eq(re.findall(r'"(br-...)" \. tcp \. 81\b', targets), ["br-app"],
                  "what a pattern leaves out stays out")
        expect("again and again" not in watcher.said(), watcher.said())
        expect(wait_for(lambda: "did not answer" in watcher.said(), 20), "and it is said")
        # it waits for the engine now, and not with the lock
        watcher.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("containers/web" in path for path in docker.asked), 5)
        began = time.monotonic()
        expect_eq(watcher.end(), 0, "exit status")
        expect(time.monotonic() - began < 2, "its end waits for the engine")
    docker.stop()


@case("nor what is broken while a look mends")
def _():
    docker = with_docker()
    with Watcher(lab):
        comes_to_rest("from the beginning")
        docker.raw = hangs
        heals_soon("nft flush ruleset")
        took = []
        # so few that the watcher does not take it for a fight, which it would leave for seconds
        for milliseconds in range(0, 30, 3):
            # at a pace at which a look begins at once
            time.sleep(1.2)
            took.append(heals_soon(f"nft flush ruleset; sleep {milliseconds / 1000}; nft flush ruleset"))
        note(f"healed after {', '.join(f'{t * 1000:.0f}' for t in took)} ms, with the commands")
    docker.stop()


@case("and when it answers what it says counts")
def _():
    docker = with_docker()
    with Watcher(lab) as watcher:
        comes_to_rest("from the beginning")
        docker.raw = hangs
        heals_soon("nft flush ruleset")
        docker.raw = None
        docker.networks = [network("agents", bridge="br-two")]
        docker.others = {"/events": hangs}
        watcher.process.send_signal(signal.SIGHUP)
        expect(wait_for(lambda: is_back("br-two") and lab.conf("br-app", "route_localnet") == 0, 20),
               "followed")
        heals("followed")
        # what was is not restored
        docker.raw = hangs
        heals_soon("nft flush ruleset", "br-two")
        expect_eq(lab.conf("br-app", "route_localnet"), 0, "not the old one")
        # who adds what the watcher does not know yet finds it there
        docker.raw = None
        docker.networks.append(network("fresh", bridge="br-app"))
        for _ in range(5):
            lab.good("add", "docker:fresh", str(lab.mapped))
            lab.agent().call("connect", "one", lab.gateway, lab.mapped)
            sh("nft add table ip noise")
            sh("nft delete table ip noise")
            comes_to_rest("added")
            expect_eq(lab.agent().call("exchange", "one", 3), "more\n", "its connections live")
            lab.agent().call("hang_up")
            lab.good("remove", "docker:fresh", str(lab.mapped))
            heals("removed")
    docker.stop()


@case("a container that is gone is not remembered")
def _():
    docker = with_docker()
    with Watcher(lab) as watcher:
        comes_to_rest("from the beginning")
        expect(is_back("br-two"), "its bridge is open")
        del docker.others["containers/web/json"]
        watcher.process.send_signal(signal.SIGHUP)
        expect(wait_for(lambda: lab.conf("br-two", "route_localnet") == 0, 10), "closed")
        comes_to_rest("closed")
        # whoever asks waits, so that what is there meanwhile is out of memory
        docker.raw = hangs
        heals_soon("nft flush ruleset", "br-app")
        expect(not wait_for(lambda: lab.conf("br-two", "route_localnet") == 1, 1),
               "a commit of others opens it again")
    docker.stop()


@case("a bridge that is made anew under a name that is remembered may be another network's")
def _():
    for silent in ("hangs", "is stopped"):
        docker = with_docker()
        sh("ip link add br-late type bridge")
        docker.networks.append(network("late", bridge="br-late"))
        lab.good("add", "docker:late", str(lab.mapped))
        with Watcher(lab):
            expect(wait_for(lambda: is_back("br-late"), 5), "it is open")
            comes_to_rest("from the beginning")
            if silent == "hangs":
                docker.raw = hangs
            else:
                docker.stop()
            heals_soon("nft flush ruleset", "br-late")
            sh("ip link del br-late")
            comes_to_rest("deleted", 20)
            sh("ip link add br-late type bridge; nft add table ip noise; nft delete table ip noise")
            expect(not wait_for(lambda: lab.conf("br-late", "route_localnet") == 1, 4),
                   f"an engine that {silent}: open")
        if silent == "hangs":
            docker.stop()


@case("what another nat-bridge learnt when it made the table anew is not undone")
def _():
    docker = with_docker()
    with Watcher(lab) as watcher:
        comes_to_rest("from the beginning")
        watcher.process.send_signal(signal.SIGSTOP)
        sh("nft flush ruleset")
        docker.networks = [network("agents", bridge="br-two")]
        docker.others = {"/events": hangs}
        lab.good("apply")
        expect(is_back("br-two") and lab.conf("br-app", "route_localnet") == 0, "the other has it")
        docker.raw = hangs
        watcher.process.send_signal(signal.SIGCONT)
        expect(not wait_for(lambda: lab.conf("br-app", "route_localnet") == 1, 1.5, 0.005),
               "out of memory, where it was")
        expect(is_back("br-two"), "it stays")
    docker.stop()


@case("what an engine said before another nat-bridge was here is asked again")
def _():
    docker = with_docker()
    sh("ip link add br-late type bridge")
    with Watcher(lab) as watcher:
        comes_to_rest("from the beginning")
        asked = threading.Event()

        def slow(connection):
            body = json.dumps(docker.networks).encode()
            del docker.others["/networks$"]
            asked.set()
            time.sleep(1)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        docker.others["/networks$"] = slow
        watcher.process.send_signal(signal.SIGHUP)
        expect(asked.wait(5), "it asks")
        docker.networks.append(network("fresh", bridge="br-late"))
        lab.good("add", "docker:fresh", str(lab.mapped))
        expect(is_back("br-late"), "added")
        expect(not wait_for(lambda: lab.conf("br-late", "route_localnet") == 0, 2, 0.005),
               "taken away: there was no such network")
        heals("added")
    docker.stop()


@case("events that are lost: it looks, and does not trust its memory")
def _():
    fresh()
    with Watcher(lab) as watcher:
        lab.good("add", "br-two", "9006", "--runtime")
        comes_to_rest("added")
        watcher.process.send_signal(signal.SIGSTOP)
        for i in range(40):
            sh("nft -f -", stdin="".join(f"add rule inet site input ip saddr 192.0.2.{n} counter drop\n"
                                         for n in range(200)))
        sh("nft flush ruleset")
        watcher.process.send_signal(signal.SIGCONT)
        heals("lost")
        expect("9006" not in lab.ruleset(), "what was not seen for certain does not come back")


@case("somebody who undoes it again and again is named once, and the looks become rare")
def _():
    fresh()
    with Watcher(lab) as watcher:
        loop = subprocess.Popen(
            ["bash", "-c", "while :; do nft delete table inet nat-bridge; sleep 0.05; done"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            expect(wait_for(lambda: "again and again" in watcher.said(), 60), "it is said")
            expect("nft" in watcher.said(), "with the program's name")
            before = watcher.said().count("applied")
            wait_for(lambda: False, 3)
            now = watcher.said()
            expect_eq(now.count("again and again"), 1, "once")
            # two lines for each look that mends
            expect(now.count("applied") - before <= 12, f"{now}")
        finally:
            os.killpg(loop.pid, signal.SIGKILL)
            loop.wait()
        heals("when they have stopped", 60)


@case("and so is who takes away the filters at the ingress")
def _():
    for command in ("tc qdisc del dev br-app clsact", "tc filter del dev br-app ingress"):
        fresh()
        with Watcher(lab) as watcher:
            loop = subprocess.Popen(["bash", "-c", f"while :; do {command}; sleep 0.05; done"],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                    start_new_session=True)
            try:
                expect(wait_for(lambda: "again and again" in watcher.said(), 60),
                       f"{command}: not said: {watcher.said()}")
                wait_for(lambda: False, 3)
                expect_eq(watcher.said().count("again and again"), 1, "once")
            finally:
                os.killpg(loop.pid, signal.SIGKILL)
                loop.wait()
            heals("when they have stopped", 60)


@case("a bridge of the same name that is made anew all the time is nobody's fight")
def _():
    fresh()
    lab.good("add", "iface:br-late", "9007")
    with Watcher(lab) as watcher:
        for _ in range(25):
            sh("ip link add br-late type bridge")
            wait_for(lambda: lab.conf("br-late", "route_localnet") == 1, 5)
            sh("ip link del br-late")
        expect("again and again" not in watcher.said(), watcher.said())


run(done)
