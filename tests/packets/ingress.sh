#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The guard at the bridge's ingress, which outlives `nft flush ruleset`: what it drops, each
# beside the same packet when it is not there; what it must let through; and how it shares a
# device with other programs' filters.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build
set_bridge_nf "$(bridge_nf_values | cut -d' ' -f1)"

# 5432, 5353 and 15432 will be mapped. 9090 never is. 8889 is a service of the bridge's own address.
serve host mapped=tcp:127.0.0.1:5432 mapped=udp:127.0.0.1:5353 hidden=tcp:127.0.0.1:9090 \
	hidden=udp:127.0.0.1:9090 gateway=udp:$GW:8889

ours()
{
	tc filter show dev "${1:-$BR}" ingress | grep -c 'handle 0x6e62 nat-bridge/' || true
}
qdiscs()
{
	tc qdisc show dev "${1:-$BR}" | grep -c clsact || true
}

# How many datagrams with TEXT has a service seen? A good one that is sent later has to arrive.
delivered()
{
	marks=$((marks + 1))
	reach c1 --send "mark-$marks" udp:$GW:8889 >/dev/null
	reach host --send "mark-$marks" udp:127.0.0.1:5353 udp:127.0.0.1:9090 >/dev/null
	logged "data .* $1\$"
}
marks=0

# deliver TEXT DESTINATION OPTION...: a datagram of c1; prints how many came through.
deliver()
{
	local text=$1 destination=$2

	shift 2
	raw c1 $BR udp 172.30.1.2:4001 "$destination" --text "$text" "$@" >/dev/null
	delivered "$text"
}

# Everything that a frame may look like. A source route counts only where the host allows it.
set_sysctl net.ipv4.conf.all.accept_source_route=1 net.ipv4.conf.$BR.accept_source_route=1
# type, length, pointer, address: the packet is for the gateway, and then for 127.0.0.1
LOOSE=8307047f000001
STRICT=8907047f000001
attacks()
{
	local at=$1

	echo "plain $(deliver "$at-1" 127.0.0.1:9090)"
	echo "mapped $(deliver "$at-2" 127.0.0.1:5353)"
	echo "marked $(deliver "$at-3" 127.0.0.1:9090 --mark 0x10000000)"
	echo "options $(deliver "$at-4" 127.0.0.1:9090 --options 01010101)"
	echo "fragments $(deliver "$at-5" 127.0.0.1:9090 --fragment)"
	echo "vlan-0 $(deliver "$at-6" 127.0.0.1:9090 --vlan 0)"
	echo "vlan-0-ad $(deliver "$at-7" 127.0.0.1:9090 --vlan 0/ad)"
	echo "vlan-0-0 $(deliver "$at-8" 127.0.0.1:9090 --vlan 0 --vlan 0)"
	echo "vlan-0-0-0 $(deliver "$at-9" 127.0.0.1:9090 --vlan 0 --vlan 0 --vlan 0)"
	echo "loose $(deliver "$at-10" $GW:9090 --final 127.0.0.1 --options $LOOSE)"
	echo "loose-behind-nop $(deliver "$at-11" $GW:9090 --final 127.0.0.1 --options 010101$LOOSE)"
	echo "loose-behind-route $(deliver "$at-12" $GW:9090 --final 127.0.0.1 --options 0707040000000001$LOOSE)"
	echo "strict $(deliver "$at-13" $GW:9090 --final 127.0.0.1 --options $STRICT)"
	raw c1 $BR udp 127.0.0.2:4001 127.0.0.1:9090 --text "$at-14" >/dev/null
	echo "source $(delivered "$at-14")"
	echo "syn $(raw c1 $BR syn 172.30.1.2:"$2" 127.0.0.1:9090 --wait "$3")"
}
all_of()
{
	local word

	for word in plain mapped marked options fragments vlan-0 vlan-0-ad vlan-0-0 vlan-0-0-0 \
		loose loose-behind-nop loose-behind-route strict source; do
		echo "$word $1"
	done
	echo "syn $2"
}

# --- It comes with the first mapping ---

is "before, the device has neither" "$(ours) $(qdiscs)" "0 0"
before=$(rules_of_others)
ok "add" nb add $BR 5432 5353/udp 15432:5432
is "the device has a filter and the qdisc" "$(ours) $(qdiscs)" "1 1"
ok "check is content" nb check
gen=$(generation)
is "apply again changes nothing" "$(nb apply --json | json 'd["changed"]') $(generation)" "false $gen"

# --- What is mapped passes it, translated before it or after ---

for nf in $(bridge_nf_values); do
	set_bridge_nf "$nf"
	is "bridge-nf $nf: TCP and UDP are reached, by the gateway's address" \
		"$(reach c1 tcp:$GW:5432 udp:$GW:5353 tcp:$GW:15432)" "answered answered answered"
	is "bridge-nf $nf: by another address of the host" \
		"$(reach c1 tcp:192.0.2.1:5432 udp:192.0.2.1:5353)" "answered answered"
	is "bridge-nf $nf: fragments are put together" \
		"$(reach c1 --size 20000 udp:$GW:5353)" "answered"
	is "bridge-nf $nf: what is not mapped is refused" "$(probe c1 tcp:$GW:9090)" refused
	is "bridge-nf $nf: harmless options pass" \
		"$(deliver "alert-$nf" $GW:8889 --options 94040000) $(
			deliver "record-$nf" $GW:8889 --options 01070704000000000000
		) $(deliver "end-$nf" $GW:8889 --options 00830704)" "1 1 1"
	is "bridge-nf $nf: a tag of VLAN 0 passes" "$(deliver "tag-$nf" $GW:8889 --vlan 0)" 1
done

# A VLAN of the bridge is another device, and none of ours. Not every kernel has them.
if ip link add link $BR name $BR.7 type vlan id 7 2>/dev/null; then
	must ip addr add 172.30.7.1/24 dev $BR.7
	must ip link set $BR.7 up
	must ip -n c1 -batch - <<-BATCH
		link add link eth0 name eth0.7 type vlan id 7
		addr add 172.30.7.2/24 dev eth0.7
		link set eth0.7 up
	BATCH
	serve host vlan=udp:172.30.7.1:8890
	is "a VLAN of the bridge works" "$(reach c1 udp:172.30.7.1:8890)" answered
	must ip link del $BR.7
else
	tap_note "this kernel has no VLAN devices"
fi

# --- After a flush ---

for nf in $(bridge_nf_values); do
	set_bridge_nf "$nf"
	must nft flush ruleset
	is "bridge-nf $nf: flushed, and route_localnet is still 1" "$(localnet_of $BR)" 1
	is "bridge-nf $nf: nothing to loopback passes" \
		"$(attacks "shut$nf" "411${nf:0:1}" 0.3)" "$(all_of 0 timeout)"
	is "bridge-nf $nf: what is not for loopback passes" "$(reach c1 udp:$GW:8889)" answered
	raw c1 $BR udp 172.30.1.2:4001 127.0.0.1:9090 --cut 19 --count 3 >/dev/null
	raw c1 $BR udp 172.30.1.2:4001 127.0.0.1:9090 --cut 0 --count 3 >/dev/null
	is "bridge-nf $nf: nor do frames that are too short" "$(deliver "good$nf" $GW:8889)" 1
	must tc filter del dev $BR ingress
	is "bridge-nf $nf: control: without the filter each comes through" \
		"$(attacks "open$nf" "412${nf:0:1}" 3)" "$(all_of 1 answered)"
	ok "bridge-nf $nf: check finds it" exits 3 nb check
	ok "bridge-nf $nf: apply mends it" nb apply
	is "bridge-nf $nf: the filter is back" "$(ours) $(qdiscs)" "1 1"
	is "bridge-nf $nf: and the mappings" "$(reach c1 tcp:$GW:5432 udp:$GW:5353)" "answered answered"
	ok "bridge-nf $nf: check is content" nb check
done
set_bridge_nf "$(bridge_nf_values | cut -d' ' -f1)"

# --- It is watched: taken away, or of another mark ---

must tc filter del dev $BR ingress
ok "the filter is taken away: drift" exits 3 nb check
is "the other guard holds alone" "$(attacks alone 4130 0.3)" "$(all_of 0 timeout)"
is "and it says so" "$(nb check --json | json 'd["drift"][0]["what"]')" \
	"the ingress filter of $BR is missing"
ok "apply" nb apply
is "it is back" "$(ours)" 1
must tc qdisc del dev $BR clsact
ok "with its qdisc: drift" exits 3 nb check
ok "apply mends that" nb apply
is "it is back, too" "$(ours) $(qdiscs)" "1 1"
echo '{ "mark": "0x20000000" }' >"$T/config.json"
ok "another mark is configured: drift" exits 3 nb check
ok "apply changes rules and filter" nb apply
is "the mappings work" "$(reach c1 tcp:$GW:5432 udp:$GW:5353)" "answered answered"
is "there is one filter" "$(ours) $(tc filter show dev $BR ingress | grep -c 0x20000000)" "1 1"
rm "$T/config.json"
ok "and back" nb apply

# --- A second bridge has its own, and each goes with its last mapping ---

ok "add to the second bridge" nb add $BR2 5432
is "it has one" "$(ours $BR2)" 1
ok "remove one of three" nb remove $BR 15432
is "the filter stays" "$(ours)" 1
ok "remove the others" nb remove $BR 5432 5353/udp
is "filter and qdisc are gone" "$(ours) $(qdiscs)" "0 0"
is "the second bridge keeps its own" "$(ours $BR2) $(qdiscs $BR2)" "1 1"
ok "flush" nb flush
is "flush takes it, too" "$(ours $BR2) $(qdiscs $BR2)" "0 0"
ok "remove" nb remove $BR2 5432
is "nothing is left of anything" "$(rules_of_others)" "$before"

# --- A bridge that goes, and comes back under its name ---

ok "add" nb add $BR2 5432
must ip link set $BR2 down
must ip link set $BR2 name br-renamed
must ip link set br-renamed up
ok "renamed: apply" nb apply
is "renamed: the filter is gone" "$(ours br-renamed) $(qdiscs br-renamed)" "0 0"
must ip link set br-renamed down
must ip link set br-renamed name $BR2
must ip link set $BR2 up
ok "named back: apply" nb apply
is "named back: it is there" "$(ours $BR2)" 1
ok "remove" nb remove $BR2 5432

# --- Beside other programs' filters ---

# their DEVICE DIRECTION PRIORITY VERDICT: a filter of somebody else; 0 accepts, -1 goes on.
their()
{
	tc filter add dev "$1" "$2" pref "$3" protocol all bpf direct-action \
		bytecode "1,6 0 0 $4,"
}
theirs()
{
	tc filter show dev "$1" "${2:-ingress}" | grep -c bytecode || true
}
must tc qdisc add dev $BR clsact
must their $BR ingress 9 4294967295
ok "theirs is there, and at our priority: add" nb add $BR 5432
is "both are there" "$(ours) $(theirs $BR)" "1 1"
is "the mapping works" "$(reach c1 tcp:$GW:5432)" answered
ok "remove" nb remove $BR 5432
is "theirs stays, with the qdisc" "$(ours) $(theirs $BR) $(qdiscs)" "0 1 1"
must tc filter del dev $BR ingress
ok "a qdisc of theirs without filters: add" nb add $BR 5432
ok "remove" nb remove $BR 5432
is "it stays" "$(ours) $(qdiscs)" "0 1"
must tc qdisc del dev $BR clsact

for direction in ingress egress; do
	ok "ours first: add" nb add $BR 5432
	must their $BR $direction 100 4294967295
	is "$direction: the mapping works" "$(reach c1 tcp:$GW:5432)" answered
	is "$direction: check has nothing to say of it" \
		"$(nb check --json | json 'len([w for w in d["warnings"] if "ingress" in w])')" 0
	ok "$direction: remove" nb remove $BR 5432
	is "$direction: theirs stays, and so does the qdisc" \
		"$(ours) $(theirs $BR $direction) $(qdiscs)" "0 1 1"
	must tc qdisc del dev $BR clsact
done

# --- Whose qdisc it is, when nothing is in it ---

# what says that it is ours
noted()
{
	tc chain show dev $BR ingress 2>/dev/null | grep -c 'chain 28258' || true
}
ok "our filter is taken away: add" nb add $BR 5432
must tc filter del dev $BR ingress
is "what is left says that it is ours" "$(ours) $(qdiscs) $(noted)" "0 1 1"
ok "remove" nb remove $BR 5432
is "it goes" "$(qdiscs)" 0

ok "our filter is taken away, and put back: add" nb add $BR 5432
must tc filter del dev $BR ingress
ok "apply" nb apply
is "it is ours" "$(ours) $(qdiscs) $(noted)" "1 1 1"
ok "remove" nb remove $BR 5432
is "it goes with its qdisc" "$(qdiscs)" 0

ok "left over, without a table: add" nb add $BR 5432
must tc filter del dev $BR ingress
must nft flush ruleset
must rm "$RULES"/*.json
set_sysctl net.ipv4.conf.$BR.tag=0 net.ipv4.conf.$BR.route_localnet=0
ok "drift" exits 3 nb check
ok "apply" nb apply
is "it goes" "$(qdiscs)" 0
ok "check is content" nb check

ok "theirs in place of ours: add" nb add $BR 5432
must tc qdisc del dev $BR clsact
must tc qdisc add dev $BR clsact
ok "apply" nb apply
is "our filter is in it" "$(ours) $(qdiscs) $(noted)" "1 1 0"
must tc filter del dev $BR ingress
ok "and again: apply" nb apply
ok "remove" nb remove $BR 5432
is "it stays, empty as it was" "$(ours) $(qdiscs) $(noted)" "0 1 0"
must tc qdisc del dev $BR clsact

ok "ours, in which is theirs now: add" nb add $BR 5432
must their $BR egress 100 4294967295
ok "remove" nb remove $BR 5432
is "it is theirs" "$(ours) $(theirs $BR egress) $(qdiscs) $(noted)" "0 1 1 0"
must tc filter del dev $BR egress
ok "add" nb add $BR 5432
ok "remove" nb remove $BR 5432
is "for good" "$(qdiscs)" 1
must tc qdisc del dev $BR clsact

# a qdisc and a filter of an older version, which left no note
ok "of an older version: add" nb add $BR 5432
must tc chain del dev $BR ingress chain 28258
is "the filter's name says it" "$(ours) $(noted)" "1 0"
ok "apply" nb apply
ok "remove" nb remove $BR 5432
is "it goes" "$(qdiscs)" 0

# One that is asked first and accepts: what a flush leaves open is said before.
must tc qdisc add dev $BR clsact
must their $BR ingress 1 0
ok "theirs is asked first: add" nb add $BR 5432
is "check says so" "$(nb check --json | json 'len([w for w in d["warnings"] if "asked before" in w])')" 1
is "list says so" "$(nb list --json | json 'len([w for w in d["warnings"] if "asked before" in w])')" 1
ok "and it is no drift" nb check
is "while the table is there nothing passes" "$(deliver first-1 127.0.0.1:9090)" 0
ok "remove" nb remove $BR 5432
must tc qdisc del dev $BR clsact

# The older qdisc, which has no egress, is somebody's, too.
must tc qdisc add dev $BR ingress
ok "qdisc ingress of theirs: add" nb add $BR 5432
is "the filter is in it" "$(ours)" 1
must nft flush ruleset
is "and holds after a flush" "$(deliver older-1 127.0.0.1:9090)" 0
ok "remove" nb remove $BR 5432
is "their qdisc stays" "$(ours) $(tc qdisc show dev $BR | grep -c 'qdisc ingress')" "0 1"
must tc qdisc del dev $BR ingress

# --- Where it cannot be had ---

without_bpf()
{
	setpriv --bounding-set -bpf,-sys_admin --inh-caps -bpf,-sys_admin \
		"$NAT_BRIDGE" --rules "$RULES" --config "$T/config.json" "$@"
}
said()
{
	"$@" --json | json 'len([w for w in d["warnings"] if "guard: nftables only" in w])'
}
is "without the right to bpf(2): add works" \
	"$(without_bpf add $BR 5432 --json | json 'd["changed"]')" true
is "the mapping is reached" "$(reach c1 tcp:$GW:5432)" answered
is "there is no filter" "$(ours) $(qdiscs)" "0 0"
ok "check is content" without_bpf check
is "and says it once" "$(said without_bpf check)" 1
is "list says it once" "$(said without_bpf list)" 1
is "apply changes nothing" "$(without_bpf apply --json | json 'd["changed"]')" false
is "the guard in nf_tables holds" "$(deliver alone-1 127.0.0.1:9090)" 0
ok "with the right it is drift" exits 3 nb check
ok "apply mends it" nb apply
is "it is there" "$(ours)" 1
is "then it is no news to those without the right" \
	"$(said without_bpf check) $(said without_bpf list)" "0 0"
ok "who may not load one may take it away" without_bpf remove $BR 5432
is "it is gone" "$(ours) $(qdiscs)" "0 0"

# mapped already when somebody makes a qdisc: the device's tag says nothing of that
is "without the right again: add" "$(without_bpf add $BR 5432 --json | json 'd["changed"]')" true
must tc qdisc add dev $BR clsact
ok "with the right: apply" nb apply
ok "remove" nb remove $BR 5432
is "their qdisc stays" "$(ours) $(qdiscs)" "0 1"
must tc qdisc del dev $BR clsact

tap_end
