#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What live connections survive, and bridges that come, go and change names.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build

serve host svc=tcp:127.0.0.1:5432 dgram=udp:127.0.0.1:5353 other=tcp:127.0.0.2:5432

nft_table()
{
	nft -s list table inet nat-bridge
}
# Replace our table, in one go, by its listing as changed with sed's SCRIPT.
retouch()
{
	local listing

	listing=$(nft_table | sed -E "$1")
	nft -f - <<<"delete table inet nat-bridge"$'\n'"$listing"
}
raw_unmapped()
{
	raw c1 $BR udp 172.30.1.2:4000 127.0.0.1:5353 --wait 0.2
}
state_of()
{
	nb list --json | json "next(m['state'] for m in d['mappings'] if m['network'] == 'iface:$1')"
}

before=$(rules_of_others)
ok "add" nb add $BR 5432
ok "add on the second bridge, another target" nb add $BR2 5432:127.0.0.2:5432
hold c1 first tcp:$GW:5432
hold c3 second tcp:$GW2:5432
alive()
{
	echo "$(ask first ping 3) $(ask second ping 3)"
}

# --- apply, and damage that apply mends ---

generation=$(generation)
ok "apply" nb apply
is "changes nothing" "$(generation)" "$generation"
is "connections live" "$(alive)" "answered answered"

# Each damage, what it means, and that live connections outlive the mending.
damage()
{
	local name=$1

	shift
	must "$@"
	ok "$name: check says drift" exits 3 nb check --quiet
	ok "$name: apply" nb apply
	ok "$name: check is content" nb check
	is "$name: connections live" "$(alive)" "answered answered"
	is "$name: new ones, too" "$(reach c1 tcp:$GW:5432; reach c3 tcp:$GW2:5432)" \
		"answered"$'\n'"answered"
	is "$name: loopback is guarded" "$(raw_unmapped)" timeout
}
damage "a guard rule is deleted" delete_rule inet nat-bridge guard daddr
damage "the guard is emptied" nft flush chain inet nat-bridge guard
damage "an element has another target" nft -f - <<-NFT
	delete element inet nat-bridge targets { "$BR" . tcp . 5432 }
	add element inet nat-bridge targets { "$BR" . tcp . 5432 : 127.0.0.9 . 1 }
NFT
damage "a bridge is no longer guarded" nft delete element inet nat-bridge bridges "{ \"$BR\" }"
damage "the sysctl is off" sysctl -qw net.ipv4.conf.$BR.route_localnet=0
damage "a priority is wrong" retouch 's/(prerouting priority) raw/\1 -150/'
damage "an older schema" retouch 's/schema 2/schema 1/; /chain translated/,/^\t}/d; s/jump translated/iifname != @bridges fib saddr . iif oif missing counter drop/'
damage "the table is gone" nft delete table inet nat-bridge
damage "everything is flushed" nft flush ruleset

# --- A newer schema is not ours to touch ---

must retouch 's/schema 2/schema 3/'
newer=$(nft_table)
for command in "apply" "add $BR 5433:5432" "remove $BR 5432" "flush"; do
	# Words, meant as such.
	# shellcheck disable=SC2086
	ok "a newer schema: $command fails" exits 1 nb $command
done
is "and touches nothing" "$(nft_table)" "$newer"
is "nor any rule file" "$(find "$RULES" -mindepth 1 | wc -l)" 2
is "connections live" "$(alive)" "answered answered"
must retouch 's/schema 3/schema 2/'
ok "back at ours" nb check

# --- Flows through a table that is replaced while data moves ---

# a busy machine takes its time for 80 MB; one that hangs takes for ever
probe c1 --timeout 30 --bytes 80000000 tcp:$GW:5432 >"$T/transfer" &
transfer=$!
for ((i = 0; i < 5; i++)); do
	must retouch 's/schema 2/schema 1/; /chain translated/,/^\t}/d; s/jump translated/iifname != @bridges fib saddr . iif oif missing counter drop/'
	must nb apply --quiet
done
wait $transfer
is "a transfer outlives five upgrades" "$(cat "$T/transfer")" answered

# --- A bridge that is renamed ---

must ip -batch - <<-BATCH
	link set $BR down
	link set $BR name br-renamed
	link set br-renamed up
BATCH
ok "renamed: drift" exits 3 nb check
ok "renamed: apply closes the device, and waits for the name" nb apply
is "renamed: the mapping is pending" "$(state_of $BR)" pending
is "renamed: the device is as it was before us" \
	"$(localnet_of br-renamed) $(tag_of br-renamed)" "0 0"
is "renamed: refused" "$(probe c1 tcp:$GW:5432)" refused
is "renamed: the other bridge is not concerned" "$(ask second ping 3)" answered
ok "renamed: --strict makes it a failure" exits 1 nb apply --strict
must ip -batch - <<-BATCH
	link set br-renamed down
	link set br-renamed name $BR
	link set $BR up
BATCH
ok "named back: apply" nb apply
is "named back: reached" "$(reach c1 tcp:$GW:5432)" answered

# --- A bridge that is made anew ---

must ip link del $BR
ok "deleted: apply is no failure" nb apply
is "deleted: pending" "$(state_of $BR)" pending
must ip -batch - <<-BATCH
	link add $BR type bridge
	address add $GW/24 dev $BR
	link set $BR up
	link set vc1 master $BR
	link set vc2 master $BR
BATCH
lab_up
is "made anew: it knows nothing of us yet" "$(probe c1 tcp:$GW:5432)" timeout
ok "made anew: drift" exits 3 nb check
ok "made anew: apply" nb apply
is "made anew: reached" "$(reach c1 tcp:$GW:5432)" answered
ok "made anew: check" nb check

# --- A bridge that is yet to come ---

out=$(nb add iface:br-later 5432 --json 2>/dev/null)
is "add for a bridge that does not exist: done" $? 0
is "it is pending" "$(json '[len(d["pending"]) > 0, len(d["warnings"]) > 0]' <<<"$out")" \
	"[true, true]"
must ip netns add c5
must ip link add br-later type bridge
must ip address add 172.30.5.1/24 dev br-later
must ip link set br-later up
must ip link add vc5 master br-later type veth peer name eth0 netns c5
must ip link set vc5 up
must ip -n c5 -batch - <<-BATCH
	address add 172.30.5.2/24 dev eth0
	link set eth0 up
BATCH
lab_up
ok "it comes: apply" nb apply
is "it comes: reached" "$(reach c5 tcp:172.30.5.1:5432)" answered
ok "remove" nb remove br-later 5432
is "the device is as it was" "$(localnet_of br-later) $(tag_of br-later)" "0 0"
must ip link del br-later
must ip link del vc5

# --- What a device was before us ---

ok "remove all" nb remove --all --all-networks
is "rules are what they were" "$(nft list ruleset)" ""
set_sysctl net.ipv4.conf.$BR.route_localnet=1
ok "route_localnet was 1: add" nb add $BR 5432
is "loopback is guarded all the same" "$(raw_unmapped)" timeout
ok "two mappings, one removed" eval "nb add $BR 5433:5432 && nb remove $BR 5432"
is "it stays 1" "$(localnet_of $BR)" 1
ok "remove the last" nb remove $BR 5433
is "it is 1 again, without a tag" "$(localnet_of $BR) $(tag_of $BR)" "1 0"
ok "add, flush" eval "nb add $BR 5432 && nb flush"
is "it is 1 after a flush" "$(localnet_of $BR) $(tag_of $BR)" "1 0"
ok "remove what is in files alone" nb remove $BR 5432
set_sysctl net.ipv4.conf.$BR.route_localnet=0

set_sysctl net.ipv4.conf.$BR.tag=7
out=$(nb add $BR 5432 2>&1)
is "somebody else's tag: add works" $? 0
has "with a warning" "$out" tag
is "the tag stays theirs" "$(tag_of $BR) $(localnet_of $BR)" "7 1"
ok "remove" nb remove $BR 5432
is "the tag stays theirs, route_localnet is what it was" "$(tag_of $BR) $(localnet_of $BR)" "7 0"
set_sysctl net.ipv4.conf.$BR.tag=0
is "all is what it was" "$(rules_of_others | grep -v "$BR")" "$(grep -v "$BR" <<<"$before")"

# --- Mappings of the kernel alone ---

ok "add --runtime" nb add --runtime $BR 5432
is "no file" "$(find "$RULES" -mindepth 1 | wc -l)" 0
is "reached" "$(reach c1 tcp:$GW:5432)" answered
generation=$(generation)
ok "apply keeps it" nb apply
is "untouched" "$(generation) $(reach c1 tcp:$GW:5432)" "$generation answered"
ok "check is content with it" nb check
ok "flush ends it" nb flush
ok "apply does not bring it back" nb apply
is "refused" "$(probe c1 tcp:$GW:5432)" refused
is "nothing is left" "$(nft list ruleset)" ""
tap_end
