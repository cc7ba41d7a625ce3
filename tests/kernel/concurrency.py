#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Many writers at once: 8 processes add while nft and iptables-nft commit in loops.

Every commit of another tool makes our generation stale; the lock orders our own.
All adds must succeed, each foreign chain must hold one opener, check must be in
sync. 8 × 10 adds by default, 8 × 50 with --full.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, containers=False, needs=("nft", "ip", "iptables-nft", "strace"))
WRITERS = 8
EACH = 50 if arguments.full else 10

SITE = """
table inet site {
	set noise { type ipv4_addr; }
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
	}
}
table ip late {
	chain input {
		type filter hook input priority 10; policy drop;
	}
}
"""


class Noise:
    """A shell loop in the background that commits without end."""

    def __init__(self, body):
        self.count_file = f"{lab.dir}/noise-{abs(hash(body))}"
        self.process = subprocess.Popen(
            ["bash", "-c", f"n=0; while :; do {body}; n=$((n + 1)); echo $n > {self.count_file}; "
                           "sleep 0.02; done"], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        try:
            with open(self.count_file) as file:
                return int(file.read() or 0)
        except (OSError, ValueError):
            return 0


def noises():
    return [Noise("nft add element inet site noise '{ 192.0.2.1 }'; "
                  "nft delete element inet site noise '{ 192.0.2.1 }'"),
            Noise("iptables-nft -A INPUT -s 192.0.2.9 -j ACCEPT; "
                  "iptables-nft -D INPUT -s 192.0.2.9 -j ACCEPT")]


def quieten():
    """What the noise left where it was stopped."""
    subprocess.run("while iptables-nft -D INPUT -s 192.0.2.9 -j ACCEPT; do :; done;"
                   "nft flush set inet site noise", shell=True, capture_output=True)


def writers(verb, count, extra=()):
    """WRITERS processes that run COUNT commands each; (failures, their first messages)."""
    children = []
    for writer in range(WRITERS):
        reader, report = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            bad = []
            for number in range(count):
                port = 10000 + writer * 1000 + number
                bridge = ("br-app", "br-two")[number % 2]
                result = lab.nb(verb, bridge, str(port), "--wait", "120s", *extra, timeout=300)
                if result.rc != 0:
                    bad.append(str(result))
            os.write(report, json.dumps([len(bad), [b[:400] for b in bad[:2]]]).encode())
            os._exit(0)
        os.close(report)
        children.append((pid, reader))
    failed, messages = 0, []
    for pid, reader in children:
        with os.fdopen(reader, "rb") as file:
            data = json.loads(file.read() or b'[99, ["the writer died"]]')
        os.waitpid(pid, 0)
        failed += data[0]
        messages += data[1]
    return failed, messages


def openers():
    text = lab.ruleset()
    found = {}
    for table in re.split(r"^(?=table )", text, flags=re.M):
        head = table.split(" {", 1)[0]
        if head and "nat-bridge" not in head:
            found[head] = sum('"nat-bridge"' in line for line in table.splitlines())
    saved = subprocess.run(["iptables-nft", "-S", "INPUT"], capture_output=True, text=True).stdout
    found["iptables"] = saved.count("nat-bridge")
    return found


@case(f"{WRITERS} × {EACH} adds while nft and iptables-nft commit")
def _():
    noise = noises()
    started = time.monotonic()
    try:
        failed, messages = writers("add", EACH)
    finally:
        commits = [n.stop() for n in noise]
    note(f"{time.monotonic() - started:.1f} s, foreign commits {commits}")
    expect(min(commits) > 0, f"the other tools did not commit: {commits}")
    expect_eq(failed, 0, f"failed of {WRITERS * EACH}: {messages}")
    expect_eq(len(os.listdir(lab.rules)), WRITERS * EACH, "rule files")
    live = [m for m in lab.json("list").get("mappings", []) if m["state"] == "active"]
    expect_eq(len(live), WRITERS * EACH, "live mappings")
    counts = openers()
    expect(counts.pop("iptables") == 1 and counts.get("table inet site") == 1
           and counts.get("table ip late") == 1, f"openers: {openers()}")
    value = lab.json("check")
    expect(value.get("in_sync"), f"check: {value}")
    number = generation()
    expect_eq(lab.json("apply").get("changed"), False, "apply: changed")
    expect_eq(generation(), number, "generation")


@case(f"{WRITERS} × {EACH} removes while nft and iptables-nft commit: nothing is left")
def _():
    before = len(os.listdir(lab.rules))
    noise = noises()
    try:
        failed, messages = writers("remove", EACH)
    finally:
        for item in noise:
            item.stop()
    expect(before > 0, "nothing was there to remove")
    expect_eq(failed, 0, f"failed: {messages}")
    expect_eq(os.listdir(lab.rules), [], "rule files")
    quieten()
    expect(lab.ruleset() == first, f"ruleset differs:\n{difference(first, lab.ruleset())}")


@case("adds and removes of one key at once end in one consistent state")
def _():
    children = []
    for verb in ("add", "remove", "apply", "check", "list") * 2:
        words = [verb] + (["br-app", "8088"] if verb in ("add", "remove") else [])
        body = "for i in 1 2 3 4 5; do \"$@\" || exit $?; done" if verb != "check" else \
            "for i in 1 2 3 4 5; do \"$@\"; s=$?; case $s in 0|3) ;; *) exit $s;; esac; done"
        children.append((words, subprocess.Popen(["bash", "-c", body, "sh", *lab.command(*words)],
                                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)))
    for words, child in children:
        out = child.communicate(timeout=120)[0].decode()
        # no rules directory yet, or no more, is for apply and check a plain failure
        expect(child.returncode == 0, f"{words}: exit {child.returncode}: {out[-300:]}")
    lab.good("apply")
    expect(lab.json("check").get("in_sync"), "in sync")
    lab.good("remove", "br-app", "8088")
    expect(lab.ruleset() == first, "the ruleset is as at the beginning")


def batch_number(words):
    """The number of the sendto that carries the first batch of the command."""
    trace = lab.dir + "/trace"
    result = lab.execute(["strace", "-qq", "-o", trace, "-e", "trace=sendto",
                          *lab.command(*words)], env=UNDER_STRACE)
    expect(result.rc == 0, f"{result}")
    with open(trace, errors="replace") as file:
        sends = file.read().splitlines()
    return next(i for i, line in enumerate(sends, 1) if "BATCH_BEGIN" in line)


UNDER_STRACE = {"ASAN_OPTIONS": "detect_leaks=0"}


@case("a commit of another between reading and batch: read again, and everything in its place")
def _():
    for words, undo in ((("add", "br-app", "8088"), ("remove", "br-app", "8088")),):
        number = batch_number(words)
        lab.good(*undo)
        slow = subprocess.Popen(
            ["strace", "-qq", "-o", "/dev/null", "-e", "trace=sendto", "-e",
             f"inject=sendto:delay_enter=2000000:when={number}", *lab.command(*words)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ, **UNDER_STRACE))
        time.sleep(1)  # it has read everything and stands before its batch
        expect("nat-bridge" not in lab.ruleset(), "too late to come between")
        subprocess.run(["nft", "-f", "-"], text=True, check=True, input="""
            table ip between {
                chain input {
                    type filter hook input priority 20; policy drop;
                }
            }""")
        out = slow.communicate(timeout=20)[0].decode()
        expect_eq(slow.returncode, 0, f"exit status: {out}")
        expect_eq(openers().get("table ip between"), 1, "openers in the new chain")
        expect(lab.json("check").get("in_sync"), "in sync")
        subprocess.run("nft delete table ip between", shell=True, check=True)
        lab.good(*undo)
        expect(lab.ruleset() == first, "the ruleset is as at the beginning")


@case("commits of another without end: it gives up after five seconds, nothing changed", full=True)
def _():
    before = (lab.files(), lab.links())
    noise = Noise("nft add element inet site noise '{ 192.0.2.1 }'; "
                  "nft delete element inet site noise '{ 192.0.2.1 }'")
    try:
        result = lab.nb("add", "br-app", "8088", env=UNDER_STRACE, prefix=(
            "strace", "-qq", "-o", "/dev/null", "-e", "trace=sendto", "-e",
            "inject=sendto:delay_enter=120000"))
    finally:
        noise.stop()
    note(f"{result.seconds:.1f} s: {result.err}")
    expect(result.rc == 1, f"{result}")
    expect(4 < result.seconds < 10, f"bounded: {result}")
    expect_match("chang|conflict|busy|again", result.err, "message")
    quieten()
    expect(lab.ruleset() == first, f"ruleset differs:\n{difference(first, lab.ruleset())}")
    lab.same({"files": before[0], "links": before[1]},
             {"files": lab.files(), "links": lab.links()})


subprocess.run(["nft", "-f", "-"], input=SITE, text=True, check=True)
subprocess.run("iptables-nft -P INPUT DROP", shell=True, check=True)
os.mkdir(lab.rules)
first = lab.ruleset()
run()
