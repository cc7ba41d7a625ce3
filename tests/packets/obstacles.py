#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of others that keep a mapping from working where no opener helps: each is seen to drop,
`add` and `check` name it, and the command that they print mends it. And hosts on which nothing
is wrong: reached, and not a word."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "iptables-nft"))
PORT = 11434  # that is dialled; the service is at lab.mapped
REACHED = f"tcp 127.0.0.1:{lab.mapped}"
BRIDGE_NF = "/proc/sys/net/bridge/bridge-nf-call-iptables"
DEFAULTS = {BRIDGE_NF: "0", "/proc/sys/net/ipv4/conf/all/rp_filter": "0",
            "/proc/sys/net/ipv4/conf/br-app/rp_filter": "0"}


def chain(text, family="inet", head="type filter hook {hook} priority {priority}; policy {policy};",
          hook="output", priority=0, policy="accept", more=""):
    head = head.format(hook=hook, priority=priority, policy=policy)
    return f"nft -f - <<'NFT'\ntable {family} site {{\n{more}\nchain {hook} {{\n{head}\n{text}\n}}\n}}\nNFT"


def nft(text):
    return f"nft -f - <<'NFT'\n{text}\nNFT"


def fresh():
    for path, value in DEFAULTS.items():
        if os.path.exists(path):
            with open(path, "w") as file:
                file.write(value)
    sh("ip rule del pref 100 2>/dev/null", check=False)
    lab.reset()
    lab.write_rules({})
    sh("conntrack -F 2>/dev/null", check=False)


def warnings_of(*words):
    return [w for w in lab.json(*words)["warnings"]
            if "listens" not in w]


def settle():
    """Openers where they belong: what is left is beyond them."""
    lab.good("apply")
    sh("conntrack -F 2>/dev/null", check=False)


# A mark from before the translation, read behind it.
MARKED = """table inet site {{
    chain early {{
        type filter hook prerouting priority -150;
        iifname "br-app" meta mark set 1
    }}
    chain late {{
        type filter hook prerouting priority 0; policy {1};
        {0}
    }}
}}"""

NAT = "type nat hook {hook} priority {priority}; policy {policy};"


def nat(text, priority=-150, **others):
    return chain(text, head=NAT, hook="prerouting", priority=priority, **others)


def early_iptables(rule):
    """A chain of iptables that a chain of nft jumps to, before those of iptables."""
    return (f"iptables-nft -t nat -N early; iptables-nft -t nat -A early {rule}\n" +
            nft("""table ip nat {
        chain site { type nat hook prerouting priority -150; policy accept; jump early; }
    }"""))


def raw(*rules):
    return "\n".join(f"iptables-nft -t raw -A {rule}" for rule in rules)


def zones(prerouting="", output="", priority=-300):
    return nft(f"""table inet site {{
        chain prerouting {{
            type filter hook prerouting priority {priority}; policy accept;
            {prerouting}
        }}
        chain output {{
            type filter hook output priority {priority}; policy accept;
            {output}
        }}
    }}""")


ZONED = r"packets .* tracked in another zone than their answers, .* because of rule \d+ of chain "
ANSWERS_ZONED = r"answers .* tracked in another zone than what they answer, .* because of rule \d+ of chain "

DROPPED = [
    # --- before the translation
    ("a drop before the translation", chain("tcp dport 11434 drop", hook="prerouting",
                                            priority=-300),
     r"rule \d+ of chain inet site prerouting \(.*th dport 11434 drop\)"),
    ("a policy before the translation", chain("icmp type echo-request accept", hook="prerouting",
                                              priority=-200, policy="drop"),
     "the policy of chain inet site prerouting"),
    ("NOTRACK of the bridge", "iptables-nft -t raw -A PREROUTING -i br-app -j NOTRACK",
     r"not tracked.* rule \d+ of chain ip raw PREROUTING \(iifname \"br-app\" -j (CT|NOTRACK)"),
    ("notrack in nft", chain("udp dport 53 accept\niifname \"br-*\" notrack", hook="prerouting",
                             priority=-300),
     r"not tracked.* rule \d+ of chain inet site prerouting \(iifname \"br-\*\" notrack\)"),
    ("a drop in the device's ingress", nft("""table netdev site {
        chain early {
            type filter hook ingress device "br-app" priority 0; policy accept;
            tcp dport 11434 drop
        }
    }"""), r"rule \d+ of chain netdev site early"),
    ("a drop in the ingress of several devices", nft("""table netdev site {
        chain early {
            type filter hook ingress devices = { "br-app", "br-two" } priority 0; policy accept;
            tcp dport 11434 drop
        }
    }"""), r"rule \d+ of chain netdev site early"),
    ("a drop in the ingress of the bridge's port", nft("""table netdev site {
        chain early {
            type filter hook ingress device "vapp" priority 0; policy accept;
            tcp dport 11434 drop
        }
    }"""), r"packets from vapp to 11434/tcp are dropped by rule \d+ of chain netdev site early"),
    # --- behind it
    ("127/8 from outside, dropped behind the translation",
     chain("iifname != \"lo\" ip daddr 127.0.0.0/8 counter drop", hook="prerouting", priority=0),
     r"rule \d+ of chain inet site prerouting \(iifname != \"lo\" ip daddr 127\.0\.0\.0/8 drop\)"),
    ("the same by iptables' mangle with a late hook",
     chain("iifname != \"lo\" ip daddr 127.0.0.0/8 drop", "ip", hook="prerouting", priority=-50),
     r"rule \d+ of chain ip site prerouting"),
    ("a set of forbidden ports", chain("tcp dport @closed drop", hook="prerouting", priority=10,
                                       more="set closed { type inet_service; elements = { 22, 8088 } }"),
     r"rule \d+ of chain inet site prerouting \(.*@closed drop\)"),
    ("a set of forbidden ranges", chain("tcp dport @closed drop", hook="prerouting", priority=10,
                                        more="set closed { type inet_service; flags interval; "
                                             "elements = { 8000-8100 } }"),
     r"rule \d+ of chain inet site prerouting"),
    ("a verdict map into another chain",
     nft("""table inet site {
         chain closed { tcp dport 22 accept; drop; }
         chain prerouting {
             type filter hook prerouting priority 20; policy accept;
             iifname vmap { "lo" : accept, "br-app" : jump closed }
         }
     }"""), r"rule \d+ of chain inet site closed \(drop\)"),
    ("an address and a port together", chain("ip daddr . tcp dport { 127.0.0.1 . 8088 } drop",
                                             hook="prerouting", priority=10),
     r"rule \d+ of chain inet site prerouting"),
    ("the wiki's filter for what is not this device's address",
     chain("fib daddr . iif type != { local, broadcast, multicast } drop", hook="prerouting",
           priority=0), r"rule \d+ of chain inet site prerouting \(fib daddr \. iif type != @"),
    ("a map whose rest is dropped",
     chain("ip daddr vmap { 10.0.0.0/8 : accept, * : drop }", hook="prerouting", priority=10),
     r"rule \d+ of chain inet site prerouting"),
    ("networks that are nobody's, by a set",
     chain("iifname != \"lo\" ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } drop",
           hook="prerouting", priority=10), r"rule \d+ of chain inet site prerouting"),
    ("networks that are nobody's, by a range",
     chain("ip saddr 172.16.0.0-172.31.255.255 drop", hook="prerouting", priority=-300),
     r"rule \d+ of chain inet site prerouting"),
    # --- a mark from one stretch of the way to the next
    ("a mark of the bridge, dropped behind the translation",
     nft(MARKED.format("meta mark & 0xff == 1 drop", "accept")),
     r"rule \d+ of chain inet site late \(meta mark & 0xff == 0x1 drop\)"),
    ("our own mark, behind the translation",
     chain("iifname \"br-app\" meta mark != 0 tcp dport 8088 drop", hook="prerouting", priority=0),
     r"rule \d+ of chain inet site prerouting \(iifname \"br-app\" meta mark != 0x0"),
    # --- the input hook, where the mark is lost between our two chains
    ("a mark that is cleared before somebody drops",
     nft("""table ip marks {
         chain input {
             type filter hook input priority -150; policy accept;
             meta mark set 0
         }
     }
     table ip site {
         chain input {
             type filter hook input priority -100; policy drop;
             iifname "lo" accept
         }
     }"""), r"lose their mark.* rule \d+ of chain ip marks input \(meta mark set"),
    # --- the answer
    ("127/8 that leaves the host, iptables",
     "iptables-nft -A OUTPUT ! -o lo -s 127.0.0.0/8 -j DROP",
     r"answers .* rule \d+ of chain ip filter OUTPUT \(oifname != \"lo\" ip saddr 127\.0\.0\.0/8 drop\)"),
    ("a closed OUTPUT without ESTABLISHED",
     "iptables-nft -A OUTPUT -o lo -j ACCEPT; iptables-nft -A OUTPUT -d 192.0.2.0/24 -j ACCEPT; "
     "iptables-nft -P OUTPUT DROP", "answers .* the policy of chain ip filter OUTPUT"),
    ("a kill switch of a VPN", "iptables-nft -I OUTPUT ! -o wg0 -m mark ! --mark 0xca6c "
     "-m addrtype ! --dst-type LOCAL -j REJECT",
     r"answers .* rule \d+ of chain ip filter OUTPUT \(oifname != \"wg0\" .*-j REJECT\)"),
    ("a kill switch in nft", chain("oifname \"lo\" accept\noifname != \"wg0\" reject", policy="accept"),
     r"answers .* rule \d+ of chain inet site output \(oifname != \"wg0\" reject\)"),
    ("an nft output chain that drops", chain("oifname \"lo\" accept\nct state new accept",
                                             policy="drop"),
     "answers .* the policy of chain inet site output"),
    ("the service's port, in an output chain", chain("ip saddr 127.0.0.1 tcp sport 8088 drop"),
     r"answers .* rule \d+ of chain inet site output \(ip saddr 127\.0\.0\.1 .*th sport 8088 drop\)"),
    ("a mangle POSTROUTING that drops",
     "iptables-nft -t mangle -A POSTROUTING ! -o lo -s 127.0.0.0/8 -j DROP",
     r"answers .* rule \d+ of chain ip mangle POSTROUTING"),
    ("a jump, and a return that does not help",
     "iptables-nft -N guard; iptables-nft -A guard -d 192.0.2.0/24 -j RETURN; "
     "iptables-nft -A guard -p tcp -m multiport --sports 8000:8100,9000 -j DROP; "
     "iptables-nft -A OUTPUT -o br-app -j guard",
     r"answers .* rule \d+ of chain ip filter guard \(.*-m multiport \.\.\. drop\)"),
    ("NOTRACK of answers", "iptables-nft -t raw -A OUTPUT -s 127.0.0.1 -j NOTRACK",
     r"not tracked.* rule \d+ of chain ip raw OUTPUT"),
    ("a postrouting chain behind the translation",
     chain("oifname \"br-app\" tcp sport 11434 drop", hook="postrouting", priority=150),
     r"answers .* rule \d+ of chain inet site postrouting \(.*th sport 11434 drop\)"),
    ("a drop in the device's egress", nft("""table netdev site {
        chain late {
            type filter hook egress device "br-app" priority 0; policy accept;
            tcp sport 11434 drop
        }
    }"""), r"answers .* rule \d+ of chain netdev site late"),
    # --- a nat chain before ours
    ("a nat chain that drops", chain("tcp dport 11434 drop", head="type nat hook prerouting priority "
                                     "-150; policy accept;", hook="prerouting"),
     r"rule \d+ of chain inet site prerouting \(.*th dport 11434 drop\)"),
    # --- zones of connection tracking: answers are looked for in another one
    ("a zone of what the bridge sends", raw("PREROUTING -i br-app -j CT --zone 5"),
     ZONED + r"ip raw PREROUTING \(iifname \"br-app\" -j CT\)"),
    ("a zone of all that comes in", raw("PREROUTING -j CT --zone 5"), ZONED + "ip raw PREROUTING"),
    ("a zone of the answers' way", raw("PREROUTING -i br-app -j CT --zone-reply 5"),
     ZONED + "ip raw PREROUTING"),
    ("a zone of answers", raw("OUTPUT -o br-app -j CT --zone 5"), ANSWERS_ZONED + "ip raw OUTPUT"),
    ("a zone of answers' own way", raw("OUTPUT -o br-app -j CT --zone-reply 5"),
     ANSWERS_ZONED + "ip raw OUTPUT"),
    ("a zone of requests, and of answers one that is for requests",
     raw("PREROUTING -i br-app -j CT --zone 5", "OUTPUT -o br-app -j CT --zone-orig 5"),
     ZONED + "ip raw PREROUTING"),
    ("a zone by mark", "iptables-nft -t raw -A PREROUTING -i br-app -j MARK --set-mark 5\n" +
     raw("PREROUTING -i br-app -j CT --zone mark"), ZONED + "ip raw PREROUTING"),
    ("nft's zone", zones("iifname \"br-app\" ct zone set 5"),
     ZONED + r"inet site prerouting \(iifname \"br-app\" ct zone set 5\)"),
    ("nft's zone by a map", zones("ct zone set iifname map { \"br-app\" : 5, \"br-two\" : 6 }"),
     ZONED + "inet site prerouting"),
    ("nft's zone of the answers' way", zones("iifname \"br-app\" ct reply zone set 5"),
     ZONED + r"inet site prerouting \(.* ct reply zone set 5\)"),
    ("nft's zone of answers", zones("", "oifname \"br-app\" ct zone set 5"),
     ANSWERS_ZONED + r"inet site output \(.* ct zone set 5\)"),
    ("nft's zone of answers' own way", zones("", "oifname \"br-app\" ct reply zone set 5"),
     ANSWERS_ZONED + "inet site output"),
    ("nft's zone of requests' way, and one of answers",
     zones("iifname \"br-app\" ct original zone set 5", "oifname \"br-app\" ct zone set 5"),
     ANSWERS_ZONED + "inet site output"),
    # --- somebody who translates first
    ("a DNAT before ours", nat("tcp dport 11434 dnat ip to 172.30.0.9:80"),
     r"packets from br-app to 11434/tcp are sent to 172\.30\.0\.9:80 by "
     r"rule \d+ of chain inet site prerouting \(.*th dport 11434 nat\)"),
    ("a DNAT to one of several", nat("tcp dport 11434 dnat ip to 172.30.0.9-172.30.0.12"),
     r"sent to 172\.30\.0\.9:11434 by rule \d+ of chain inet site prerouting"),
    ("a DNAT to what a map says", nat("dnat ip to tcp dport map { 22 : 172.30.0.8, 11434 : 172.30.0.9 }"),
     r"sent to 172\.30\.0\.9:11434 by rule \d+ of chain inet site prerouting"),
    ("a DNAT to an address and a port of a map",
     nat("dnat ip to tcp dport map @ports", family="ip",
         more="map ports { type inet_service : ipv4_addr . inet_service; "
              "elements = { 22 : 172.30.0.8 . 22, 11434 : 172.30.0.9 . 80 } }"),
     r"sent to 172\.30\.0\.9:80 by rule \d+ of chain ip site prerouting"),
    ("a redirect of all that a bridge sends", nat("iifname \"br-app\" ip protocol tcp redirect to :12345"),
     r"sent to port 12345 by rule \d+ of chain inet site prerouting \(.* redir\)"),
    ("iptables' DNAT", early_iptables("-p tcp --dport 11434 -j DNAT --to-destination 172.30.0.9:80"),
     r"sent to 172\.30\.0\.9:80 by rule \d+ of chain ip nat early \(.*-j DNAT\)"),
    ("iptables' REDIRECT", early_iptables("-i br-app -p tcp -j REDIRECT --to-ports 12345"),
     r"sent to port 12345 by rule \d+ of chain ip nat early \(.*-j REDIRECT\)"),
    # --- somebody who writes into packets
    *((f"a port that is rewritten {when}", chain(f"tcp dport {port} tcp dport set 9090", hook=hook,
                                                 priority=priority),
       rf"sent to port 9090 by rule \d+ of chain inet site {hook} \(.*th dport {port} th dport set 9090\)")
      for when, hook, priority, port in (
          ("before it is tracked", "prerouting", -300, 11434),
          ("before our translation", "prerouting", -150, 11434),
          ("between ours and the kernel's", "prerouting", -105, 11434),
          ("behind our translation", "prerouting", 0, 8088), ("at the end", "input", 10, 8088))),
    ("a port that is rewritten in the device's ingress", nft("""table netdev site {
        chain early {
            type filter hook ingress device "br-app" priority 0; policy accept;
            tcp dport 11434 tcp dport set 9090
        }
    }"""), r"sent to port 9090 by rule \d+ of chain netdev site early"),
    ("a port that is rewritten in the ingress of the bridge's port", nft("""table netdev site {
        chain early {
            type filter hook ingress device "vapp" priority 0; policy accept;
            tcp dport 11434 tcp dport set 9090
        }
    }"""), r"packets from vapp to 11434/tcp are sent to port 9090 by rule \d+ of chain netdev site early"),
    ("an address of the host that becomes another's",
     chain("tcp dport 11434 ip daddr set 172.30.0.9", hook="prerouting", priority=-150),
     r"sent to 172\.30\.0\.9:11434 by rule \d+ of chain inet site prerouting"),
    ("another address of the loopback", chain("tcp dport 8088 ip daddr set 127.0.0.2",
                                             hook="prerouting", priority=-50),
     r"sent to 127\.0\.0\.2:8088 by rule \d+ of chain inet site prerouting"),
    ("a source that is rewritten", chain("iifname \"br-app\" ip saddr set 192.0.2.1",
                                         hook="prerouting", priority=0),
     r"packets from br-app to 11434/tcp are rewritten by rule \d+ of chain inet site prerouting"),
    ("answers that are rewritten before they are tracked",
     chain("oifname \"br-app\" tcp sport 8088 tcp sport set 9", priority=-300),
     r"answers .* are rewritten by rule \d+ of chain inet site output \(.* th sport set 9\)"),
    ("answers that are rewritten behind the translation",
     chain("oifname \"br-app\" ip saddr set 192.0.2.1", hook="postrouting", priority=150),
     r"answers .* are rewritten by rule \d+ of chain inet site postrouting \(.*ip saddr set 192\.0\.2\.1\)"),
    # --- the bridge's own chains
    ("a bridge's output", chain("ether type ip tcp sport 11434 drop", "bridge", hook="output"),
     r"answers .* rule \d+ of chain bridge site output"),
    ("a bridge's postrouting", chain("ether type ip tcp sport 11434 drop", "bridge",
                                     hook="postrouting"),
     r"answers .* rule \d+ of chain bridge site postrouting"),
    ("a bridge's own chain", chain("meta protocol ip tcp dport 11434 drop", "bridge", hook="input"),
     r"rule \d+ of chain bridge site input"),
]


@case("a mapping on a host without a firewall: reached, and not a word")
def _():
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "add")
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    expect_eq(warnings_of("check"), [], "check")


def obstacle(setup, pattern):
    lab.good("add", "br-app", f"{PORT}:{lab.mapped}")
    expect_eq(lab.tcp(PORT), REACHED, "reached before")
    sh("set -e\n" + setup)
    settle()
    expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: this does not drop")
    found = warnings_of("check")
    expect_eq(len(found), 1, f"warnings of check: {found}")
    expect_match(pattern, found[0], "the place")
    lab.good("remove", "br-app", f"{PORT}")
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), found, "add says the same")
    # the command that it prints
    sh(found[0].rsplit("): " if "): " in found[0] else ": ", 1)[1])
    sh("conntrack -F 2>/dev/null", check=False)
    expect_eq(lab.tcp(PORT), REACHED, "mended")
    expect_eq(warnings_of("check"), [], "check, mended")


table_cases(DROPPED, obstacle)


@case("a bridge's own chain behind the translation, with bridge-nf-call-iptables")
def _():
    with open(BRIDGE_NF, "w") as file:
        file.write("1")
    obstacle(chain("ip daddr 127.0.0.0/8 drop", "bridge", hook="input"),
             r"rule \d+ of chain bridge site input \(ip daddr 127\.0\.0\.0/8 drop\)")


@case("a zone of requests and another one of answers: both are named, and both have to go")
def _():
    lab.good("add", "br-app", f"{PORT}:{lab.mapped}")
    sh(zones("iifname \"br-app\" ct zone set 5", "oifname \"br-app\" ct zone set 6"))
    sh("conntrack -F 2>/dev/null", check=False)
    expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: no answer")
    found = warnings_of("check")
    expect_eq(len(found), 2, found)
    expect_match(ZONED + "inet site prerouting", found[0], "requests")
    expect_match(ANSWERS_ZONED + "inet site output", found[-1], "answers")
    for warning in found:
        sh(warning.rsplit("): ", 1)[1] + "; conntrack -F 2>/dev/null")
    expect_eq(lab.tcp(PORT), REACHED, "mended")
    expect_eq(warnings_of("check"), [], "check, mended")


@case("a DNAT of somebody's to where the mapping leads is no obstacle; one to elsewhere is")
def _():
    for target in ("127.0.0.1:8088", "127.0.0.1:9090", "127.0.0.2:8088"):
        fresh()
        sh(nat(f"iifname \"br-app\" tcp dport 11434 dnat ip to {target}"))
        found = warnings_of("add", "--force", "br-app", f"{PORT}:{lab.mapped}")
        good = target == f"127.0.0.1:{lab.mapped}"
        expect_eq(lab.tcp(PORT, timeout=1.5) == REACHED, good, f"{target}: reached")
        expect_eq([re.sub(" by .*", "", w) for w in found],
                  [] if good else [f"packets from br-app to 11434/tcp are sent to {target}"], target)
        expect_eq(warnings_of("check"), found, "check says the same")


@case("the source port of answers, which chain `answers` asks for: UDP")
def _():
    lab.good("add", "br-app", f"{PORT}:{lab.mapped}/udp")
    setup = chain("oifname \"br-app\" udp sport 8088 udp sport set 9")
    expect_eq(lab.agent().call("udp", lab.gateway, PORT, 3), f"udp 127.0.0.1:{lab.mapped}", "reached before")
    sh(setup + "\nconntrack -F 2>/dev/null")
    expect_eq(lab.agent().call("udp", lab.gateway, PORT, 1), "timeout", "control: no answer")
    found = warnings_of("check")
    expect_eq(len(found), 1, found)
    expect_match(r"answers .* are rewritten by rule \d+ of chain inet site output", found[0], "check")


@case("the same with the setting of the bridge alone")
def _():
    sh("ip link set br-app type bridge nf_call_iptables 1")
    try:
        obstacle(chain("ip daddr 127.0.0.0/8 drop", "bridge", hook="input"),
                 r"rule \d+ of chain bridge site input \(ip daddr 127\.0\.0\.0/8 drop\)")
    finally:
        sh("ip link set br-app type bridge nf_call_iptables 0")


@case("a reverse path that goes another way")
def _():
    lab.good("add", "br-app", f"{PORT}:{lab.mapped}")
    with open("/proc/sys/net/ipv4/conf/br-app/rp_filter", "w") as file:
        file.write("1")
    expect_eq(lab.tcp(PORT), REACHED, "reached with a strict filter alone")
    expect_eq(warnings_of("check"), [], "and not a word")
    sh("ip rule add pref 100 to 172.30.0.0/24 lookup 100; "
       "ip route replace 172.30.0.0/24 dev br-two table 100")
    expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: the filter drops")
    found = warnings_of("check")
    expect_eq(len(found), 1, "warnings")
    expect_match("reverse path filter drops what comes from br-app", found[0], "check")
    sh("ip rule del pref 100")
    expect_eq(lab.tcp(PORT), REACHED, "mended")


@case("what the rules say of another bridge, protocol or port is not said of this mapping")
def _():
    lab.good("add", "br-app", f"{PORT}:{lab.mapped}")
    sh(chain("iifname \"br-two\" tcp dport 11434 drop\niifname \"br-app\" udp dport 11434 drop\n"
             "iifname \"br-app\" tcp dport 11435 drop", hook="prerouting", priority=-300))
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    expect_eq(warnings_of("check"), [], "check")
    lab.good("add", "br-two", f"{PORT}:{lab.mapped}")
    expect(lab.tcp(PORT, name="two", timeout=1.5) != REACHED, "control: the other bridge")
    found = warnings_of("check")
    expect_eq(len(found), 1, "warnings")
    expect_match("packets from br-two to 11434/tcp are dropped", found[0], "check")


# What is behind iptables' mangle and before the mark is set again.
MARKLESS = """table ip site {
    chain input {
        type filter hook input priority -100; policy drop;
        iifname "lo" accept
    }
}"""

HEALTHY = [
    ("ufw's habits", """
        iptables-nft -P INPUT DROP; iptables-nft -N ufw-out; iptables-nft -N ufw-limit
        iptables-nft -A ufw-out -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables-nft -A ufw-out -m conntrack --ctstate INVALID -j DROP
        iptables-nft -A ufw-out -o lo -j ACCEPT
        iptables-nft -A OUTPUT -j ufw-out; iptables-nft -P OUTPUT DROP
        iptables-nft -A INPUT -m recent --name x --set -j ufw-limit
        iptables-nft -A ufw-limit -m limit --limit 3/min -j LOG
        iptables-nft -A ufw-limit -j REJECT""", "iptables-nft -F ufw-out"),
    ("firewalld's habits", nft("""table inet habits {
        chain mangle_pre { type filter hook prerouting priority -140; policy accept;
            jump zones; }
        chain zones { iifname "eth0" goto public; goto public; }
        chain public { return; }
        chain filter_in { type filter hook input priority 10; policy accept;
            ct state { established, related } accept
            ct status dnat accept
            iifname "lo" accept
            ct state invalid drop
            reject with icmpx admin-prohibited; }
        chain filter_out { type filter hook output priority 10; policy accept;
            ct state { established, related } accept
            oifname "lo" accept
            ip6 daddr { ::/96, ::ffff:0.0.0.0/96 } reject; }
    }""")),
    ("kubelet's, which spares what is translated", """
        iptables-nft -N KUBE-FIREWALL
        iptables-nft -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack \
            ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
        iptables-nft -A INPUT -j KUBE-FIREWALL; iptables-nft -A OUTPUT -j KUBE-FIREWALL""",
     "iptables-nft -R KUBE-FIREWALL 1 ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack "
     "! --ctstate RELATED,ESTABLISHED -j DROP"),
    ("kube-proxy's marks", """
        iptables-nft -t nat -N KUBE-MARK-MASQ
        iptables-nft -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
        iptables-nft -N KUBE-FORWARD
        iptables-nft -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
        iptables-nft -A FORWARD -j KUBE-FORWARD"""),
    ("Docker's raw drops for ports published on 127.0.0.1",
     "iptables-nft -t raw -A PREROUTING ! -i lo -d 127.0.0.1/32 -p tcp --dport 11434 -j DROP"),
    ("Tailscale's", """
        iptables-nft -N ts-input; iptables-nft -A INPUT -j ts-input
        iptables-nft -A ts-input -s 100.100.1.1/32 -i lo -j ACCEPT
        iptables-nft -A ts-input -s 100.115.92.0/23 ! -i tailscale0 -j RETURN
        iptables-nft -A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP
        iptables-nft -A FORWARD -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000"""),
    ("a CONNMARK that is restored",
     "iptables-nft -t mangle -A INPUT -j CONNMARK --restore-mark; "
     "iptables-nft -A INPUT -i lo -j ACCEPT; iptables-nft -P INPUT DROP", nft(MARKLESS)),
    ("a CONNMARK that is restored where there is one", """
        iptables-nft -t mangle -A INPUT -m connmark ! --mark 0 -j CONNMARK --restore-mark""" + "\n" +
     nft(MARKLESS), "iptables-nft -t mangle -I INPUT -j CONNMARK --set-mark 1"),
    ("a CONNMARK of bits beside ours", """
        iptables-nft -t mangle -A PREROUTING -j CONNMARK --set-mark 7
        iptables-nft -t mangle -A INPUT -j CONNMARK --restore-mark --mask 0xff""" + "\n" + nft(MARKLESS),
     "iptables-nft -t mangle -A INPUT -j CONNMARK --restore-mark"),
    ("a full mark of somebody's", """
        iptables-nft -t mangle -A PREROUTING -i eth9 -j MARK --set-mark 0x1
        iptables-nft -A OUTPUT -m mark --mark 0xca6c -j ACCEPT"""),
    ("limits, quotas and sets of others", chain(
        "ip saddr @bad drop\nct count over 100000 drop\nquota over 9000 mbytes drop\n"
        "limit rate over 100000/second drop\ntcp dport @closed drop",
        hook="prerouting", priority=-150,
        more="set bad { type ipv4_addr; flags interval; elements = { 198.51.100.0/24 } }\n"
             "set closed { type inet_service; flags interval; elements = { 1-1024, 11435-11500 } }")),
    ("a device's own addresses, of which 127/8 is none", chain(
        "ip daddr 127.0.0.0/8 iifname \"br-app\" fib daddr . iif type local drop",
        hook="prerouting", priority=0)),
    ("a mark of the bridge, accepted behind the translation",
     nft(MARKED.format("meta mark & 0xff == 1 accept", "drop")),
     "nft flush chain inet site early"),
    ("a mark of answers", "iptables-nft -t mangle -A OUTPUT -o br-app -j MARK --set-mark 5; "
     "iptables-nft -t mangle -A POSTROUTING -m mark --mark 5 -j ACCEPT; "
     "iptables-nft -t mangle -A POSTROUTING -o lo -j ACCEPT; "
     "iptables-nft -t mangle -P POSTROUTING DROP", "iptables-nft -t mangle -F OUTPUT"),
    ("somebody who drops what has no mark, behind ours",
     chain("iifname \"br-app\" meta mark 0 tcp dport 8088 drop", hook="prerouting", priority=0)),
    ("a map whose rest is accepted", chain("ip daddr vmap { 10.0.0.0/8 : drop, * : accept }",
                                          hook="prerouting", priority=10, policy="drop")),
    ("a set whose elements have limits", chain(
        "tcp dport @busy drop", hook="prerouting", priority=10,
        more="set busy { type inet_service; flags dynamic; size 9; "
             "elements = { 8088 limit rate over 100000/second } }")),
    ("networks beside the bridge's", chain(
        "ip saddr { 172.16.0.0/13, 172.30.1.0/24 } drop\nip saddr 172.30.1.0-172.31.255.255 drop\n"
        "ip saddr < 172.30.0.0 drop\nip saddr > 172.30.0.255 drop",
        hook="prerouting", priority=10)),
    ("zones of requests' way alone", raw("PREROUTING -i br-app -j CT --zone-orig 5",
                                         "OUTPUT -o br-app -j CT --zone-orig 6"),
     raw("OUTPUT -j NOTRACK") + "\niptables-nft -t raw -I OUTPUT -o br-app -j CT --zone-reply 5"),
    ("one zone for a bridge, both ways", raw("PREROUTING -i br-app -j CT --zone 5",
                                             "OUTPUT -o br-app -j CT --zone 5"),
     "iptables-nft -t raw -F OUTPUT"),
    ("one zone for answers, both ways", raw("PREROUTING -i br-app -j CT --zone-reply 5",
                                            "OUTPUT -o br-app -j CT --zone-reply 5"),
     "iptables-nft -t raw -F PREROUTING"),
    ("nft's zones by maps, both ways",
     zones("ct zone set iifname map { \"br-app\" : 5, \"br-two\" : 6 }",
           "ct zone set oifname map { \"br-app\" : 5, \"br-two\" : 6 }"),
     "nft flush chain inet site output"),
    ("nft's zones of requests' way alone",
     zones("iifname \"br-app\" ct original zone set 5", "oifname \"br-app\" ct original zone set 6"),
     "nft flush chain inet site output; nft add rule inet site output ct reply zone set 5"),
    ("zones of another bridge, of the loopback, and 0",
     zones("iifname \"br-two\" ct zone set 6\niifname \"lo\" ct zone set 7\nct zone set 0",
           "oifname \"lo\" ct zone set 7"), "nft insert rule inet site prerouting ct zone set 5"),
    ("a zone of what is tracked already", zones("ct zone set 5", "ct zone set 6", -199),
     "nft delete table inet site\n" + zones("ct zone set 5", "", -201)),
    ("a zone hides it from NOTRACK, and from another zone",
     raw("PREROUTING -i br-app -j CT --zone 5", "PREROUTING -i br-app -j NOTRACK",
         "PREROUTING -i br-app -j CT --zone 6", "OUTPUT -o br-app -j CT --zone 5"),
     "iptables-nft -t raw -D PREROUTING 1"),
    ("a DNAT behind ours", nat("tcp dport 11434 dnat ip to 172.30.0.9", -109),
     "nft delete table inet site\n" + nat("tcp dport 11434 dnat ip to 172.30.0.9", -111)),
    ("a DNAT of other packets", nat("dnat ip to tcp dport map { 22 : 172.30.0.9 }"),
     "nft flush chain inet site prerouting; nft 'add rule inet site prerouting dnat ip to "
     "tcp dport map { 11434 : 172.30.0.9 }'"),
    ("a filter between our translation and the kernel's",
     chain("tcp dport 8088 drop", hook="prerouting", priority=-105),
     "nft add rule inet site prerouting tcp dport 11434 drop"),
    ("an address of the host that becomes another of its own",
     chain("tcp dport 11434 ip daddr set 172.31.0.1", hook="prerouting", priority=-150),
     "nft add rule inet site prerouting tcp dport 11434 ip daddr set 172.30.0.9"),
    ("rewritten for other reasons", chain(
        "tcp dport 11434 ip dscp set cs1\ntcp dport 11434 ip ttl set 63\n"
        "tcp dport 80 tcp dport set 9090\niifname \"br-two\" tcp dport set 9090\n"
        "tcp dport 11434 tcp dport set 11434", hook="prerouting", priority=-150),
     "nft add rule inet site prerouting tcp dport set 9090"),
    ("answers that are rewritten, before the translation writes the same",
     nft("""table inet site {
         chain output { type filter hook output priority 0; policy accept;
             oifname "br-app" ip saddr set 192.0.2.1; }
         chain postrouting { type filter hook postrouting priority 90; policy accept;
             oifname "br-app" tcp sport set 9; }
         chain late { type filter hook postrouting priority 150; policy accept; }
     }"""), "nft add rule inet site late oifname br-app tcp sport set 9"),
    ("a chain for the bridge", nft("""table bridge site {
        chain forward { type filter hook forward priority 0; policy drop;
            ether type arp accept
            ether type ip accept; }
    }""")),
]


def healthy(setup, control=None):
    sh("set -e\n" + setup)
    warned = warnings_of("add", "br-app", f"{PORT}:{lab.mapped}")
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    expect_eq(warned, [], "add")
    expect_eq(warnings_of("check"), [], "check")
    if control:  # what takes away that it is reached
        sh("set -e\n" + control)
        sh("conntrack -F 2>/dev/null", check=False)
        expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: the rules are those that decide")
        # an opener mends it, or nothing of ours
        if any("opener" in drift["what"] for drift in lab.json("check", rc=None)["drift"]):
            settle()
            if lab.tcp(PORT, timeout=1.5) == REACHED:
                expect_eq(warnings_of("check"), [], "control: an opener, and nothing else to say")
                return
        expect_eq(len(warnings_of("check")), 1, "control: named")


table_cases(HEALTHY, healthy)

# Input chains that drop what is translated: an opener each, and nothing to warn of.
OPENED = [
    ("an address that is not this device's", "ip daddr 127.0.0.0/8 fib daddr . iif type != local drop",
     "accept"),
    ("an address of another device, as unicast", "iifname != \"lo\" fib daddr . iif type unicast drop",
     "accept"),
    ("nothing but this device's addresses", "iifname \"lo\" accept\nfib daddr . iif type local accept",
     "drop"),
]


def opened(rules, policy):
    sh(chain(rules, hook="input", policy=policy))
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "add")
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    expect_eq(warnings_of("check"), [], "check")
    sh("nft delete rule inet site input handle $(nft -a list chain inet site input | "
       "sed -n 's/.*nat-bridge.* # handle //p'); conntrack -F 2>/dev/null")
    expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: dropped without the opener")
    lab.good("apply")
    expect_eq(lab.tcp(PORT), REACHED, "apply puts it back")


table_cases(OPENED, opened)


@case("a bridge whose name is a word of nft's, or begins with a digit: the command can be typed")
def _():
    for name in ("bridge", "0br"):
        fresh()
        sh(f"ip link set br-two down; ip link set br-two name {name}; ip link set {name} up")
        try:
            lab.good("add", name, f"{PORT}:{lab.mapped}")
            sh(chain("oifname != \"lo\" ip saddr 127.0.0.0/8 drop"))
            found = warnings_of("check")
            expect_eq(len(found), 1, f"{name}: {found}")
            sh(found[0].rsplit("): ", 1)[1])
            expect_eq(warnings_of("check"), [], f"{name}: mended")
            lab.good("remove", name, PORT)
        finally:
            sh(f"ip link set {name} down; ip link set {name} name br-two; ip link set br-two up")


@case("a table that is switched off: nothing to say, and no opener; switched on, both")
def _():
    text = """table inet site {
        %s
        chain early { type filter hook prerouting priority -300; tcp dport 11434 drop; }
        chain input { type filter hook input priority 0; policy drop; iifname "lo" accept; }
    }"""
    sh(nft(text % "flags dormant"))
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "add")
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    expect("nat-bridge" not in sh("nft list table inet site"), "no opener")
    expect_eq(warnings_of("check"), [], "check")
    sh("nft add table inet site")
    settle()
    expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: switched on it drops")
    expect("nat-bridge" in sh("nft list chain inet site input"), "an opener")
    expect_eq(len(warnings_of("check")), 1, "check")
    sh("nft add table inet site '{ flags dormant; }'")
    lab.good("remove", "br-app", PORT)
    expect("nat-bridge" not in sh("nft list table inet site"), "taken away while it is off again")


@case("chains of many jumps each to the next: each command ends")
def _():
    deep = "\n".join(f"chain c{i} {{" + "".join(f"\nip saddr 198.51.100.{j} jump c{i + 1}"
                                               for j in range(5)) + "\n}" for i in range(14))
    sh(nft("table inet site {" + "".join(f"\nchain c{i} {{ }}" for i in range(15)) + "\n}"))
    sh(nft("table inet site {\n" + deep + "\nchain c14 { drop; }\nchain input {\n"
           "type filter hook input priority 0; policy accept;\njump c0\n}\n}"))
    started = time.monotonic()
    expect_eq(warnings_of("add", "br-app", f"{PORT}:{lab.mapped}"), [], "add")
    expect_eq(lab.tcp(PORT), REACHED, "reached")
    expect_eq(warnings_of("check"), [], "check")
    for words in (("list",), ("apply",), ("remove", "br-app", PORT), ("flush",)):
        lab.good(*words)
    expect(time.monotonic() - started < 20, "at once")


@case("a flowtable of somebody's")
def _():
    setup = nft("""table inet site {
        flowtable fast { hook ingress priority 0; devices = { vapp, vtwo }; }
        chain forward { type filter hook forward priority 0; policy accept;
            meta l4proto tcp flow add @fast; }
    }""")
    try:
        sh(setup)
    except RuntimeError:
        skip("this kernel has no flowtables", kernel=True)
    healthy("")


@case("a chain that accepts what is translated has no opener; one that does so too late has")
def _():
    for rules, wanted in (("ct status dnat accept\ndrop", False),
                          ("jump zone", False),
                          ("iifname \"eth9\" drop\nct status dnat accept\ndrop", True),
                          ("tcp dport 22 drop\nct status dnat accept", True),
                          ("ct state established accept\nct status dnat tcp dport 8088 accept\n"
                           "drop", True),
                          ("meta l4proto icmp accept", False),
                          ("return", False)):
        fresh()
        sh(nft("table inet site {\nchain zone { ct status dnat accept; drop; }\n"
               "chain input {\ntype filter hook input priority 0;\n" + rules + "\n}\n}"))
        lab.good("add", "br-app", f"{PORT}:{lab.mapped}")
        expect_eq(lab.tcp(PORT), REACHED, f"{rules}: reached")
        expect_eq("0x10000000" in sh("nft list chain inet site input"), wanted, rules)
        lab.good("remove", "br-app", PORT)


@case("a table that its owner alone may change: what to ask of it")
def _():
    lab.good("add", "br-app", f"{PORT}:{lab.mapped}")
    subprocess.run([sys.executable, os.path.join(lab.source, "tests/lib/nl.py"), "own", "foreign"],
                   check=True, stdout=open(lab.dir + "/owner", "w"))
    settle()
    expect(lab.tcp(PORT, timeout=1.5) != REACHED, "control: it drops")
    found = warnings_of("check")
    os.kill(int(open(lab.dir + "/owner").read()), signal.SIGTERM)
    expect_match("make the program that owns table inet foreign accept 'ct status dnat'", " ".join(found), "check")


run(fresh)
