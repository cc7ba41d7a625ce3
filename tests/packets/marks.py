#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Others who use packet marks: who uses our bit is named by `add` and `check`, with a bit that is
free, and with that one there is nothing to name; who uses others is not. Where it is not plain what
a rule does to packets of mappings, packets show it."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "iptables-nft", "conntrack"))
PORT = 11434  # that is dialled; the service is at lab.mapped
REACHED = f"tcp 127.0.0.1:{lab.mapped}"
BRIDGE_NF = "/proc/sys/net/bridge/bridge-nf-call-iptables"
SETTINGS = {f"/proc/sys/net/ipv4/conf/{device}/{name}": "0" for device in ("all", "br-app")
            for name in ("rp_filter", "src_valid_mark")}
if os.path.exists(BRIDGE_NF):
    SETTINGS[BRIDGE_NF] = "0"
RULES = {family: sh(f"ip -{family} rule list") for family in (4, 6)}
OURS = "bit 0x10000000 of the packet mark, which nat-bridge sets"
TUN = "ip tuntap add dev tun0 mode tun; ip addr add 10.8.0.2/24 dev tun0; ip link set tun0 up"


def set_to(path, value):
    with open(path, "w") as file:
        file.write(value)


def nft(text, hook="prerouting", priority=0, family="inet", more="", kind="filter"):
    """A chain of somebody's."""
    return (f"nft -f - <<'NFT'\ntable {family} site {{\n{more}\nchain {hook} {{\ntype {kind} hook "
            f"{hook} priority {priority};\n{text}\n}}\n}}\nNFT\n")


def ipt(*rules, table="mangle"):
    return "\n".join(f"iptables-nft -t {table} {rule}" for rule in rules) + "\n"


def fresh():
    for path, value in SETTINGS.items():
        set_to(path, value)
    for family, rules in RULES.items():
        now = sh(f"ip -{family} rule list")
        for line in now.splitlines():
            if line not in rules.splitlines():
                sh(f"ip -{family} rule del pref {line.split(':')[0]}")
        if "0:\tfrom all lookup local" not in sh(f"ip -{family} rule list"):
            sh(f"ip -{family} rule add pref 0 lookup local")
    sh("ip route flush table 100; ip link del tun0", check=False)
    lab.reset()
    lab.write_rules({})
    with open(lab.config, "w") as file:
        file.write("{}")
    sh("conntrack -F 2>/dev/null", check=False)


def warnings_of(*words):
    return [w for w in lab.json(*words)["warnings"] if "listens" not in w]


def reaches():
    sh("conntrack -F 2>/dev/null", check=False)
    return lab.tcp(PORT, timeout=1.5) == REACHED


def named_once(pattern):
    """What `add` says, which is one warning; `check` says the same."""
    found = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}")
    if expect_eq(len(found), 1, f"warnings of add: {found}"):
        expect_match(pattern, found[0], "add")
    expect_eq(warnings_of("check"), found, "check says the same")
    return found[0] if found else ""


def take_free(warning):
    """Do what it says."""
    bit = re.search(r'"mark": "(0x[0-9a-f]+)"', warning)
    if not expect(bit, f"a bit that is free: {warning}"):
        return 0
    with open(lab.config, "w") as file:
        json.dump({"mark": bit[1]}, file)
    lab.good("apply")
    return int(bit[1], 16)


PREFIX_BITS = "0xf0000000"
NAMED = [
    # --- asked for
    ("a mask", nft(f"meta mark & {PREFIX_BITS} == 0x10000000 accept", "forward"),
     r"used by rule \d+ of chain inet site forward \(meta mark & 0xf0000000 == 0x10000000 accept\), "
     "which asks for it"),
    ("a value", nft("meta mark 0x10000001 accept", "forward"), "chain inet site forward .* asks for"),
    ("a set", nft("meta mark { 1, 0x10000000 } counter", "output"), "asks for it"),
    ("a set with intervals", nft("meta mark @s counter", "output", more="""set s {
        type mark; flags interval; elements = { 3-5, 0x0f000000-0x1fffffff } }"""), "asks for it"),
    ("a range of which no bound has it", nft("meta mark 0x0f000000-0x2fffffff counter", "output"),
     r"\(meta mark >= 0xf000000 meta mark <= 0x2fffffff\)"),
    ("all but a range", nft("meta mark != 0x10000000-0x1fffffff counter", "output"),
     r"\(meta mark != 0x10000000-0x1fffffff\)"),
    ("one field of several", nft("ip saddr . meta mark { 10.0.0.1 . 0x10000000 } counter", "output"),
     "asks for it"),
    ("the same with networks", nft("ip saddr . meta mark @s counter", "output", more="""set s {
        type ipv4_addr . mark; flags interval
        elements = { 10.0.0.0/8 . 0x0f000000-0x10000000 } }"""), "asks for it"),
    ("a verdict map", nft("meta mark vmap { 1 : accept, 0x10000000 : drop }", "forward"),
     "asks for it"),
    ("a verdict map with a mask", nft("meta mark & 0xff000000 vmap { 0x01000000 : accept }",
                                      "forward"), "asks for it"),
    ("a match of iptables", ipt("-A FORWARD -m mark --mark 0x10000000/0x30000000 -j ACCEPT"),
     r"rule \d+ of chain ip mangle FORWARD \(.* accept\), which asks for it"),
    ("a match that is inverted", ipt("-A FORWARD -m mark ! --mark 0x0/0xf0000000 -j ACCEPT"),
     "asks for it"),
    # --- set
    ("or", nft("meta mark set meta mark | 0x10000000", "forward"), "which sets it"),
    ("a whole mark that has it", nft("meta mark set 0x10000002", "output"), "which sets it"),
    ("a mark by a map", nft("meta mark set tcp dport map { 22 : 0x1, 443 : 0x10000000 }", "output"),
     "which sets it"),
    ("a mark by a named map", nft(
        "meta mark set tcp dport map @m", "output",
        more="map m { type inet_service : mark; elements = { 22 : 0x10000000 } }"), "which sets it"),
    ("numbers in turn", nft("meta mark set numgen inc mod 4 offset 0x10000000", "output"),
     "which sets it"),
    ("hashes that come to it", nft("meta mark set jhash ip saddr mod 0x20000000", "output"),
     "which sets it"),
    ("a map by numbers in turn", nft("meta mark set numgen inc mod 2 map { 0 : 1, 1 : 0x10000000 }",
                                     "output"), "which sets it"),
    ("a shift that sets it", nft("meta mark set meta mark << 4", "output"), "which sets it"),
    ("MARK with a mask", ipt("-A FORWARD -j MARK --set-xmark 0x10000000/0x10000000"),
     r"\(-j MARK\), which sets it"),
    ("MARK without one", ipt("-A OUTPUT -j MARK --set-mark 0x10000000"), "which sets it"),
    # --- cleared, by one who leaves others
    ("and", nft("meta mark set meta mark & 0x0fffffff", "forward"), "which clears it"),
    ("MARK that clears it", ipt("-A FORWARD -j MARK --and-mark 0xff"), "which clears it"),
    # --- from the mark of connections, which may have it
    ("a connection's mark that has it", nft("ct mark set 0x10000000", "output") + ipt(
        "-A PREROUTING -j CONNMARK --restore-mark"),
     r"rule \d+ of chain ip mangle PREROUTING \(-j CONNMARK\), which sets it as the mark"),
    ("the same the other way round", ipt("-A OUTPUT -j CONNMARK --set-mark 0x10000000") + nft(
        "meta mark set ct mark", "prerouting", -150), "which sets it as the mark of a connection"),
    ("a connection's mark that somebody asks for", ipt(
        "-A OUTPUT -m connmark --mark 0x10000000/0x10000000 -j CONNMARK --restore-mark"),
     "which sets it as the mark of a connection"),
    ("CONNMARK with masks of its own", ipt(
        "-A OUTPUT -j CONNMARK --restore-mark --nfmask 0xf0000000 --ctmask 0xf0000000"),
     "which clears it"),
    # --- real ones
    ("Calico's default mask", ipt(
        "-N cali-PREROUTING", "-A PREROUTING -j cali-PREROUTING",
        "-A cali-PREROUTING -m mark --mark 0x10000/0x10000 -j ACCEPT",
        "-N cali-from-endpoint-mark",
        "-A cali-PREROUTING -j cali-from-endpoint-mark",
        "-A cali-from-endpoint-mark -m mark --mark 0xbd700000/0xfff00000 -j ACCEPT",
        "-A cali-PREROUTING -j MARK --set-xmark 0x0/0xf0000"),
     r"rule \d+ of chain ip mangle cali-from-endpoint-mark"),
    ("a mark of all upper bits, to balance links", ipt(
        "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffff0000 --ctmask 0xffff0000"),
     "which clears it"),
    ("a rule of policy routing", "ip rule add pref 100 fwmark 0x10000000/0x10000000 lookup 100\n",
     'used by ip rule "100: from all fwmark 0x10000000/0x10000000 lookup 100", which routes by it'),
    ("one of no mark there", "ip rule add pref 100 fwmark 0/0xf0000000 lookup 100\n",
     'ip rule "100: from all fwmark 0x0/0xf0000000 lookup 100"'),
    ("one for all others", "ip rule add pref 100 not fwmark 0x10000000/0xf0000000 lookup 100\n",
     'ip rule "100: not from all fwmark 0x10000000/0xf0000000 lookup 100"'),
    ("several at once", "ip rule add pref 100 fwmark 0x10000000 lookup 100\n"
     + ipt("-A PREROUTING -i eth9 -j MARK --set-xmark 0x10000000/0xf0000000",
           "-A FORWARD -m mark --mark 0x10000000/0xf0000000 -j ACCEPT"),
     r"rule \d+ of chain ip mangle (PREROUTING|FORWARD) .*, which (sets|asks for) it \(and 2 more\)"),
]


def named(setup, pattern):
    sh("set -e\n" + setup)
    warning = named_once(OURS + ".*" + pattern)
    expect(reaches(), "it works nevertheless")
    expect("0x10000000" not in lab.ruleset() or take_free(warning) & 0xf0000000 != 0x10000000,
           "another bit")
    expect_eq(warnings_of("check"), [], "with that nothing is to be said")
    expect(reaches(), "reached with another bit")


table_cases(NAMED, named)

SILENT = [
    ("Tailscale", ipt(
        "-A FORWARD -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000",
        "-A FORWARD -m mark --mark 0x40000/0xff0000 -j ACCEPT",
        "-A PREROUTING -m conntrack --ctstate RELATED,ESTABLISHED -j CONNMARK --restore-mark "
        "--nfmask 0xff0000 --ctmask 0xff0000",
        "-A OUTPUT -m conntrack --ctstate NEW -m mark ! --mark 0x0/0xff0000 -j CONNMARK --save-mark "
        "--nfmask 0xff0000 --ctmask 0xff0000") + """
        ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main
        ip rule add pref 5250 fwmark 0x80000/0xff0000 unreachable
        ip rule add pref 5270 lookup 52"""),
    ("Cilium", ipt(
        "-A PREROUTING -m socket --transparent -m mark ! --mark 0xe00/0xf00 ! -i lo -j MARK "
        "--set-xmark 0x200/0xffffffff", "-A PREROUTING -p tcp -m mark --mark 0x6cd20200 -j TPROXY "
        "--on-port 53868 --on-ip 127.0.0.1 --tproxy-mark 0x200/0xffffffff",
        "-A POSTROUTING -m mark --mark 0xe00/0xf00 -j ACCEPT") + ipt(
        "-A PREROUTING -m mark --mark 0x200/0xf00 -j CT --notrack",
        "-A OUTPUT -m mark --mark 0xa00/0xfffffeff -j CT --notrack", table="raw")
     .replace("/0xfffffeff", "/0xf00") + """
        ip rule add pref 9 fwmark 0x200/0xf00 lookup 2004
        ip rule add pref 10 fwmark 0xa00/0xf00 lookup 2005
        ip rule add pref 100 lookup local; ip rule del pref 0"""),
    ("kube-proxy and kube-router", ipt(
        "-N KUBE-MARK-MASQ", "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-A PREROUTING -p tcp --dport 30000 -j KUBE-MARK-MASQ",
        "-A POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A POSTROUTING -j MARK --set-xmark 0x4000/0x0", table="nat") + ipt(
        "-A FORWARD -m mark --mark 0x8000/0x8000 -j DROP",
        "-A FORWARD -m mark ! --mark 0x20000/0x20000 -j MARK --set-xmark 0x10000/0x10000",
        table="filter")),
    ("Calico without kube-proxy's IPVS: of its upper half it uses the lowest", ipt(
        "-A PREROUTING -m mark --mark 0x10000/0x10000 -j ACCEPT",
        "-A PREROUTING -i cali+ -j MARK --set-xmark 0x40000/0x40000",
        "-A FORWARD -j MARK --set-xmark 0x0/0xe0000")),
    ("wg-quick with all traffic through the tunnel", TUN + """
        ip route add default dev tun0 table 100
        ip rule add pref 101 not fwmark 51820 table 100
        ip rule add pref 100 table main suppress_prefixlength 0
        echo 1 >/proc/sys/net/ipv4/conf/all/src_valid_mark
        echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter
        nft -f - <<'NFT'
        table ip wg-quick-wg0 {
            chain preraw {
                type filter hook prerouting priority -300
                iifname != "tun0" ip daddr 10.8.0.2 fib saddr type != local drop
            }
            chain premangle {
                type filter hook prerouting priority -150
                meta l4proto udp meta mark set ct mark
            }
            chain postmangle {
                type filter hook postrouting priority -150
                meta l4proto udp mark 0x0000ca6c ct mark set mark
            }
        }\nNFT"""),
    ("Mullvad", nft("ct mark 0xf41 meta mark set 0x6d6f6c65\n"
                    "meta mark 0x6d6f6c65 accept", "output", 0, "inet", kind="route")
     + "ip rule add pref 101 not fwmark 0x6d6f6c65 lookup 100\n"),
    ("Docker's swarm", ipt("-A PREROUTING -p tcp --dport 8443 -j MARK --set-mark 0x101",
                           "-A OUTPUT -d 10.0.0.5 -j MARK --set-mark 0x102",
                           "-A INPUT -d 10.0.0.5 -j MARK --set-mark 0x102")),
    ("firewalld's forward ports", ipt("-A PREROUTING -p tcp --dport 81 -j MARK --set-mark 0x64")
     + ipt("-A INPUT -m mark --mark 0x64 -j ACCEPT", "-A FORWARD -m mark --mark 0x64 -j ACCEPT",
           table="filter")),
    ("Istio", ipt(
        "-A PREROUTING -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark",
        "-A OUTPUT -p tcp -m connmark --mark 0x539 -j CONNMARK --restore-mark",
        "-A PREROUTING -p tcp -s 127.0.0.6 -i lo -j MARK --set-mark 0x53a",
        "-A INPUT -p tcp -m mark --mark 0x539 -j CONNMARK --save-mark") + """
        ip rule add pref 100 fwmark 0x539 lookup 100
        ip route add local 0.0.0.0/0 dev lo table 100"""),
    ("OVN-Kubernetes", ipt("-A PREROUTING -i br-ext -j MARK --set-mark 0x1745ec")
     + "ip rule add pref 30 fwmark 0x1745ec lookup 100\nip rule add pref 5999 fwmark 0x3f0 lookup 100\n"),
    ("mwan3", ipt(
        "-N mwan3_hook", "-A PREROUTING -j mwan3_hook", "-A OUTPUT -j mwan3_hook",
        "-A mwan3_hook -m mark --mark 0x0/0x3f00 -j CONNMARK --restore-mark --nfmask 0x3f00 "
        "--ctmask 0x3f00", "-A mwan3_hook -m mark --mark 0x0/0x3f00 -j MARK --set-xmark 0x100/0x3f00",
        "-A mwan3_hook -j CONNMARK --save-mark --nfmask 0x3f00 --ctmask 0x3f00",
        "-A INPUT -j CONNMARK --save-mark --nfmask 0x3f00 --ctmask 0x3f00")
     + "ip rule add pref 2001 fwmark 0x100/0x3f00 lookup 100\n"),
    ("Amazon's CNI", ipt(
        "-A PREROUTING -i eth0 -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK "
        "--set-xmark 0x80/0x80", "-A PREROUTING -i eni+ -j CONNMARK --restore-mark --nfmask 0x80 "
        "--ctmask 0x80") + "ip rule add pref 1024 fwmark 0x80/0x80 lookup main\n"),
    ("a transparent proxy", nft("meta l4proto tcp iifname \"eth9\" meta mark set 1", priority=-150)
     + "ip rule add pref 100 fwmark 1 lookup 100\nip route add local 0.0.0.0/0 dev lo table 100\n"),
    # --- marks of connections
    ("whole marks of two links, put into connections before ours", ipt(
        "-A PREROUTING -j CONNMARK --restore-mark",
        "-A PREROUTING -i eth8 -m mark --mark 0 -j MARK --set-mark 1",
        "-A PREROUTING -i eth9 -m mark --mark 0 -j MARK --set-mark 2",
        "-A PREROUTING -j CONNMARK --save-mark", "-A OUTPUT -j CONNMARK --restore-mark",
        "-A POSTROUTING -j CONNMARK --save-mark")
     + "ip rule add pref 100 fwmark 1 lookup 100\nip rule add pref 101 fwmark 2 lookup 100\n"),
    ("the same in nft", nft("meta mark set ct mark\nct mark set meta mark", priority=-150)
     + nft("meta mark set ct mark", "output", -150, kind="route")
     + nft("ct mark set meta mark", "postrouting", 0)),
    ("a restore where nobody stores it", ipt("-A INPUT -j CONNMARK --restore-mark")
     + nft("meta mark set ct mark", priority=0)),
    ("a mark of connections that has it, and comes to no packet", ipt(
        "-A PREROUTING -j CONNMARK --set-mark 0x10000000",
        "-A FORWARD -m connmark --mark 0x10000000/0x10000000 -j ACCEPT")),
    ("a save of one mark", nft("meta mark 5 ct mark set meta mark", "input")
     + nft("ct mark set meta mark & 0xff", "input")),
    # --- whole marks, where packets of mappings have ours
    ("whole marks that packets of mappings have not", nft(
        "meta mark 1 ct mark set 1\nmeta mark 2-5 ct mark set 2\nmeta mark { 6, 9 } ct mark set 3\n"
        "meta mark vmap { 7 : accept }\niifname \"eth9\" meta mark != 0 ct mark set 4")
     + ipt("-A INPUT -m mark --mark 0x64 -j MARK --set-mark 0x65")),
    ("a whole mark of nothing, on the way of others", nft("meta mark 0 ct mark set 1", "output")
     + nft("meta mark 0 meta mark set 5", "prerouting", -150)
     + nft("meta mark != 0 ct mark set 1", "postrouting")),
    ("a whole mark that is counted and told", nft("meta mark 0 counter\nmeta mark != 0 counter", "input")),
    ("whole marks behind an opener", ipt("-P INPUT DROP", "-A INPUT -m mark ! --mark 0 -j CONNMARK "
                                         "--save-mark", table="filter")),
    ("a whole mark that is set", nft("meta mark set 0x2", "prerouting", -50)
     + nft("meta mark set numgen inc mod 4 offset 100\n"
           "meta mark set jhash ip saddr mod 16 offset 0x200", "output")),
    ("masks that leave ours", nft("meta mark set meta mark & 0xffffff00 | 0x1\n"
                                  "meta mark & 0xff == 1 accept\nct mark set ct mark | 0x10",
                                  "input")),
    # --- another family
    ("tables of IPv6", nft("meta mark & 0x10000000 == 0x10000000 accept", "forward", family="ip6")
     + nft("meta nfproto ipv6 meta mark set meta mark | 0x10000000\n"
           "ip6 saddr 2001:db8::/32 meta mark 0x10000000 accept", "forward", family="inet")
     + "ip6tables-nft -t mangle -A FORWARD -j MARK --set-xmark 0x10000000/0x10000000\n"
       "ip -6 rule add pref 100 fwmark 0x10000000/0x10000000 lookup 100\n"),
    ("a table that is switched off", nft("meta mark set meta mark | 0x10000000", "forward",
                                         more="flags dormant")),
]


def silent(setup):
    sh("set -e\n" + setup)
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "add")
    expect(reaches(), "reached")
    expect_eq(warnings_of("check"), [], "check")


table_cases(SILENT, silent)

# --- What is done to packets ---


@case("our bit in a rule of policy routing, where the mark counts for the way back")
def _():
    set_to("/proc/sys/net/ipv4/conf/br-app/rp_filter", "1")
    sh("ip rule add pref 100 fwmark 0x10000000/0x10000000 lookup 100\n"
       "ip route add blackhole default table 100")
    warning = named_once("ip rule \"100: .*which routes by it")
    expect(reaches(), "reached: the local table comes first")
    set_to("/proc/sys/net/ipv4/conf/br-app/src_valid_mark", "1")
    expect(not reaches(), "dropped: the way back is asked for with our mark")
    take_free(warning)
    expect(reaches(), "another bit mends it")
    expect_eq(warnings_of("check"), [], "check")


@case("our bit in a rule of policy routing before the local table's")
def _():
    sh("ip rule add pref 200 lookup local; ip rule del pref 0\n"
       "ip rule add pref 100 fwmark 0x10000000/0xf0000000 prohibit")
    warning = named_once("ip rule \"100: .*prohibit\"")
    expect(not reaches(), "dropped")
    take_free(warning)
    expect(reaches(), "another bit mends it")


@case("our bit stored in connections, and given to the answers")
def _():
    sh(ipt("-A INPUT -j CONNMARK --save-mark", "-A OUTPUT -j CONNMARK --restore-mark")
       + "ip rule add pref 101 not fwmark 0/0xffffffff prohibit")
    warning = named_once(
        r"rule \d+ of chain ip mangle INPUT \(-j CONNMARK\), which stores it in the mark of "
        r"connections.*: let it use a mask that leaves 0x10000000 out")
    expect("\"mark\"" not in warning, "no other bit would help")
    expect(not reaches(), "answers are marked, and routed by that")
    sh("iptables-nft -t mangle -R INPUT 1 -j CONNMARK --save-mark --nfmask 0xefffffff "
       "--ctmask 0xefffffff")
    expect(reaches(), "with such a mask they are not")
    expect_eq(warnings_of("check"), [], "check")
    for rule in ("ct mark set meta mark", "meta mark != 0 ct mark set meta mark",
                 "meta mark 0 accept\nct mark set meta mark | 0x1"):
        fresh()
        sh(nft(rule, "input", -10) + nft("meta mark set ct mark", "output", -150, kind="route")
           + "ip rule add pref 101 not fwmark 0/0xffffffff prohibit")
        found = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}")
        expect_eq(len(found), 1, f"{rule}: {found}")
        expect_match("chain inet site input .* which stores it", found and found[0], rule)
        expect(not reaches(), f"{rule}: answers are marked")


def count():
    """Packets of the only counter."""
    return int(re.search(r"counter packets (\d+)", sh("nft list table inet site"))[1])


@case("a rule for what has no mark, which does not see that of mappings")
def _():
    sh(nft("ip daddr 127.0.0.0/8 meta mark 0 counter ct mark set 7"))
    named_once(r"^rule \d+ of chain inet site prerouting \(ip daddr 127.0.0.0/8 meta mark 0x0 ct mark "
               r"set \.\.\.\) asks for the whole packet mark.*: let it ask for mark & 0xefffffff$")
    expect(reaches(), "reached")
    expect_eq(count(), 0, "packets that it matched")
    sh("nft flush chain inet site prerouting")
    sh(nft("ip daddr 127.0.0.0/8 meta mark & 0xefffffff == 0 counter ct mark set 7"))
    expect_eq(warnings_of("check"), [], "check")
    expect(reaches(), "reached")
    expect(count() > 0, "with a mask it matches")


@case("a mark of somebody's, with ours in it: what compares it as a whole")
def _():
    early = nft("iifname \"br-app\" meta mark set 1", priority=-150)
    for rule, reached, warned in (
            ("meta mark 1 ct mark set 7", True, "asks for the whole packet mark"),
            ("meta mark { 1, 2 } jump other", True, "asks for the whole packet mark"),
            ("meta mark & 0xff == 1 ct mark set 7", True, ""),
            ("meta mark 2 ct mark set 7", True, ""),
            # past a drop, as an opener leads past one
            ("meta mark 1 drop", True, ""),
            ("meta mark & 0xff == 1 drop", False, r"dropped by rule \d+ of chain inet site late"),
            ("meta mark 1 accept\ndrop", False, r"dropped by rule \d+ of chain inet site late \(drop")):
        fresh()
        sh(early + "nft -f - <<'NFT'\ntable inet site {\nchain other { }\nchain late {\ntype filter hook "
           "prerouting priority 0;\n" + rule + "\n}\n}\nNFT")
        found = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}")
        expect_eq(reaches(), reached, f"{rule}: reached")
        expect_eq(len(found), 1 if warned else 0, f"{rule}: {found}")
        if found:
            expect_match(warned, found[0], rule)


# With bridge-nf-call-iptables the filter at the bridge's ingress is behind these.
TAKEN = [
    ("a whole mark that is set", nft("meta mark set 0x2", priority=-50), True),
    ("a mark of one port", nft("tcp dport 22 meta mark set 1\ntcp dport 8088 meta mark set 2"), True),
    ("a mark that is set in the bridge", nft("meta mark set 0x2", priority=10, family="bridge"), True),
    ("the mark of a connection, which has none", nft("meta mark set ct mark"), True),
    ("a mark of other bits", nft("meta mark set meta mark & 0xffffff00 | 0x2", priority=-50), False),
    ("a mark of other ports", nft("tcp dport { 22, 8089 } meta mark set 2", priority=-50), False),
    ("a whole mark before ours", nft("meta mark set 2", priority=-150), False),
    ("a mark that is set behind the filter", """nft -f - <<'NFT'
        table netdev site {
            chain late {
                type filter hook ingress device "br-app" priority 0
                meta mark set 2
            }
        }\nNFT\n""", False),
]


def taken(setup, is_taken):
    if not os.path.exists(BRIDGE_NF):
        skip("this kernel has no br_netfilter", kernel=True)
    for setting in (BRIDGE_NF, "/sys/class/net/br-app/bridge/nf_call_iptables"):
        fresh()
        sh(setup)
        expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "without it")
        expect(reaches(), "control: reached without it")
        set_to(setting, "1")
        expect_eq(reaches(), not is_taken, "reached")
        found = warnings_of("check")
        expect_eq(len(found), is_taken, f"{found}")
        if is_taken:
            expect_match(r"packets from br-app to 11434/tcp lose their mark, and are dropped behind "
                         r"that, by rule \d+ of chain (inet|bridge) site prerouting", found[0], "check")
            if setting == BRIDGE_NF:
                findings = lab.nb("doctor", "--json").json["findings"]
                expect_eq([f["code"] for f in findings], ["mark"], "the doctor")
            sh("tc qdisc del dev br-app clsact")
            expect(reaches(), "control: reached where there is no filter")
            expect_eq(lab.nb("check", "--json").json["warnings"], [], "and not a word of it")
            lab.good("apply")
            sh(found[0].rsplit("): ", 1)[1])
            expect(reaches(), "the command mends it")
            expect_eq(warnings_of("check"), [], "mended")
        lab.good("remove", "br-app", PORT)
        set_to(setting, "0")


table_cases([(f"bridge-nf-call-iptables, and {name}", *rest) for name, *rest in TAKEN], taken)


@case("all bits are somebody's: no other one is named")
def _():
    sh(nft("meta mark & 0x7fffffff == 1 accept\nmeta mark & 0xff000000 == 0 accept", "forward"))
    warning = named_once(r"and 1 more\): let it use a mask that leaves 0x10000000 out")
    expect("\"mark\"" not in warning, "none")


@case("the doctor says it, too")
def _():
    sh("ip rule add pref 100 fwmark 0x10000000/0x10000000 lookup 100")
    lab.good("add", "br-app", f"{PORT}:{lab.mapped}")
    causes = [c for c in lab.json("doctor")["findings"] if c["code"] == "mark"]
    expect_eq(len(causes), 1, "finding")
    expect_match("ip rule \"100:", causes[0]["what"], "which")
    expect_eq(causes[0]["evidence"], "read from the rules of policy routing", "from where")


run(fresh)
