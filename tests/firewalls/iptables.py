#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""iptables over nf_tables as a release of Debian has it, and native rulesets that nft loads."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hosts import *  # noqa: E402

lab, host = enter_host(__file__)
IPTABLES = f"iptables-nft {host.version('iptables')}"
NFT = f"nft {host.version('nftables')}"
OPENER = ("-A INPUT -d 127.0.0.0/8 -m mark --mark 0x10000000/0x10000000 "
          "-m comment --comment nat-bridge -j ACCEPT")
SITE = f"""*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p udp -m udp --dport {lab.sentinel} -j ACCEPT
-A INPUT -m limit --limit 3/min -j LOG
COMMIT
"""
RULESET = f"""flush ruleset
table inet filter {{
	set admins {{ type ipv4_addr; flags interval; elements = {{ 192.0.2.0/24 }} }}
	counter refused {{ }}
	quota monthly {{ over 500 mbytes }}
	chain services {{
		tcp dport {{ 22, 443 }} accept
		udp dport {lab.sentinel} accept
	}}
	chain input {{
		type filter hook input priority filter; policy drop;
		ct state vmap {{ invalid : drop, established : accept, related : accept }}
		iifname "lo" accept
		ip saddr @admins accept
		quota name "monthly" drop
		jump services
		counter name "refused"
	}}
	chain early {{
		type filter hook input priority -20; policy accept;
		meta l4proto . th dport vmap {{ tcp . 8088 : drop, udp . 8088 : drop }}
	}}
	chain forward {{ type filter hook forward priority filter; policy drop; }}
	chain output {{ type filter hook output priority filter; policy accept; }}
}}
table ip nat {{
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
		oifname "eth0" masquerade
	}}
}}
table netdev watch {{
	chain ingress {{ type filter hook ingress device "br-app" priority 0; policy accept; counter; }}
}}
table bridge watch {{
	chain input {{ type filter hook input priority 0; policy accept; counter; }}
}}
"""


def iptables(*lines):
    for line in lines:
        host.sh("iptables-nft " + line)


def restore(text):
    host.sh("iptables-nft-restore", stdin=text)


def tidy(text):
    return re.sub(r"\[\d+:\d+\]", "[0:0]", re.sub(r"(?m)^#.*\n", "", text))


def saved():
    return tidy(host.sh("iptables-nft-save"))


def begun():
    """A host with these rules; what a plain DNAT gets there."""
    host.firewall = IPTABLES
    restore(SITE)
    return host.plain()


@case("-S, save and delete tell the truth about our rule")
def _():
    begun()
    restore(saved())
    before = saved()
    host.add()
    expect_eq(host.dial(), "reached", "mapped")
    shown = host.sh("iptables-nft -S INPUT").splitlines()
    expect_eq(shown[1], OPENER, "-S shows it, at the head")
    with_ours = saved()
    expect_eq([line for line in with_ours.splitlines() if line not in before.splitlines()],
              [OPENER], "save shows it and nothing else")
    expect_match("ACCEPT .*127.0.0.0/8 .*mark match", host.sh("iptables-nft -L INPUT -n -v"), "-L")
    iptables(OPENER.replace("-A", "-D"))
    expect_eq(host.dial(), "dropped", "-D deletes it")
    host.event("`iptables -D` of the opener", lambda: None)
    lab.good("remove", "br-app", MAPPED)
    expect_eq(saved(), before, "removed: nothing is left")


# by which the lab knows that its frames arrive
KEEP = f"-A INPUT -p udp --dport {lab.sentinel} -j ACCEPT"
EVENTS = [
    ("`iptables -F INPUT`", lambda: iptables("-F INPUT", KEEP)),
    ("`iptables -I INPUT 1` of an accept", lambda: iptables("-I INPUT 1 -p tcp --dport 443 -j ACCEPT")),
    ("`iptables -I INPUT 1 -p tcp -j DROP`", lambda: iptables("-I INPUT 1 -p tcp -j DROP")),
    ("`iptables-restore` of rules without it", lambda: restore(SITE)),
    ("`iptables-restore` of what was saved with it", lambda: restore(saved())),
    ("`iptables-restore -n` that appends", lambda: host.sh(
        "iptables-nft-restore -n", stdin="*filter\n-A INPUT -p tcp --dport 80 -j ACCEPT\nCOMMIT\n")),
    ("`iptables -P INPUT DROP` in mangle, too",
     lambda: iptables("-t mangle -P INPUT DROP", f"-t mangle -A INPUT -p udp --dport {lab.sentinel} "
                      "-j ACCEPT")),
]


def happens(name, work):
    without = begun()
    expect_eq(without, "dropped", "control: a plain DNAT is dropped")
    host.add()
    host.event(name, work, without=without)


table_cases([(row[0],) + row for row in EVENTS], happens)


@case("a saved opener is inert, and not doubled")
def _():
    without = begun()
    host.add()
    kept = saved()
    lab.good("remove", "br-app", MAPPED)
    restore(kept)
    expect_match(re.escape(OPENER), saved(), "it came back with the file")
    expect_eq(host.plain(), "dropped", "it opens nothing")
    host.add()
    expect_eq(host.dial(), "reached", "mapped")
    expect_eq(saved().count("nat-bridge"), 1, "one")
    host.event("`iptables-restore` at boot of a stale opener", lambda: restore(kept),
               without=without)
    lab.good("remove", "br-app", MAPPED)
    expect_eq(saved().count("nat-bridge"), 0, "removed: the stale one, too")


@case("an opener of another version is replaced")
def _():
    without = begun()
    # its mark was another one, and nft's own words were used
    sh("nft insert rule ip filter INPUT ip daddr 127.0.0.0/8 meta mark and 0x20000000 == 0x20000000 "
       "accept comment nat-bridge")
    host.add()
    expect_eq(saved().count("nat-bridge"), 1, "one is left")
    expect_match(re.escape(OPENER), saved(), "and it is ours")
    sh("nft insert rule ip filter INPUT ip daddr 127.0.0.0/8 meta mark and 0x20000000 == 0x20000000 "
       "accept comment nat-bridge")
    host.event("an opener of another version", lambda: None, without=without)
    expect_eq(sh("nft list chain ip filter INPUT").count("0x20000000"), 0, "replaced")


@case("beside the watcher: what each of many restores takes comes back")
def _():
    begun()
    host.add()
    host.watched(lambda: restore(SITE), lambda: iptables("-F INPUT", KEEP),
                 lambda: iptables("-I INPUT 1 -p tcp -j DROP"))


@case("removed, also across a restore: nothing is left")
def _():
    begun()
    host.undone(lambda: restore(SITE))


# --- iptables-legacy ---

def legacy(*lines):
    for line in lines:
        host.sh("iptables-legacy -w " + line)


def legacy_drops(event, beside):
    """Named until the command has been typed, then reached and silent."""
    host.firewall = f"iptables-legacy {host.version('iptables')}"
    if beside:
        restore(SITE)
    legacy("-P INPUT DROP", KEEP)
    try:
        if not os.path.exists("/proc/net/ip_tables_names"):
            skip("this kernel has no iptables-legacy", kernel=True)
        without = host.plain()
        expect_eq(without, "dropped", "control: a plain DNAT is dropped")
        host.add()
        found = host.event(event, lambda: None, without=without, then=("dropped",),
                           warned="the policy of iptables-legacy's chain INPUT in table filter: "
                                  "iptables-legacy -w -t filter -I INPUT 1 ")
        command = " ".join(found).split(": ", 1)[1]
        host.event(f"{event}: the command that `check` prints", lambda: host.sh(command),
                   without=without)
        expect_eq(host.sh("iptables-legacy -S INPUT").splitlines()[1], OPENER, "-S shows it")
        lab.good("remove", "br-app", MAPPED)
        expect_eq(host.plain(), "dropped", "and it opens nothing by itself")
    finally:
        legacy("-P INPUT ACCEPT", "-F INPUT")


table_cases([("iptables-legacy: " + event, event, beside) for event, beside in
             (("alone", False), ("beside iptables-nft", True))], legacy_drops)

# --- nft ---

def loaded():
    host.firewall = NFT
    host.sh("cat >/etc/nftables.conf && nft -f /etc/nftables.conf", stdin=RULESET)
    return host.plain()


def load():
    host.sh("nft -f /etc/nftables.conf")


NATIVE = [
    ("`nft -f` with `flush ruleset`", load),
    ("`nft flush chain`", lambda: host.sh(
        f"nft 'flush chain inet filter input; add rule inet filter input udp dport {lab.sentinel} "
        "accept'")),
    ("`nft insert rule` of a drop",
     lambda: host.sh("nft insert rule inet filter input iifname br-app meta l4proto tcp counter drop")),
    ("a chain more, between two", lambda: host.sh(
        f"nft 'add table ip late; add chain ip late input {{ type filter hook input priority 5; "
        f"policy drop; }}; add rule ip late input udp dport {lab.sentinel} accept'")),
    ("`nft list ruleset`, `nft -f` of it", lambda: host.sh(
        "(echo flush ruleset; nft list ruleset) >/run/all && nft -f /run/all")),
]


def native(name, work):
    if "list" in name and NFT < "nft 1":
        skip(f"{NFT} cannot load what it lists: a map to an address and a port", kernel=True)
    without = loaded()
    expect_eq(without, "dropped", "control: a plain DNAT is dropped")
    host.add()
    expect_eq(host.dial(), "reached", "mapped")
    host.event(name, work, without=without)


table_cases([("nft: " + row[0],) + row for row in NATIVE], native)


@case("nft: removed, also across a load: nothing is left")
def _():
    loaded()
    host.undone(load)


run(host.reset)
