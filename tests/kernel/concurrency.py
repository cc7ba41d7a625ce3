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

lab = enter(__file__, containers=False, needs=("nft", "ip", "iptables-nft"))
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
    subprocess.run("iptables-nft -D INPUT -s 192.0.2.9 -j ACCEPT;"
                   "nft flush set inet site noise", shell=True, capture_output=True)
    expect(lab.ruleset() == first, f"ruleset differs:\n{first}\n{lab.ruleset()}")


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


subprocess.run(["nft", "-f", "-"], input=SITE, text=True, check=True)
subprocess.run("iptables-nft -P INPUT DROP", shell=True, check=True)
os.mkdir(lab.rules)
first = lab.ruleset()
run()
