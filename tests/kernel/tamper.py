#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody changes what we put into the kernel: check names it, apply mends it.

Each row tampers with a live set-up of two bridges under two firewalls that drop:
check must exit 3 and name the fault, apply must mend it without opening anything,
and then there is nothing left to do. At the end idempotence and round trips.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "iptables-nft", "iptables-nft-save",
                             "iptables-nft-restore"))

# Two firewalls that drop show that the openers work, but they would also hide what is
# exposed: so most rows run with two that drop something else.
SITE = """
table inet site {
	chain input {
		type filter hook input priority filter; policy %s;
		ct state established,related accept
		udp dport 7007 accept
		tcp dport 23 drop
	}
}
"""


def sh(command, stdin=None):
    done = subprocess.run(command, shell=True, capture_output=True, text=True, input=stdin)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr}")
    return done.stdout


def nft(script):
    sh("nft -f -", script)


prepared, policy = None, None


def prepare(wanted="drop"):
    """The set-up that the rows tamper with; what stands already is left standing."""
    global prepared, policy
    if prepared and wanted == policy and (lab.tidy_ruleset(), lab.links(), lab.files()) == prepared:
        return
    if "br-new" in lab.links():
        sh("ip link set br-new name br-app")
    lab.reset()
    policy = wanted
    nft(SITE % policy)
    sh(f"iptables-nft -P INPUT {policy.upper()};"
       "iptables-nft -A INPUT -p udp --dport 7007 -j ACCEPT;"
       "iptables-nft -A INPUT -p tcp --dport 23 -j DROP;"
       "iptables-nft -A INPUT -m state --state ESTABLISHED -j ACCEPT")
    lab.good("add", "br-app", "8088", "8088/udp")
    lab.good("add", "br-two", "8089:8088")
    lab.good("add", "br-two", "8090:8088", "--for", "1h")
    prepared = (lab.tidy_ruleset(), lab.links(), lab.files())


def handle(chain, pattern, table="inet nat-bridge"):
    """The handle of the first rule of a chain whose text matches."""
    for line in sh(f"nft -a list chain {table} {chain}").splitlines():
        found = re.search(pattern + r".*# handle (\d+)$", line)
        if found:
            return found.group(1)
    raise RuntimeError(f"no rule /{pattern}/ in {table} {chain}")


def delete_rule(chain, pattern, table="inet nat-bridge"):
    sh(f"nft delete rule {table} {chain} handle {handle(chain, pattern, table)}")


def replace_rule(chain, pattern, text):
    sh(f"nft replace rule inet nat-bridge {chain} handle {handle(chain, pattern)} '{text}'")


def reload_table(old, new):
    """The whole table again, with one piece of its text changed."""
    text = sh("nft list table inet nat-bridge")
    changed = re.sub(old, new, text, count=1)
    if changed == text:
        raise RuntimeError(f"/{old}/ is not in the table")
    nft("delete table inet nat-bridge\n" + changed)


def move_opener_back():
    line = re.search(r"^\s*(\S.*accept comment \"nat-bridge\")",
                     sh("nft list chain inet site input"), re.M).group(1)
    delete_rule("input", "nat-bridge", "inet site")
    sh("nft add rule inet site input counter drop")
    sh(f"nft add rule inet site input '{line}'")


def double_opener():
    line = re.search(r"^\s*(\S.*accept comment \"nat-bridge\")",
                     sh("nft list chain inet site input"), re.M).group(1)
    sh(f"nft insert rule inet site input '{line}'")


def double_iptables_opener():
    line = [l for l in sh("iptables-nft -S INPUT").splitlines() if "nat-bridge" in l][0]
    sh("iptables-nft " + line.replace("-A INPUT", "-I INPUT 1"))


def recreate():
    sh("ip link del br-two")
    sh("ip link add br-two address 02:00:00:00:31:01 type bridge; ip addr add 172.31.0.1/24 dev br-two;"
       "ip link set vtwo master br-two; ip link set br-two up")


def gone_file():
    os.rename(f"{lab.rules}/iface.br-app-8088-tcp.json",
              f"{lab.rules}/.iface.br-app-8088-tcp.json.gone")


def edit_file():
    path = f"{lab.rules}/iface.br-app-8088-tcp.json"
    with open(path) as file:
        value = json.load(file)
    value["mappings"][0]["target"] = "127.0.0.1:8090"
    with open(path, "w") as file:
        json.dump(value, file)


TWO = '"br-two" . tcp . 8089'
APP = '"br-app" . tcp . 8088'
FULL_APP = APP + ' . 127.0.0.1 . 8088'

# name, what to do, pattern for "what", flags:
#   foreign  the foreign rules do not come back by themselves
#   other    the mapping set differs afterwards, so compare nothing
#   dark     the mapped port is not reachable afterwards, rightly
TAMPER = [
    ("element deleted from targets",
     lambda: sh(f"nft delete element inet nat-bridge targets '{{ {APP} }}'"),
     "8088|target|element|mapping", ""),
    ("element deleted from accepted",
     lambda: sh(f"nft delete element inet nat-bridge accepted '{{ {FULL_APP} }}'"),
     "8088|accepted|element|mapping", ""),
    ("both maps flushed",
     lambda: sh("nft flush map inet nat-bridge targets; nft flush set inet nat-bridge accepted"),
     "8088|8089|element|mapping", ""),
    ("extra element in targets",
     lambda: sh("nft add element inet nat-bridge targets '{ \"br-app\" . tcp . 9999 : "
                "127.0.0.1 . 9090 }'"), "9999|9090", ""),
    ("extra element in accepted",
     lambda: sh("nft add element inet nat-bridge accepted '{ \"br-app\" . tcp . 9999 . "
                "127.0.0.1 . 9090 }'"), "9999|9090|accepted", ""),
    ("an element of targets for every port",
     lambda: sh("nft add element inet nat-bridge targets '{ * : 127.0.0.1 . 9090 }'"),
     "element|damaged", ""),
    ("an element of accepted for everything",
     lambda: sh("nft add element inet nat-bridge accepted '{ * }'"), "element|damaged", ""),
    ("a mapping that no file names",
     lambda: nft('add element inet nat-bridge targets { "br-app" . tcp . 9999 : 127.0.0.1 . 9090 }\n'
                 'add element inet nat-bridge accepted { "br-app" . tcp . 9999 . 127.0.0.1 . 9090 }'),
     "9999|9090", ""),
    ("target changed",
     lambda: nft(f"delete element inet nat-bridge targets {{ {APP} }}\n"
                 f"add element inet nat-bridge targets {{ {APP} : 127.0.0.1 . 9090 }}"),
     "8088|target", ""),
    ("permanent element made a timed one",
     lambda: nft(f"delete element inet nat-bridge targets {{ {APP} }}\n"
                 f"add element inet nat-bridge targets {{ {APP} timeout 1h : 127.0.0.1 . 8088 }}"),
     "8088|expir|time", ""),
    ("timed element made a permanent one",
     lambda: nft('delete element inet nat-bridge accepted { "br-two" . tcp . 8090 . 127.0.0.1 . 8088 }\n'
                 'add element inet nat-bridge accepted { "br-two" . tcp . 8090 . 127.0.0.1 . 8088 }'),
     "8090|expir|time", ""),
    ("first guard rule gone", lambda: delete_rule("guard", "ip daddr"), "guard|rule|chain", ""),
    ("second guard rule gone", lambda: delete_rule("guard", "ip saddr"), "guard|rule|chain", ""),
    ("accept inserted before the guard",
     lambda: sh("nft insert rule inet nat-bridge guard accept"), "guard|rule|chain", ""),
    ("rule appended behind the guard",
     lambda: sh("nft add rule inet nat-bridge guard counter"), "guard|rule|chain", ""),
    ("guard emptied", lambda: sh("nft flush chain inet nat-bridge guard"), "guard|rule|chain", ""),
    ("guard looks at one fixed device",
     lambda: replace_rule("guard", "ip daddr", 'ip daddr 127.0.0.0/8 iifname "br-two" counter drop'),
     "guard|rule|chain", ""),
    ("guard for a smaller network",
     lambda: replace_rule("guard", "ip daddr", "ip daddr 127.0.0.0/16 iifname @bridges counter drop"),
     "guard|rule|chain", ""),
    ("guard counts without dropping",
     lambda: replace_rule("guard", "ip daddr", "ip daddr 127.0.0.0/8 iifname @bridges counter"),
     "guard|rule|chain", ""),
    ("guard behind the NAT: wrong priority",
     lambda: reload_table(r"hook prerouting priority raw;", "hook prerouting priority 300;"),
     "guard|priority|chain", ""),
    ("translate at another priority",
     lambda: reload_table(r"priority dstnat - 10;", "priority dstnat - 5;"),
     "translate|priority|chain", ""),
    ("guard with policy drop",
     lambda: sh("nft chain inet nat-bridge guard '{ policy drop; }'"), "guard|policy|chain", ""),
    ("chain spoofed deleted",
     lambda: sh("nft delete chain inet nat-bridge spoofed"), "spoofed|chain", ""),
    ("chain unmark deleted",
     lambda: sh("nft delete chain inet nat-bridge unmark"), "unmark|chain", ""),
    ("chain admit emptied", lambda: sh("nft flush chain inet nat-bridge admit"), "admit|chain", ""),
    ("chain admit-late emptied",
     lambda: sh("nft flush chain inet nat-bridge admit-late"), "admit-late|chain", ""),
    ("chain egress emptied",
     lambda: sh("nft flush chain inet nat-bridge egress"), "egress|chain", ""),
    ("chain translate emptied",
     lambda: sh("nft flush chain inet nat-bridge translate"), "translate|chain", ""),
    ("last drop of mapped gone",
     lambda: delete_rule("mapped", "counter packets \\d+ bytes \\d+ drop"), "mapped|rule|chain", ""),
    ("last drop of answers gone",
     lambda: delete_rule("answers", "counter packets \\d+ bytes \\d+ drop"),
     "answers|rule|chain", ""),
    ("accept inserted into mapped",
     lambda: sh("nft insert rule inet nat-bridge mapped accept"), "mapped|rule|chain", ""),
    ("anonymous set of mapped changed",
     lambda: reload_table(r"(chain mapped \{\s*meta l4proto) \{ tcp, udp \}", r"\1 { tcp, sctp }"),
     "mapped|rule|chain", ""),
    ("another mark in mapped",
     lambda: reload_table(r"meta mark set meta mark \| 0x10000000 accept",
                          "meta mark set meta mark | 0x20000000 accept"),
     "mapped|mark|rule|chain", ""),
    ("two rules of answers swapped",
     lambda: reload_table(r"(chain answers \{\n)(.*?\n)(.*?\n)", r"\1\3\2"),
     "answers|rule|chain", ""),
    ("an extra chain in our table",
     lambda: nft("table inet nat-bridge {\n chain extra {\n type filter hook prerouting priority "
                 "-400; policy accept;\n }\n}\n"), "extra|chain|table", ""),
    ("an extra set in our table",
     lambda: sh("nft add set inet nat-bridge extra '{ type ipv4_addr; }'"), "extra|set|table", ""),
    ("a set without its timeout flag",
     lambda: strip_timeout(), "accepted|set|flag|table|8090", ""),
    ("table dormant",
     lambda: sh("nft add table inet nat-bridge '{ flags dormant; }'"), "dormant|table", ""),
    ("table deleted", lambda: sh("nft delete table inet nat-bridge"), "table|guard|br-app", ""),
    ("nft flush ruleset", lambda: sh("nft flush ruleset"), "table|guard|br-app", "foreign"),
    ("table emptied of chains",
     lambda: sh("nft flush table inet nat-bridge"), "guard|chain|rule", ""),
    ("element gone from bridges",
     lambda: sh("nft delete element inet nat-bridge bridges '{ \"br-app\" }'"),
     "br-app|bridges|guard", ""),
    ("bridges flushed", lambda: sh("nft flush set inet nat-bridge bridges"),
     "br-app|br-two|bridges|guard", ""),
    ("extra element in bridges",
     lambda: sh("nft add element inet nat-bridge bridges '{ \"vtwo\" }'"), "vtwo|bridges", ""),
    ("another network in the comment of bridges",
     lambda: nft('delete element inet nat-bridge bridges { "br-app" }\n'
                 'add element inet nat-bridge bridges { "br-app" comment "iface:br-none" }'),
     "br-app|br-none|comment|bridges", ""),
    ("schema comment gone",
     lambda: reload_table(r'\tcomment "schema 2"\n', ""), "schema|table", ""),
    ("an older schema",
     lambda: reload_table('comment "schema 2"', 'comment "schema 1"'), "schema|table", ""),
    ("native opener gone",
     lambda: delete_rule("input", "nat-bridge", "inet site"), "opener|accept|site|input", ""),
    ("native opener doubled", double_opener, "opener|accept|site|input|twice", ""),
    ("native opener behind a drop", move_opener_back, "opener|accept|site|input", "foreign"),
    ("a rule before the native opener that takes the mark away",
     lambda: sh("nft insert rule inet site input meta mark set 0"),
     "opener|accept|site|input", "foreign"),
    ("a rule before the native opener that leaves it to the policy",
     lambda: sh("nft insert rule inet site input meta l4proto tcp return"),
     "opener|accept|site|input", "foreign"),
    ("opener in iptables gone",
     lambda: sh("iptables-nft -D INPUT 1"), "opener|accept|INPUT|filter", ""),
    ("opener in iptables doubled", double_iptables_opener, "opener|accept|INPUT|twice", "foreign"),
    ("all foreign chains flushed",
     lambda: sh("nft flush chain inet site input; iptables-nft -F INPUT;"
                "iptables-nft -A INPUT -p udp --dport 7007 -j ACCEPT;"
                "nft add rule inet site input udp dport 7007 accept;"
                "nft add rule inet site input ct state established,related accept;"
                "iptables-nft -A INPUT -m state --state ESTABLISHED -j ACCEPT"),
     "opener|accept|site|INPUT", "foreign"),
    ("a new chain that drops",
     lambda: sh("nft add table ip late; nft add chain ip late in '{ type filter hook input "
                "priority 7; policy drop; }'; nft add rule ip late in udp dport 7007 accept;"
                "nft add rule ip late in ct state established,related accept"),
     "opener|accept|late", "foreign"),
    ("route_localnet off", lambda: lab.set_conf("br-app", "route_localnet", 0),
     "route_localnet", ""),
    ("tag cleared", lambda: lab.set_conf("br-app", "tag", 0), "tag|route_localnet", ""),
    ("tag of another device", lambda: lab.set_conf("vtwo", "tag", 0x6e620000),
     "vtwo|tag", ""),
    ("tagged device with route_localnet and without guard",
     lambda: (lab.set_conf("vtwo", "route_localnet", 1), lab.set_conf("vtwo", "tag", 0x6e620000)),
     "vtwo", ""),
    ("bridge renamed", lambda: sh("ip link set br-app name br-new"), "br-app|br-new",
     "other dark"),
    ("bridge recreated", recreate, "route_localnet|tag|br-two", ""),
    ("an unfinished removal", gone_file, "8088|removal|unfinished|gone", "other dark"),
    ("rule file deleted by hand",
     lambda: os.unlink(f"{lab.rules}/iface.br-app-8088-tcp.json"), "8088", "other dark"),
    ("rule file changed by hand", edit_file, "8088|8090", "other dark"),
]


def strip_timeout():
    text = sh("nft list table inet nat-bridge")
    head, tail = text.split("set accepted {", 1)
    body, rest = tail.split("\n\t}", 1)
    body = body.replace("flags timeout", "size 65535") if "flags timeout" in body else body
    body = re.sub(r" timeout \S+ expires \S+", "", body)
    nft("delete table inet nat-bridge\n" + head + "set accepted {" + body + "\n\t}" + rest)


def tampered(change, pattern, flags):
    prepare("drop" if "opener" in pattern else "accept")
    before, links = lab.tidy_ruleset(), lab.links()
    expect_eq(before.count('accept comment "nat-bridge"'), 2, "openers")
    change()
    was_closed = lab.raw() == []
    files = lab.files()
    state = {**lab.snapshot(), "ruleset": lab.tidy_ruleset()}
    value = lab.json("check", rc=3)
    expect_eq(value.get("in_sync"), False, "in_sync")
    expect(any(re.search(pattern, d.get("what", ""), re.I) for d in value.get("drift", [])),
           f"no drift matches /{pattern}/: {value.get('drift')}")
    lab.same(state, {**lab.snapshot(), "ruleset": lab.tidy_ruleset()}, "check")
    result = lab.nb("check")
    expect(result.rc == 3 and re.search(pattern, result.out + result.err, re.I), f"{result}")
    work = lambda: lab.json("apply")  # noqa: E731
    value = lab.flooded(work, "during apply") if was_closed else work()
    expect_eq(value.get("changed"), True, "apply: changed")
    if "other" not in flags:
        expect_eq(lab.files(), files, "rule files")
    value = lab.json("check")
    expect(value.get("in_sync"), f"after apply: {value}")
    number = generation()
    value = lab.json("apply")
    expect_eq(value.get("changed"), False, f"second apply: {value}: changed")
    expect_eq(generation(), number, "generation after the second apply")
    if not flags:
        after = lab.tidy_ruleset()
        expect(after == before, f"ruleset differs\n{difference(before, after)}")
        expect_eq(lab.links(), links, "devices")
    expect_eq(lab.guarded(), "", "guard")
    if "br-new" not in lab.links():
        lab.closed("after apply")
        if "dark" not in flags:
            expect_eq(lab.tcp(8088), "tcp 127.0.0.1:8088", "the mapped port")
            expect_eq(lab.tcp(8089, name="two"), "tcp 127.0.0.1:8088", "the other bridge's")
    else:
        expect_eq(lab.links()["br-new"], (0, 0), "the renamed bridge is released")
        sh("ip link set br-new name br-app")
        expect_eq(lab.json("apply").get("changed"), True, "apply after the name is back")
        expect_eq(lab.tcp(8088), "tcp 127.0.0.1:8088", "the mapped port")


# what needs the firewalls that drop comes last: a change of the set-up takes time
TAMPER.sort(key=lambda row: "opener" in row[2])
table_cases([("tamper: " + row[0], *row[1:]) for row in TAMPER], tampered)


# ---------------------------------------------------------------- idempotence


@case("idempotence: no batch and no changed for a second add, apply, remove, flush")
def _():
    prepare()
    commands = (("add", "br-app", "8088"), ("add", "br-app", "8088", "8088/udp"), ("apply",),
                ("remove", "br-app", "9999"), ("remove", "br-none", "8088"),
                ("remove", "iface:br-none", "--all"), ("add", "br-two", "8089:8088"))
    for words in commands:
        before = lab.snapshot()
        value = lab.json(*words)
        expect_eq(value.get("changed"), False, f"{words}: changed")
        lab.same(before, lab.snapshot(), " ".join(words))
    lab.good("flush")
    before = lab.snapshot()
    expect_eq(lab.json("flush").get("changed"), False, "second flush")
    lab.same(before, lab.snapshot(), "flush")
    lab.good("remove", "--all-networks")
    before = lab.snapshot()
    expect_eq(lab.json("remove", "--all-networks").get("changed"), False, "second remove")
    expect_eq(lab.json("apply").get("changed"), False, "apply of nothing")
    lab.same(before, lab.snapshot(), "remove")


@case("round trip: nft list, delete, nft -f; check is in sync")
def _():
    prepare()
    table = sh("nft list table inet nat-bridge")
    nft("delete table inet nat-bridge\n" + table)
    value = lab.json("check")
    expect(value.get("in_sync"), f"{value}")
    number = generation()
    expect_eq(lab.json("apply").get("changed"), False, "changed")
    expect_eq(generation(), number, "generation")
    expect_eq(lab.tcp(8088), "tcp 127.0.0.1:8088", "the mapped port")
    whole = sh("nft list ruleset")
    # iptables' own matches do not load from text in every version, so its table apart
    nft("delete table inet site\ndelete table inet nat-bridge\n" +
        "\n".join(sh(f"nft list table {t}") for t in ("inet site", "inet nat-bridge")))
    expect(lab.json("check").get("in_sync"), "with the foreign table")
    expect("comment \"nat-bridge\"" in whole, "the opener")


@case("round trip: iptables-save | iptables-restore leaves one opener, gone after remove")
def _():
    prepare()
    for _ in range(2):
        saved = sh("iptables-nft-save")
        sh("iptables-nft-restore", saved)
    expect_eq(sh("iptables-nft -S INPUT").count("nat-bridge"), 1, "openers")
    value = lab.json("check")
    expect(value.get("in_sync"), f"{value}")
    expect_eq(lab.json("apply").get("changed"), False, "changed")
    expect_eq(lab.tcp(8088), "tcp 127.0.0.1:8088", "the mapped port")
    lab.good("remove", "--all-networks")
    expect("nat-bridge" not in sh("iptables-nft -S") + lab.ruleset(), "something is left")


@case("after the last remove, and after flush, everything is as before")
def _():
    prepare()
    lab.good("remove", "--all-networks")
    for device in ("br-app", "br-two"):
        for previous in (0, 1):
            lab.set_conf(device, "route_localnet", previous)
            rules, saved, links = lab.ruleset(), sh("iptables-nft-save -c"), lab.links()
            strip = lambda t: re.sub(r"^#.*$", "", t, flags=re.M)  # noqa: E731
            for end in (("remove", device, "1"), ("flush",)):
                lab.good("add", device, "1", "--runtime" if end[0] == "flush" else "--quiet")
                lab.good(*end)
                expect_eq(lab.ruleset(), rules, f"{end}: ruleset")
                expect_eq(strip(sh("iptables-nft-save -c")), strip(saved), f"{end}: iptables")
                expect_eq(lab.links(), links, f"{end}: devices")
        lab.set_conf(device, "route_localnet", 0)


@case("what ends by itself is no drift, and not hidden by an earlier apply")
def _():
    prepare()
    lab.good("remove", "--all-networks")
    lab.good("add", "br-app", "8088")
    lab.good("add", "br-two", "9", "--runtime", "--for", "1s")
    lab.good("apply")
    lab.good("apply")
    expect(wait_for(lambda: "expires" not in lab.ruleset(), 5), "the runtime mapping ends")
    expect(lab.json("check").get("in_sync"), "what the kernel ended is nobody's to mend")
    expect_eq(lab.json("apply").get("changed"), True, "apply takes its guard away: changed")
    expect("br-two" not in lab.ruleset(), "the guard is gone")
    expect(lab.json("check").get("in_sync"), "in sync after apply")
    expect_eq(lab.json("apply").get("changed"), False, "and again: changed")


@case("an apply of the same wish with another mark, or other files, is not skipped")
def _():
    prepare()
    lab.good("remove", "--all-networks")
    lab.good("add", "br-app", "8088")
    lab.good("apply")
    with open(lab.config, "w") as file:
        file.write('{"mark": 536870912}')
    lab.json("check", rc=3)
    expect_eq(lab.json("apply").get("changed"), True, "another mark: changed")
    expect("0x20000000" in lab.ruleset(), "the new mark")
    expect("0x10000000" not in lab.ruleset(), "the old mark is gone, from the openers, too")
    expect_eq(lab.tcp(8088), "tcp 127.0.0.1:8088", "the mapped port")
    os.unlink(lab.config)
    expect_eq(lab.json("apply").get("changed"), True, "the mark back: changed")
    other = lab.dir + "/other.d"
    lab.write_rules({}, other)
    expect_eq(lab.json("apply", rules=other).get("changed"), True, "an empty directory: changed")
    expect("nat-bridge" not in lab.ruleset(), "all is gone")
    expect_eq(lab.json("apply").get("changed"), True, "the old directory: changed")


@case("somebody else's tag is left alone, and the previous route_localnet kept all the same")
def _():
    prepare()
    lab.good("remove", "--all-networks")
    for previous in (0, 1):
        lab.set_conf("br-app", "tag", 4711)
        lab.set_conf("br-app", "route_localnet", previous)
        result = lab.good("add", "br-app", "8088")
        expect_match("tag", result.err, "a warning")
        expect_eq(lab.links()["br-app"], (1, 4711), "while mapped")
        expect(lab.json("check").get("in_sync"), "in sync")
        expect_eq(lab.json("apply").get("changed"), False, "apply: changed")
        lab.good("remove", "br-app", "8088")
        expect_eq(lab.links()["br-app"], (previous, 4711), "after remove")
    lab.set_conf("br-app", "tag", 0)
    lab.set_conf("br-app", "route_localnet", 0)


run()
