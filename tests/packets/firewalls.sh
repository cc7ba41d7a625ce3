#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Hosts with a firewall of their own. Every chain here is first seen to drop
# what it would drop without our opener: the opener is taken out by hand, the
# dial times out, `apply` puts it back.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build

serve host svc=tcp:127.0.0.1:5432 svc=udp:127.0.0.1:5353 unmapped=tcp:127.0.0.1:9090 \
	public=tcp:0.0.0.0:8022

dial()
{
	"$1" c1 tcp:$GW:5432 udp:$GW:5353
}

# Two tables of iptables-nft, and chains that drop by policy, by a verdict map, in a
# chain to which they jump, and in a chain of type nat.
must iptables-nft -A INPUT -i lo -j ACCEPT
must iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
must iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT
must iptables-nft -P INPUT DROP
must iptables-nft -t mangle -A INPUT -i lo -j ACCEPT
must iptables-nft -t mangle -A INPUT -p tcp --dport 8022 -j ACCEPT
must iptables-nft -t mangle -P INPUT DROP
must nft -f - <<-'NFT'
	table inet fw {
		chain early {
			type filter hook input priority -10; policy drop;
			iifname "lo" accept
			tcp dport 22 accept
		}
		chain forward {
			type filter hook forward priority 0; policy accept;
		}
	}
	table ip fwnat {
		chain input {
			type nat hook input priority 100; policy accept;
			iifname != "lo" ip daddr 127.0.0.0/8 counter drop
		}
	}
	table inet fwmap {
		map verdicts {
			type ifname : verdict
			elements = { "lo" : accept, "lan0" : drop, "br-0123456789ab" : drop,
				     "br-second" : drop }
		}
		chain input {
			type filter hook input priority 20; policy accept;
			iifname vmap @verdicts
		}
	}
	table ip6 fwsix {
		chain input {
			type filter hook input priority 0; policy drop;
		}
	}
	table ip fwlate {
		chain input {
			type filter hook input priority 50; policy accept;
			iifname != "lo" jump strangers
		}
		chain strangers {
			drop
		}
		chain watch {
			type filter hook input priority 60; policy accept;
			iifname "br-second" counter accept
		}
	}
NFT
# A restore completes the tables with empty chains and puts them last; once that
# has happened, another one changes nothing.
iptables-nft-save | iptables-nft-restore || tap_bail "cannot save and restore"
before=$(rules_of_others)
# nft words an opener in a table of iptables otherwise ("mark and"), and after a
# restore its comment is not shown.
opener='ip daddr 127.0.0.0/8 .*mark .* 0x10000000 == 0x10000000 .*accept'
openers()
{
	nft -s list ruleset 2>/dev/null | sed '/^table inet nat-bridge/,/^}/d' |
		grep -c "$opener" || true
}

is "the firewalls let nothing in" "$(probe c1 tcp:$GW:8022 tcp:$GW:5432)" "timeout timeout"
script=$(nb add --dry-run $BR 5432 5353/udp)
is "a dry run changes nothing" "$(rules_of_others)" "$before"
ok "and prints what nft takes" nft -c -f - <<<"$script"
out=$(nb add $BR 5432 5353/udp --json)
is "add: changed" "$(json 'd["changed"]' <<<"$out")" true
is "reached through all of them" "$(dial reach)" "answered answered"
is "what is not mapped is not" "$(probe c1 tcp:$GW:9090 tcp:$GW:8022)" "timeout timeout"
is "another bridge is not let in" "$(probe c3 tcp:$GW2:5432)" timeout

# --- The opener, as others see it ---

is "iptables shows ours as its own, at the head" "$(iptables-nft -S INPUT | sed -n 2p)" \
	"-A INPUT -d 127.0.0.0/8 -m mark --mark 0x10000000/0x10000000 -m comment --comment nat-bridge -j ACCEPT"
is "in mangle, too" "$(iptables-nft -t mangle -S INPUT | sed -n 2p)" \
	"-A INPUT -d 127.0.0.0/8 -m mark --mark 0x10000000/0x10000000 -m comment --comment nat-bridge -j ACCEPT"
has "in an inet table" "$(nft list chain inet fw early)" \
	'ip daddr 127.0.0.0/8 meta mark & 0x10000000 == 0x10000000 accept comment "nat-bridge"'
has "and in an ip table" "$(nft list chain ip fwlate input)" \
	'ip daddr 127.0.0.0/8 meta mark & 0x10000000 == 0x10000000 accept comment "nat-bridge"'
hasnt "a chain of another hook has none" "$(nft list chain inet fw forward)" mark
hasnt "a chain that cannot drop has none" "$(nft list chain ip fwlate watch)" mark
hasnt "an IPv6 chain has none" "$(nft list chain ip6 fwsix input)" mark
is "six in all" "$(openers)" 6

# --- Each chain drops without it ---

for chain in "ip filter INPUT" "ip mangle INPUT" "inet fw early" "ip fwnat input" "inet fwmap input" \
	"ip fwlate input"; do
	# Three words, meant as three arguments. A flow that is let in already may
	# pass a nat chain and an ESTABLISHED rule, so these are new ones.
	# shellcheck disable=SC2086
	must delete_rule $chain "0x10000000 == 0x10000000"
	is "control: without the opener in $chain it is dropped" "$(dial probe)" "timeout timeout"
	ok "check says so" exits 3 nb check
	ok "apply puts it back" nb apply
	is "reached again" "$(dial reach)" "answered answered"
done
is "still six in all" "$(openers)" 6

# --- Their own tools go on working ---

generation=$(generation)
ok "apply again" nb apply
is "changes nothing" "$(generation)" "$generation"
saved=$(iptables-nft-save)
must iptables-nft-restore <<<"$saved"
is "saved and restored: reached" "$(dial reach)" "answered answered"
out=$(nb apply --json)
is "one opener stays one" "$(iptables-nft -S INPUT | grep -c nat-bridge)" 1
is "in mangle, too" "$(iptables-nft -t mangle -S INPUT | grep -c nat-bridge)" 1
is "apply saw nothing to do" "$(json 'd["changed"]' <<<"$out")" false
ok "check neither" nb check
must iptables-nft -F INPUT
ok "flushed chains are mended" nb apply
is "reached" "$(dial reach)" "answered answered"
must iptables-nft-restore <<<"$saved"
must iptables-nft -I INPUT -d 127.0.0.0/8 -m mark --mark 0x10000000/0x10000000 \
	-m comment --comment nat-bridge -j ACCEPT
ok "a doubled opener is drift" exits 3 nb check
ok "which apply mends" nb apply
is "to one" "$(iptables-nft -S INPUT | grep -c nat-bridge)" 1
must iptables-nft-restore <<<"$saved"
ok "apply" nb apply

# --- The openers alone open nothing ---

saved=$(nft list table inet nat-bridge)
must nft delete table inet nat-bridge
is "without our table nobody carries the mark" "$(dial probe)" "timeout timeout"
must nft -f - <<<"$saved"
ok "check, with the table loaded from its own listing" nb check

# --- Another owner's table ---

lab_python "$lab_lib/nl.py" own foreign >"$T/owner.pid"
out=$(nb apply 2>&1)
is "a table that only its owner may change is no failure" $? 0
has "but it is named" "$out" foreign
is "and it drops, which we cannot help" "$(dial probe)" "timeout timeout"
ok "add another mapping beside it" nb add $BR 5434:5432
ok "and remove it" nb remove $BR 5434
kill "$(cat "$T/owner.pid")"
poll 3 eval '! nft list table inet foreign' || tap_note "the owned table stays"
is "without it: reached" "$(dial reach)" "answered answered"

# --- The mark ---

# A chain that cannot drop has no opener, and may rewrite what our first chain marked.
must nft add table ip rewrite
must nft add chain ip rewrite input '{ type filter hook input priority -5; }'
must nft add rule ip rewrite input meta mark set 0
is "a chain that clears marks does no harm" "$(dial reach)" "answered answered"
must nft flush chain inet nat-bridge admit-late
is "control: it would, without our second chain" "$(dial probe)" "timeout timeout"
must nft delete table ip rewrite
ok "apply" nb apply

# A process of the host may set any mark, but not with it pass the opener.
must iptables-nft -I INPUT 2 -p tcp --dport 9090 -j DROP
is "the firewall keeps the host itself from a port" "$(probe host tcp:127.0.0.1:9090)" timeout
is "a local process with our mark, too" \
	"$(probe host --mark 0x10000000 tcp:127.0.0.1:9090)" timeout
must delete_rule inet nat-bridge admit "meta mark set"
is "control: it would get in, were foreign marks not cleared" \
	"$(reach host --mark 0x10000000 tcp:127.0.0.1:9090)" answered
must iptables-nft -D INPUT -p tcp --dport 9090 -j DROP
ok "apply" nb apply

# The mark ends with the input hook: it must not leak into what the service sends.
leaked()
{
	nft list chain ip leak output | sed -n 's/.*packets \([0-9]*\).*/\1/p'
}
must nft -f - <<-'NFT'
	table ip leak {
		chain output {
			type filter hook output priority 0; policy accept;
			meta mark & 0x10000000 == 0x10000000 counter
		}
	}
NFT
set_sysctl net.ipv4.tcp_fwmark_accept=1
is "with tcp_fwmark_accept: reached" "$(reach c1 tcp:$GW:5432)" answered
is "and no answer carries the mark" "$(leaked)" 0
must nft flush chain inet nat-bridge unmark
is "control: reached without our last chain" "$(reach c1 tcp:$GW:5432)" answered
ok "control: then answers do carry it" [ "$(leaked)" -gt 0 ]
set_sysctl net.ipv4.tcp_fwmark_accept=0
must nft delete table ip leak
ok "apply" nb apply

# --- Gone without a trace ---

ok "remove one" nb remove $BR 5432
is "the openers stay for the other" "$(openers)" 6
ok "remove the last" nb remove $BR 5353/udp
is "everything is byte for byte what it was" "$(rules_of_others)" "$before"
ok "add again" nb add $BR 5432
saved=$(iptables-nft-save)
must iptables-nft-restore <<<"$saved"
ok "remove after a save and restore" nb remove $BR 5432
is "no opener is left, in either encoding" "$(rules_of_others)" "$before"
ok "add and flush" eval "nb add $BR 5432 && nb flush"
is "flush leaves nothing, either" "$(rules_of_others)" "$before"
tap_end
