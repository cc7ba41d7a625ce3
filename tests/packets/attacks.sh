#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What an attacker with every capability in its container, or on the LAN, may
# try. Each attack is first seen to work without our rules, with route_localnet
# set as somebody's script would: one that does not work there proves nothing.
#
# "Not delivered" is never concluded from silence alone: a good datagram sent
# after the bad ones has to arrive first (see `delivered`).
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build
set_bridge_nf "$(bridge_nf_values | cut -d' ' -f1)"

# 5432 and 5353 will be mapped. 9090 never is. 8889 is a service of the bridge's own address.
serve host mapped=tcp:127.0.0.1:5432 mapped=udp:127.0.0.1:5353 hidden=tcp:127.0.0.1:9090 \
	hidden=udp:127.0.0.1:9090 gateway=udp:$GW:8889 gateway=udp:192.0.2.1:8889

# How many datagrams with TEXT has a service seen?
delivered()
{
	# The marker takes the same way (bridge, routing, input) as what it follows.
	marks=$((marks + 1))
	reach c1 --send "mark-$marks" udp:$GW:8889 >/dev/null
	reach c3 --send "mark-$marks" udp:$GW:8889 >/dev/null
	reach lan --send "mark-$marks" udp:192.0.2.1:8889 >/dev/null
	reach host --send "mark-$marks" udp:127.0.0.1:5353 udp:127.0.0.1:9090 >/dev/null
	logged "data .* $1"
}
marks=0

# --- Attacks. Each prints what came of it ---

# Frames with a loopback destination, at the bridge's MAC.
raw_frames()
{
	local kind port number=0

	for kind in syn udp; do
		for port in "$([ $kind = syn ] && echo 5432 || echo 5353)" 9090; do
			number=$((number + 1))
			raw c1 $BR $kind 172.30.1.2:"$1" 127.0.0.1:"$port" --wait "$2" \
				--text "raw-$1" >"$T/raw.$number" &
		done
	done
	wait
	cat "$T"/raw.[1-4]
}

# No raw socket needed: CAP_NET_ADMIN in the container routes 127.0.0.1 to the host.
recipe_on()
{
	must in_ns c1 sysctl -qw net.ipv4.conf.eth0.route_localnet=1
	must ip -n c1 -batch - <<-BATCH
		rule add pref 1 lookup local
		rule del pref 0
		rule add pref 0 to 127.0.0.1 lookup 100
		route add 127.0.0.1/32 via $GW dev eth0 table 100 src 172.30.1.2
	BATCH
}
recipe()
{
	probe c1 tcp:127.0.0.1:5432 tcp:127.0.0.1:9090 udp:127.0.0.1:5353 udp:127.0.0.1:9090
}

# 127.0.0.1 as a source is refused by the kernel itself; 127.0.0.2 is not.
spoof()
{
	raw c1 $BR udp 127.0.0.2:4001 127.0.0.1:9090 --text "spoof-$1-loopback" >/dev/null
	raw c1 $BR udp 127.0.0.2:4001 $GW:8889 --text "spoof-$1-gateway" >/dev/null
	raw c1 $BR udp 127.0.0.2:4001 $GW:5353 --text "spoof-$1-mapping" >/dev/null
	echo "$(delivered "spoof-$1-loopback") $(delivered "spoof-$1-gateway")" \
		"$(delivered "spoof-$1-mapping")"
}

# Twenty datagrams that pretend to belong to c1's flow, from a device where c1 does not live.
inject()
{
	local ns=$1 device=$2 text=$3

	raw "$ns" "$device" udp 172.30.1.2:40000 $GW:5353 --count 20 --text "$text" >/dev/null
	delivered "$text"
}

# --- Controls, without our table ---

# This also fills the neighbour tables: the host cannot do so when it answers from
# loopback, because nobody answers an ARP request that comes from 127.0.0.1.
is "the services outside loopback are reached" \
	"$(reach c1 udp:$GW:8889; reach c3 udp:$GW:8889; reach lan udp:192.0.2.1:8889)" \
	"answered"$'\n'"answered"$'\n'"answered"
is "control: without route_localnet the kernel itself refuses loopback" \
	"$(raw_frames 4100 0.2 | xargs)" "timeout timeout timeout timeout"
set_sysctl net.ipv4.conf.$BR.route_localnet=1
is "control: raw frames to loopback are answered on every port" \
	"$(raw_frames 4101 3 | xargs)" "answered answered answered answered"
recipe_on
is "control: the routing recipe reaches every port" \
	"$(recipe)" "answered answered answered answered"
is "control: a loopback source reaches loopback and the gateway's services" \
	"$(spoof before)" "1 1 0"
is "control: the LAN's frames to loopback are refused by the kernel" \
	"$(raw lan lan0 udp 192.0.2.2:4103 127.0.0.1:9090 --wait 0.2)" timeout
set_sysctl net.ipv4.conf.lan0.route_localnet=1
is "control: but with its route_localnet set they are answered" \
	"$(raw lan lan0 udp 192.0.2.2:4103 127.0.0.1:9090 --wait 3)" answered
set_sysctl net.ipv4.conf.lan0.route_localnet=0
set_sysctl net.ipv4.conf.$BR.route_localnet=0
must conntrack -F 2>/dev/null

# --- The same with one port mapped ---

ok "add" nb add $BR 5432 5353/udp
is "the mapping works" "$(reach c1 tcp:$GW:5432 udp:$GW:5353)" "answered answered"
for bridge_nf in $(bridge_nf_values); do
	set_bridge_nf "$bridge_nf"
	is "bridge-nf $bridge_nf: raw frames to loopback, mapped or not, are dropped" \
		"$(raw_frames "411$bridge_nf" 0.3 | xargs)" "timeout timeout timeout timeout"
	is "bridge-nf $bridge_nf: and none was delivered" "$(delivered "raw-411$bridge_nf")" 0
	is "bridge-nf $bridge_nf: the routing recipe reaches nothing" \
		"$(recipe)" "timeout timeout timeout timeout"
	is "bridge-nf $bridge_nf: a loopback source reaches nothing" \
		"$(spoof "with-$bridge_nf")" "0 0 0"
done
set_bridge_nf "$(bridge_nf_values | cut -d' ' -f1)"

# --- There are two guards in nf_tables. Each holds alone; ingress.sh is about the third ---

must tc filter del dev $BR ingress
is "without the filter at ingress nothing passes either" "$(raw_frames 4115 0.3 | xargs)" \
	"timeout timeout timeout timeout"

dropped_by()
{
	nft list chain inet nat-bridge "$1" | grep drop |
		sed 's/.*packets \([0-9]*\).*/\1/' | awk '{ n += $1 } END { print n + 0 }'
}
ok "it was the first guard that dropped them" [ "$(dropped_by guard)" -gt 10 ]
is "nothing came as far as the second" "$(dropped_by mapped) $(dropped_by admit)" "0 0"
attack_all()
{
	raw_frames "$1" 0.3
	recipe
	spoof "$1"
	delivered "raw-$1"
}
nothing="timeout timeout timeout timeout timeout timeout timeout timeout 0 0 0 0"
must nft flush chain inet nat-bridge guard
is "without the first guard the second drops them all" "$(attack_all 4131 | xargs)" "$nothing"
ok "and it was that one" [ "$(dropped_by mapped)" -gt 5 ]
for chain in admit admit-late spoofed egress; do
	must nft flush chain inet nat-bridge $chain
done
is "control: without our chains they all get in" "$(attack_all 4132 | xargs)" \
	"answered answered answered answered answered answered answered answered 1 1 1 2"
ok "apply mends both" nb apply
must nft flush chain inet nat-bridge admit
must nft flush chain inet nat-bridge admit-late
is "without the second guard the first drops them all" "$(attack_all 4133 | xargs)" "$nothing"
ok "apply mends that" nb apply
must ip -n c1 rule del pref 0 to 127.0.0.1 lookup 100
is "the mapping still works" "$(reach c1 tcp:$GW:5432 udp:$GW:5353)" "answered answered"

# --- Into somebody else's flow ---

hold c1 flow --source 172.30.1.2:40000 udp:$GW:5353
hold c1 stream --source 172.30.1.2:40000 tcp:$GW:5432
# A SYN in the middle of a connection makes the service's socket challenge it: that
# is how one sees it arrive.
challenged()
{
	local before

	before=$(challenges)
	raw "$1" "$2" syn 172.30.1.2:40000 $GW:5432 --count 20 >/dev/null
	delivered nothing >/dev/null
	echo $(($(challenges) - before))
}
challenges()
{
	awk '/^TcpExt:/ { if (!n) n = split($0, name); else split($0, value) }
		END { for (i = 1; i <= n; i++) if (name[i] == "TCPSYNChallenge") print value[i] }' \
		/proc/net/netstat
}
is "the LAN cannot inject" "$(inject lan lan0 lan-shut)" 0
is "nor can a bridge without route_localnet" "$(inject c3 $BR2 second-shut)" 0
set_sysctl net.ipv4.conf.lan0.route_localnet=1 net.ipv4.conf.$BR2.route_localnet=1
is "nor the LAN, with its route_localnet set" "$(inject lan lan0 lan-open)" 0
is "nor an unmanaged bridge, with its route_localnet set" "$(inject c3 $BR2 second-open)" 0
is "nor into TCP" "$(challenged lan lan0) $(challenged c3 $BR2)" "0 0"
is "a SYN of the LAN to a mapped port is refused" \
	"$(raw lan lan0 syn 192.0.2.2:4104 192.0.2.1:5432 --wait 3)" refused
is "and one that claims c1's address brings no answer to the LAN" \
	"$(raw lan lan0 syn 172.30.1.2:4105 $GW:5432 --wait 0.3)" timeout
must nft flush chain inet nat-bridge spoofed
is "control: without our rules the LAN does inject" "$(inject lan lan0 lan-control)" 20
is "control: and the unmanaged bridge" "$(inject c3 $BR2 second-control)" 20
ok "control: and into TCP" [ "$(challenged lan lan0)" -gt 0 ]
ok "control: both of them" [ "$(challenged c3 $BR2)" -gt 0 ]
set_sysctl net.ipv4.conf.lan0.route_localnet=0 net.ipv4.conf.$BR2.route_localnet=0
ok "apply mends the emptied chain" nb apply
ok "another bridge maps the same port and target" nb add $BR2 5353/udp
is "its own flows work" "$(reach c3 udp:$GW2:5353)" answered
is "a managed bridge cannot inject into another's flow" "$(inject c3 $BR2 managed)" 0
must delete_rule inet nat-bridge translated fib
is "control: without our rule it can" "$(inject c3 $BR2 managed-control)" 20
ok "apply mends the deleted rule" nb apply
is "the flows never suffered" "$(ask flow ping 3) $(ask stream ping 3)" "answered answered"
release flow stream
ok "remove both" nb remove --all --all-networks

# --- A flood while mappings come and go ---

# What 127.0.0.1:9090 has seen in all.
hidden()
{
	reach host --show --send stats udp:127.0.0.1:9090 | sed 's/.* seen \([0-9]*\).*/\1/'
}

in_ns c1 "$PYTHON" -I -S "$lab_lib/raw.py" eth0 "$(mac_of $BR)" udp 172.30.1.2:4200 \
	127.0.0.1:9090 --text flood --flood >"$T/flood.pid"
flooded()
{
	# Of the line "eth0: 8 numbers received, 8 sent", the packets sent.
	[ "$(in_ns c1 sed -n 's/.*eth0: *//p' /proc/net/dev | tr -s ' ' | cut -d' ' -f10)" -gt "$1" ]
}
ok "the flood is on" poll 5 flooded 5000
before=$(hidden)
cycles=${NB_FLOOD_CYCLES:-150}
failed=0
for ((i = 0; i < cycles; i++)); do
	nb add --quiet $BR 5432 || failed=$((failed + 1))
	nb remove --quiet $BR 5432 || failed=$((failed + 1))
done
is "$cycles times add and remove under the flood succeed" "$failed" 0
is "and not one datagram reached the unmapped port" "$(($(hidden) - before))" 0
kill "$(cat "$T/flood.pid")"

flooded_in()
{
	[ "$(hidden)" -gt "$before" ]
}

# The same flood is no blank: one wrong order of steps, once, and it is in.
in_ns c1 "$PYTHON" -I -S "$lab_lib/raw.py" eth0 "$(mac_of $BR)" udp 172.30.1.2:4200 \
	127.0.0.1:9090 --text flood --flood >"$T/flood.pid"
set_sysctl net.ipv4.conf.$BR.route_localnet=1
poll 3 flooded_in
set_sysctl net.ipv4.conf.$BR.route_localnet=0
kill "$(cat "$T/flood.pid")"
ok "control: route_localnet without a guard lets it in" flooded_in
tap_end
