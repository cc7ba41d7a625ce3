#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# `remove` ends the live flows of one mapping, at once, and no others.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build

serve host svc=tcp:127.0.0.1:5432 dgram=udp:127.0.0.1:5353 conn=udpc:127.0.0.1:5354

# Conntrack's translated entries of a dialled port and a container.
flows()
{
	conntrack -L -p "$1" --orig-port-dst "$2" -s "$3" 2>/dev/null | grep -c src=127 || true
}

before=$(rules_of_others)
ok "add" nb add $BR 5432 15432:5432 5353/udp 15353:5353/udp 5354/udp
ok "add the same ports on the second bridge" nb add $BR2 5432 5353/udp 5354/udp

# --- Flows of every kind ---

hold c1 tcp --source 172.30.1.2:40001 tcp:$GW:5432
hold c2 idle --source 172.30.1.3:40002 tcp:$OTHER:5432
hold c1 tcp-sibling tcp:$GW:15432
hold c3 tcp-second tcp:$GW2:5432
hold host tcp-local tcp:127.0.0.1:5432
hold c1 udp --source 172.30.1.2:40003 udp:$GW:5353
hold c1 udp-sibling udp:$GW:15353
hold c3 udp-second udp:$GW2:5353
hold host udp-local udp:127.0.0.1:5353
hold c1 conn --source 172.30.1.2:40004 udp:$GW:5354
hold c3 conn-second --source 172.30.2.2:40005 udp:$GW2:5354
# The service goes on sending whether anybody asks or not.
must ask udp send push 20 >/dev/null
must ask udp-sibling send push 20 >/dev/null
must ask udp-second send push 20 >/dev/null
once()
{
	[ "$(logged "$1")" -ge 1 ]
}
pushed()
{
	[ "$(ask "$1" count)" -gt "$2" ]
}
for name in udp udp-sibling udp-second; do
	ok "$name: the service pushes" poll 5 pushed $name 5
done
is "list counts connections" "$(nb list --json | json 'next(m["connections"] for m in d["mappings"]
	if m["network"] == "iface:'$BR'" and m["port"] == 5432)')" 2

survivors="tcp-sibling tcp-second tcp-local udp-sibling udp-second udp-local conn-second"
all_alive()
{
	local name

	for name in $1; do
		ask "$name" ping 3
	done | sort | uniq -c | xargs
}

# --- TCP ---

ok "remove the TCP mapping" nb remove $BR 5432
is "its connection is reset at once" "$(ask tcp until reset 2)" reset
is "an idle one, through another address, too" "$(ask idle until reset 2)" reset
is "the service is told" "$(logged 'tcp svc closed 172.30.1.[23]:4000[12] (ECONNABORTED|ECONNRESET)')" 2
is "no entry of conntrack is left" "$(flows tcp 5432 172.30.1.2) $(flows tcp 5432 172.30.1.3)" "0 0"
is "a new dial is refused" "$(probe c1 tcp:$GW:5432)" refused
is "the listener goes on: for the other mapping, the other bridge, the host" \
	"$(reach c2 tcp:$GW:15432; reach c3 tcp:$GW2:5432; reach host tcp:127.0.0.1:5432)" \
	"answered"$'\n'"answered"$'\n'"answered"
is "every other flow lives" "$(all_alive "$survivors udp conn")" "9 answered"

# --- UDP, one socket for all ---

ok "remove a UDP mapping" nb remove $BR 5353/udp
is "its flow is dead" "$(ask udp ping)" refused
count=$(ask udp count)
other=$(ask udp-sibling count)
ok "the service pushes on to others" poll 5 pushed udp-sibling $((other + 10))
is "and not one datagram more to it" "$(ask udp count)" "$count"
is "no entry of conntrack is left" "$(flows udp 5353 172.30.1.2)" 0
is "the unconnected server lives" \
	"$(reach c2 udp:$GW:15353; reach c3 udp:$GW2:5353; reach host udp:127.0.0.1:5353)" \
	"answered"$'\n'"answered"$'\n'"answered"
is "every other flow lives" "$(all_alive "$survivors conn")" "8 answered"

# --- UDP, a socket connected to its client ---

ok "remove the mapping of the connecting server" nb remove $BR 5354/udp
ok "the socket that was connected to that client is ended" \
	poll 3 once "udp conn aborted 172.30.1.2:40004"
is "its flow is dead" "$(ask conn ping)" refused
is "its brother of the other bridge is not" "$(ask conn-second ping 3)" answered
is "the server itself lives" "$(reach c3 udp:$GW2:5354; reach host udp:127.0.0.1:5354)" \
	"answered"$'\n'"answered"
is "nobody's socket was ended by mistake" "$(logged 'accept EINVAL|aborted')" 1
is "every other flow lives" "$(all_alive "$survivors")" "7 answered"

# --- A revoked flow stays dead until it is allowed again ---

ok "add it again" nb add $BR 5353/udp
is "the client's old socket works again" "$(ask udp ping 3)" answered
is "and the reset one needs a new connection" "$(ask tcp ping)" reset
ok "replace the target" nb add --replace $BR 5353:5354/udp
is "another service answers" "$(reach c2 --show udp:$GW:5353 | cut -d' ' -f2)" conn
is "the old flow has moved, too, or is dead" "$(ask udp ping; logged "udp dgram aborted")" \
	"answered"$'\n'"0"
ok "it is the new service that answers the old flow" once "udp conn data 172.30.1.2:40003 ping"
hold c1 last tcp:$GW:15432
ok "flush ends flows, too" nb flush
is "at once" "$(ask last until reset 2) $(ask tcp-second until reset 2)" "reset reset"
is "but not the host's own" "$(ask tcp-local ping 3) $(ask udp-local ping 3)" "answered answered"
ok "apply brings the mappings back" nb apply
is "reached" "$(reach c1 tcp:$GW:15432; reach c3 udp:$GW2:5354)" "answered"$'\n'"answered"
ok "remove all" nb remove --all --all-networks
is "rules are what they were" "$(rules_of_others)" "$before"

# --- UDP that started too early ---

# The same five numbers all the time, as a resolver or a VPN would use.
early()
{
	"$1" c1 --source 172.30.1.2:40100 udp:$GW:5353
}

# Some rule has to ask for conntrack, as every real host's do.
must nft -f - <<-NFT
	table ip control {
		chain input {
			type filter hook input priority 0; policy accept;
			ct state established accept
		}
		chain prerouting {
			type nat hook prerouting priority dstnat; policy accept;
		}
	}
NFT
is "before the mapping: refused" "$(early probe)" refused
is "conntrack holds the flow, untranslated" \
	"$(conntrack -L -p udp --orig-port-dst 5353 -s 172.30.1.2 2>/dev/null | wc -l)" 1
set_sysctl net.ipv4.conf.$BR.route_localnet=1
must nft add rule ip control prerouting iifname $BR udp dport 5353 dnat to 127.0.0.1:5353
is "control: a NAT rule alone does not free it" "$(early probe)" refused
is "control: though a new flow works" "$(reach c1 udp:$GW:5353)" answered
set_sysctl net.ipv4.conf.$BR.route_localnet=0
must nft flush chain ip control prerouting
ok "add" nb add $BR 5353/udp
is "the early flow is freed" "$(early reach)" answered
ok "remove" nb remove $BR 5353/udp
# --- Killed after the elements went, before the flows did: the next apply ends them ---

# remove_killed N: kill it as it opens its Nth socket
remove_killed()
{
	ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o /dev/null -e trace=socket \
		-e inject=socket:signal=KILL:when="$1" "$NAT_BRIDGE" --rules "$RULES" \
		--config "$T/config.json" -q remove $BR 5432 >/dev/null 2>&1
}
ok "a mapping for it" nb -q add $BR 5432
hold c1 unfinished tcp:$GW:5432
is "a connection lives" "$(ask unfinished ping 3)" answered
for try in 1 2 3 4 5 6 7 8; do
	remove_killed $try
	if ! nft list map inet nat-bridge targets 2>/dev/null | grep -q ". 5432 "; then
		break
	fi
	nb -q apply
	nb -q add $BR 5432
done
is "killed in between: its file says that it is not finished" \
	"$(cd "$RULES" && echo .*5432*.gone)" ".iface.$BR-5432-tcp.json.gone"
ok "apply" nb -q apply
is "the connection is ended" "$(ask unfinished ping 1)" reset
is "and no flow of it is left" "$(conntrack -L -p tcp -s 172.30.1.2 --orig-port-dst 5432 2>/dev/null)" ""
is "check" "$(nb check)" "in sync"

tap_end
