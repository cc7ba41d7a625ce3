#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A kill before each system call, and an error from each.

strace kills the program on its way into the N-th call of a kind, so that the
call is not made: every state between two calls is visited. Afterwards nothing
may be exposed, no foreign rule changed and no file half written; check must
tell the truth; and the next apply must end in what the rule files say.

Then the same with errors from the kernel instead of a kill: the state is as
before, or, in remove and flush after their first batch, on its way forward.

A sample by default, of more commands with --full; every call with --full --all.
"""
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "strace", "iptables-nft", "iptables-nft-restore"))
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0"}

# Both can drop, so each gets an opener, but neither hides what is exposed.
SITE = """
flush ruleset
table inet site {
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
		tcp dport 23 drop
		counter
	}
}
"""
TABLES = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp --dport 23 -j DROP
-A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
COMMIT
"""

# Calls that read or change something outside of the process. A kill before any
# other call gives the same state as a kill before the next one of these.
KINDS = re.compile(r"^(send(to|msg|mmsg)|recv(from|msg)|write|pwrite64|writev|rename(at2?)?|openat|"
                   r"open|creat|unlink(at)?|link(at)?|symlink(at)?|f(data)?sync|sync|flock|fcntl|"
                   r"ftruncate|truncate|fallocate|mkdir(at)?|rmdir|f?chmod(at)?|f?chown(at)?|"
                   r"socket|bind|close|bpf)$")


def fixture():
    """The kernel and the files before each trial: two firewalls, nothing of ours."""
    lab.reset()
    subprocess.run(["nft", "-f", "-"], input=SITE, text=True, check=True)
    subprocess.run(["iptables-nft-restore"], input=TABLES, text=True, check=True)


# Messages that change the kernel; what follows them up to the next message is hot, too.
CHANGES = re.compile(r"BATCH_BEGIN|RTM_SETLINK|RTM_NEWLINK|RTM_(NEW|DEL)(QDISC|TFILTER)|CT_DELETE|"
                     r"SOCK_DESTROY")


def foreign():
    """The ruleset without our table and without openers."""
    text = re.sub(r"^table inet nat-bridge \{.*?^\}\n", "", lab.tidy_ruleset(), flags=re.S | re.M)
    lines = [line for line in text.splitlines()
             if "nat-bridge" not in line and "127.0.0.0/8 meta mark" not in line
             and line and not line.startswith("#")]
    return "\n".join(sorted(lines))


def state():
    files = lab.files() or {}
    return {"ruleset": lab.tidy_ruleset(), "links": lab.links(), "ingress": lab.ingress(),
            "files": {path: (item[0], item[4] if len(item) > 4 else None)
                      for path, item in files.items() if path != "."}}


def states_differ(a, b):
    return "\n".join(difference(a[key], b[key]) for key in a if a[key] != b[key])


class Scenario:
    """A command with what stands before it."""

    def __init__(self, name, before, words, flows=False):
        self.name, self.before, self.words, self.flows = name, before, words, flows

    def prepare(self):
        fixture()
        for words in self.before:
            result = lab.nb(*words)
            if result.rc != 0:
                raise RuntimeError(f"preparing {self.name}: {result}")
        os.makedirs(lab.rules, exist_ok=True)
        if self.flows:
            lab.agent().call("connect", "flow", lab.gateway, 8088)

    def learn(self):
        """The states before and after, and the system calls in their order."""
        self.prepare()
        self.state_before, self.foreign = state(), foreign()
        with tempfile.NamedTemporaryFile(dir=lab.dir) as file:
            result = lab.execute(["strace", "-qq", "-o", file.name, "-e", "signal=none",
                                  *lab.command(*self.words)], env=ENVIRONMENT)
            with open(file.name, errors="replace") as trace:
                lines = trace.read().splitlines()
        if result.rc != 0:
            raise RuntimeError(f"{self.name} fails under strace: {result}")
        self.state_after = state()
        if "add" in self.words:
            expect_eq(self.state_after["ruleset"].count('accept comment "nat-bridge"'), 2, "openers")
        if self.state_after == self.state_before:
            raise RuntimeError(f"{self.name} changes nothing")
        counts, calls = {}, []
        for line in lines:
            found = re.match(r"(\w+)\(", line)
            if not found:
                continue
            kind = found.group(1)
            counts[kind] = counts.get(kind, 0) + 1
            calls.append((kind, counts[kind], line))
        start = next((i for i, call in enumerate(calls) if call[0] == "flock" or
                      call[0] == "fcntl" and "SETLK" in call[2]), 0)
        first = next((i for i, call in enumerate(calls) if "nat-bridge" in call[2]
                      and "execve" not in call[2] or call[0] == "socket"), start)
        self.calls = [call for call in calls[min(first, start):] if KINDS.match(call[0])]
        self.hot = set()
        after_change = False
        for kind, number, line in self.calls:
            if kind.startswith("send"):
                after_change = bool(CHANGES.search(line))
            if after_change or kind.startswith(("rename", "unlink", "link")):
                self.hot.add((kind, number))
        return self.calls

    def strace(self, kind, fault, number):
        return lab.execute(["strace", "-qq", "-o", "/dev/null", "-e", f"trace={kind}", "-e",
                            "signal=none", "-e", f"inject={kind}:{fault}:when={number}",
                            *lab.command(*self.words)], env=ENVIRONMENT)


ONE, TWO = ("add", "br-app", "8088"), ("add", "br-app", "8089:8088")
UDP = ("add", "br-app", "8088/udp")
SCENARIOS = [
    Scenario("add, the first of all", (), ONE),
    Scenario("add, one more", (TWO,), ONE),
    Scenario("remove, the last", (ONE,), ("remove", "br-app", "8088"), flows=True),
    Scenario("remove, one of three", (ONE, TWO, UDP), ("remove", "br-app", "8088"), flows=True),
    Scenario("add --replace", (("add", "br-app", "8088:9000"),), (*ONE, "--replace")),
    Scenario("apply of everything", (ONE, TWO, UDP, ("flush",)), ("apply",)),
    Scenario("flush", (ONE, TWO, UDP, ("add", "br-two", "1")), ("flush",), flows=True),
    Scenario("remove --all-networks", (ONE, UDP, ("add", "br-two", "1")),
             ("remove", "--all-networks")),
    Scenario("add of three, timed", (TWO,), ("add", "br-app", "8088", "8088/udp", "1", "--for",
                                             "1h", "--runtime")),
]


def sample(items, hot, count):
    """All of them with --all, else half of @count from the hot ones, half from the rest."""
    if "--all" in sys.argv:
        return list(items)

    def spread(these, number):
        if len(these) <= number:
            return these
        return [these[i * (len(these) - 1) // max(number - 1, 1)] for i in range(number)]

    chosen = spread([item for item in items if hot(item)], (count + 1) // 2)
    chosen += spread([item for item in items if not hot(item)], count - len(chosen))
    return [item for item in items if item in chosen]


def rule_files(found):
    """Of a state, the files that count."""
    return {path: item for path, item in found["files"].items()
            if not os.path.basename(path).startswith(".")}


def files_whole(what):
    for path, item in (lab.files() or {}).items():
        name = os.path.basename(path)
        if path == ".":
            continue
        expect(re.fullmatch(r"[^.].*\.json|\..+\.json\.(new|gone)", name),
               f"{what}: a strange file {name}")
        if not name.endswith(".new"):
            try:
                json.loads(item[4])
            except ValueError as error:
                expect(False, f"{what}: {name} is not whole ({error}): {item[4]!r}")


def settle(scenario, what, killed):
    """Whatever happened: safe now, named by check, mended by apply."""
    expect_eq(lab.guarded(), "", f"{what}: static guard")
    lab.closed(what)
    now = foreign()
    expect(now == scenario.foreign, f"{what}: foreign rules changed:\n"
                                    f"{difference(scenario.foreign, now)}")
    files_whole(what)
    found = state()
    seen = lab.nb("check", "--json")
    expect(seen.rc in (0, 3), f"{what}: check: {seen}")
    result = lab.nb("apply", "--json")
    expect(result.rc == 0, f"{what}: apply: {result}")
    try:
        changed = result.json.get("changed")
        expect(changed == (seen.rc == 3),
               f"{what}: check gave {seen.rc}, then apply said changed {changed}: {seen.out}")
    except ValueError as error:
        expect(False, f"{what}: {error}: {result}")
    end = lab.nb("check", "--json")
    expect(end.rc == 0, f"{what}: check after apply: {end}")
    expect_eq(lab.guarded(), "", f"{what}: static guard after apply")
    final = state()
    if scenario.words[0] == "flush":
        # apply brings back what the files say, so the end is the beginning
        expect(final == scenario.state_before, 
               f"{what}: the end is not what the files say:\n"
               f"{states_differ(scenario.state_before, final)}")
        return found
    good = final in (scenario.state_before, scenario.state_after)
    if "--all-networks" in scenario.words:
        # several files: a kill may find some removed and some not yet; check was in sync
        good = set(final["files"]) <= set(scenario.state_before["files"])
    if "--runtime" in scenario.words:
        good = all(final[k] in (scenario.state_before[k], scenario.state_after[k]) for k in final)
    expect(good, f"{what}: the end is neither before nor after; against before:\n"
                 f"{states_differ(scenario.state_before, final)}")
    if killed and scenario.words[0] == "remove" and "--all-networks" not in scenario.words:
        begun = set(found["files"]) != set(scenario.state_before["files"])
        expect(final == (scenario.state_after if begun else scenario.state_before),
               f"{what}: a removal that had begun did not end closed")
    if killed and scenario.words[0] == "add" and "--runtime" not in scenario.words:
        committed = rule_files(found) == rule_files(scenario.state_after)
        expect(final == (scenario.state_after if committed else scenario.state_before),
               f"{what}: an add that was not committed did not end closed")
    return found


def kills(scenario, count):
    calls = scenario.learn()
    expect(len(calls) > 5, f"only {len(calls)} calls seen")
    chosen = sample(calls, lambda call: call[:2] in scenario.hot, count)
    note(f"{scenario.name}: {len(chosen)} of {len(calls)} calls")
    missed = []
    for kind, number, line in chosen:
        what = f"killed before {kind} #{number} {line[:70]}"
        scenario.prepare()
        result = scenario.strace(kind, "signal=KILL", number)
        # a dump may come in fewer messages than when the calls were learnt
        if result.rc == 0:
            missed.append(what)
        elif not expect(result.rc in (-9, 137), f"{what}: not killed: {result}"):
            continue
        settle(scenario, what, True)
    expect(len(missed) * 20 <= len(chosen), f"not killed: {missed}")


def errors(scenario, kinds, names, count):
    """Each error from each call of the kinds; output comes when all is done, and is
    contract.py's."""
    calls = [call for call in scenario.learn() if re.match(kinds, call[0])
             and not call[2].startswith(("write(1,", "write(2,"))]
    expect(calls, "no such call")
    # where nothing is changed, two kinds of error are enough
    trials = [(call, name) for at, call in enumerate(calls) for n, name in enumerate(names)
              if call[:2] in scenario.hot or (n - at) % len(names) < 2]
    everything = len(trials)
    trials = sample(trials, lambda trial: trial[0][:2] in scenario.hot, count)
    note(f"{scenario.name}: {len(trials)} of {everything} trials")
    for (kind, number, line), name in trials:
        what = f"{name} from {kind} #{number} {line[:70]}"
        scenario.prepare()
        result = scenario.strace(kind, f"error={name}", number)
        # an unreadable rule file counts as an invalid one
        if not expect(result.rc in (0, 1, 2), f"{what}: {result}"):
            continue
        now = state()
        if result.rc == 0:
            # a .NAME.new that could not be deleted means nothing
            now["files"] = {path: item for path, item in now["files"].items()
                            if not path.endswith(".new")}
            # a kernel that refuses the filter has the other guard
            if "nftables only" in result.err or name == "EPERM" and \
                    (kind == "bpf" or "RTM_NEWQDISC" in line):
                now["ingress"] = scenario.state_after["ingress"]
            expect(now == scenario.state_after, f"{what}: exit 0, but not done: {result}\n"
                                             f"{states_differ(scenario.state_after, now)}")
        elif scenario.words[0] in ("remove", "flush"):
            # before, or on the way forward
            expect(result.err.startswith("nat-bridge: "), f"{what}: no message: {result}")
            if now != scenario.state_before:
                checked = lab.nb("check", "--json")
                expect(checked.rc == 3 or now == scenario.state_after,
                       f"{what}: half done, and check says: {checked}")
        else:
            expect(result.err.startswith("nat-bridge: "), f"{what}: no message: {result}")
            expect(now == scenario.state_before,
                   f"{what}: exit 1, but changed: {result}\n{states_differ(scenario.state_before, now)}")
        settle(scenario, what, False)


for number, scenario in enumerate(SCENARIOS):
    case(f"kill: {scenario.name}", full=number >= 4)(
        lambda scenario=scenario: kills(scenario, 16))

NETLINK = r"send(to|msg)|recv(from|msg)|socket|bpf$"
for number, scenario in enumerate(SCENARIOS):
    case(f"netlink errors: {scenario.name}", full=number not in (0, 2, 6))(
        lambda scenario=scenario: errors(scenario, NETLINK,
                                         ("ENOBUFS", "EPERM", "EINTR", "ENOMEM"), 14))
FILES = r"write|pwrite64|rename|openat|unlink|link|f(data)?sync|ftruncate|mkdir|fchmod|flock"
for number, scenario in enumerate(SCENARIOS):
    if scenario.words[0] == "flush":
        continue
    case(f"file errors: {scenario.name}", full=number not in (1, 3))(
        lambda scenario=scenario: errors(scenario, FILES, ("ENOSPC", "EIO", "EROFS"), 8))


@case("after a failed first add nothing is left, not even a directory")
def _():
    fixture()
    shutil.rmtree(lab.rules, ignore_errors=True)
    before = lab.files()
    result = lab.execute(["strace", "-qq", "-o", "/dev/null", "-e", "trace=/^rename", "-e",
                          "inject=/^rename:error=EIO", *lab.command("add", "br-app", "8088")],
                         env=ENVIRONMENT)
    expect(result.rc == 1, f"{result}")
    expect("nat-bridge" not in lab.ruleset(), "something is left in the kernel")
    expect_eq(lab.links()["br-app"], (0, 0), "device")
    left = [p for p in lab.files() or {} if p != "."]
    expect(before is None and left == [], f"files left: {left}")


run()
