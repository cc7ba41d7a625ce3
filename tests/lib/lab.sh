# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The lab of the packet tests. A script that sources this file starts again in
# a network, mount and PID namespace of its own: what it then calls "the host"
# is that namespace, and all of it is gone when the script ends.
#
#      c1 172.30.1.2 ──┐
#                      br-0123456789ab ──┐
#      c2 172.30.1.3 ──┘   172.30.1.1    │
#                                        │      lan0                 eth0
#      c3 172.30.2.2 ──── br-second ─── host ── 192.0.2.1 ──── 192.0.2.2  lan
#                          172.30.2.1    │      (default route)            203.0.113.5
#      c4 172.30.3.2 ──── vp0 ───────────┘                        ("the world" behind it)
#                    172.30.3.1          lo 127.0.0.0/8, 198.51.100.1
#
#   c1 … c4, lan   network namespaces whose one device is called eth0
#   c1, c2         containers of one bridge          c3  a container of another bridge
#   c4             behind a single veth, without a bridge
#
# The functions below speak of these names: `probe c1 tcp:172.30.1.1:5432`.

: "${NAT_BRIDGE:?set NAT_BRIDGE to the path of the program to test}"

BR=br-0123456789ab
BR2=br-second
GW=172.30.1.1
GW2=172.30.2.1
OTHER=198.51.100.1
WORLD=203.0.113.5
export BR BR2 GW GW2 OTHER WORLD

lab_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHON=/usr/bin/python3
[ -x "$PYTHON" ] || PYTHON=$(command -v python3 || true)

# shellcheck source-path=SCRIPTDIR
. "$lab_lib/tap.sh"

lab_python()
{
	# -I -S: the standard library alone, and a third of the start-up time.
	"$PYTHON" -I -S "$@"
}

# Start the calling script again where it can do no harm. First things first:
# nothing in this file changes anything before lab_enter has returned.
lab_enter()
{
	local tool

	export PATH=$PATH:/usr/sbin:/sbin
	if [ -z "${NB_LAB_OUTER:-}" ]; then
		for tool in ip nft iptables-nft iptables-nft-save conntrack ss nsenter sysctl \
			unshare; do
			command -v "$tool" >/dev/null || tap_skip_all "no $tool here"
		done
		[ -n "$PYTHON" ] || tap_skip_all "no python3 here"
		[ "$(id -u)" -eq 0 ] || tap_skip_all "not root"
		case $NAT_BRIDGE in
		/*) ;;
		*) NAT_BRIDGE=$(cd "$(dirname "$NAT_BRIDGE")" && pwd)/$(basename "$NAT_BRIDGE") ;;
		esac
		[ -x "$NAT_BRIDGE" ] || tap_bail "$NAT_BRIDGE is no program"
		unshare --net --mount --pid --fork --mount-proc true 2>/dev/null ||
			tap_skip_all "may not make namespaces"
		export NAT_BRIDGE
		NB_LAB_OUTER=$(readlink /proc/self/ns/net) || tap_bail "cannot read /proc"
		export NB_LAB_OUTER
		tap_ended=1
		trap - EXIT
		exec unshare --net --mount --propagation private --pid --fork --kill-child \
			--mount-proc "$BASH" "$0" "$@"
	fi

	# Here we are PID 1 of a namespace that has loopback alone. Anything else
	# means that somebody set our variable by hand: refuse.
	[ "$$" -eq 1 ] || tap_bail "refused: not the first process of a PID namespace"
	[ "$(readlink /proc/self/ns/net)" != "$NB_LAB_OUTER" ] ||
		tap_bail "refused: this is the network namespace of the machine"
	[ -z "$(ip -o address show)" ] ||
		tap_bail "refused: this network namespace has addresses already"

	must mount -t tmpfs -o mode=755 tmpfs /run
	must mkdir -p /run/netns /run/lab /run/lab/rules.d
	T=/run/lab
	RULES=$T/rules.d
	export T RULES
	cd / || exit 1
}

# --- Building ---

lab_veth()
{
	local host=$1 ns=$2 address=$3 gateway=$4 bridge=${5:-}

	cat <<-BATCH
		link add $host type veth peer name eth0 netns $ns
		link set $host ${bridge:+master $bridge} up
	BATCH
	{
		echo "link set lo up"
		echo "address add $address dev eth0"
		echo "link set eth0 up"
		[ -z "$gateway" ] || echo "route add default via $gateway"
	} >"$T/$ns.batch"
}

lab_build()
{
	local ns

	sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \
		net.ipv4.conf.default.rp_filter=0 net.ipv4.icmp_ratelimit=0
	[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] ||
		sysctl -qw net.bridge.bridge-nf-call-iptables=0
	for ns in c1 c2 c3 c4 lan; do
		must ip netns add $ns
	done
	{
		cat <<-BATCH
			link set lo up
			address add $OTHER/32 dev lo
			link add $BR type bridge
			address add $GW/24 dev $BR
			link set $BR up
			link add $BR2 type bridge
			address add $GW2/24 dev $BR2
			link set $BR2 up
		BATCH
		lab_veth vc1 c1 172.30.1.2/24 $GW $BR
		lab_veth vc2 c2 172.30.1.3/24 $GW $BR
		lab_veth vc3 c3 172.30.2.2/24 $GW2 $BR2
		lab_veth vp0 c4 172.30.3.2/24 172.30.3.1
		lab_veth lan0 lan 192.0.2.2/24 ""
		cat <<-BATCH
			address add 172.30.3.1/24 dev vp0
			address add 192.0.2.1/24 dev lan0
			route add default via 192.0.2.2
		BATCH
	} >"$T/host.batch"
	must ip -batch "$T/host.batch"
	{
		echo "address add $WORLD/32 dev lo"
		echo "route add 172.30.0.0/16 via 192.0.2.1"
	} >>"$T/lan.batch"
	for ns in c1 c2 c3 c4 lan; do
		must ip -n $ns -batch "$T/$ns.batch"
	done
	lab_up
}

# A bridge takes frames as soon as its ports forward; there is no spanning tree here.
lab_up()
{
	poll 5 lab_carrier || tap_bail "the bridges get no carrier"
}

lab_carrier()
{
	! ip -o link show | grep -q NO-CARRIER
}

# --- Running ---

# in_ns NAMESPACE COMMAND...; the host is called "host".
in_ns()
{
	local ns=$1

	shift
	if [ "$ns" = host ]; then
		"$@"
	else
		nsenter --net="/run/netns/$ns" -- "$@"
	fi
}

# poll SECONDS COMMAND...: until it succeeds, at most that long.
poll()
{
	local end=$((${EPOCHREALTIME//[.,]/} + $1 * 1000000))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "${EPOCHREALTIME//[.,]/}" -lt "$end" ] || return 1
		sleep 0.02
	done
}

# serve NAMESPACE LABEL=KIND:ADDRESS:PORT...: they listen when it returns. The log: $T/serve.log
serve()
{
	local ns=$1

	shift
	in_ns "$ns" "$PYTHON" -I -S "$lab_lib/serve.py" --log "$T/serve.log" "$@" >"$T/serve.pid" ||
		tap_bail "cannot serve $*"
}

# probe NAMESPACE [OPTION...] KIND:ADDRESS:PORT...: prints a word for each, quickly
# resigned, for what should not be reached.
probe()
{
	local ns=$1

	shift
	in_ns "$ns" "$PYTHON" -I -S "$lab_lib/probe.py" "$@"
}

# The same, patient: for what should be reached.
reach()
{
	local ns=$1

	shift
	probe "$ns" --timeout 1.25 --tries 4 "$@"
}

# hold NAMESPACE NAME [--source A:P] SPEC: a connection that stays open.
hold()
{
	local ns=$1 name=$2

	shift 2
	rm -f "$T/$name.hold"
	in_ns "$ns" "$PYTHON" -I -S "$lab_lib/probe.py" hold "$T/$name.hold" "$@" \
		>"$T/$name.pid" || tap_bail "cannot hold $name"
}

# ask NAME ping|state|count|until WORD SECONDS|send TEXT
ask()
{
	local name=$1

	shift
	lab_python "$lab_lib/probe.py" ask "$T/$name.hold" "$@"
}

release()
{
	local name

	for name in "$@"; do
		kill "$(cat "$T/$name.pid")"
	done
}

mac_of()
{
	in_ns "${2:-host}" ip -o link show dev "$1" | sed 's/.*link\/ether \([0-9a-f:]*\).*/\1/'
}

# raw NAMESPACE HOST-DEVICE ARGUMENTS...: a frame from there to that device's MAC.
raw()
{
	local ns=$1 mac

	mac=$(mac_of "$2")
	shift 2
	in_ns "$ns" "$PYTHON" -I -S "$lab_lib/raw.py" eth0 "$mac" "$@"
}

# logged PATTERN: how many lines of the servers' log match.
logged()
{
	grep -c -E -- "$1" "$T/serve.log" || true
}

set_sysctl()
{
	must sysctl -qw "$@"
}

localnet_of()
{
	cat "/proc/sys/net/ipv4/conf/$1/route_localnet"
}

tag_of()
{
	cat "/proc/sys/net/ipv4/conf/$1/tag"
}

# The values of bridge-nf-call-iptables that this kernel can have; without br_netfilter
# bridged frames never meet the rules, which is what 0 means.
bridge_nf_values()
{
	if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
		echo 0 1
	else
		echo none
	fi
}

set_bridge_nf()
{
	[ "$1" = none ] || set_sysctl net.bridge.bridge-nf-call-iptables="$1"
}

# Strict source checks are the maximum of "all" and the device.
set_rp_filter()
{
	set_sysctl net.ipv4.conf.all.rp_filter="$1"
}

# --- The program ---

# No other file of the machine is read: not its rules, not its configuration.
nb()
{
	"$NAT_BRIDGE" --rules "$RULES" --config "$T/config.json" "$@"
}

# json EXPRESSION: evaluate it over `d`, the JSON on standard input.
json()
{
	lab_python -c '
import json, sys
d = json.load(sys.stdin)
value = eval(sys.argv[1])
print(json.dumps(value) if not isinstance(value, str) else value)' "$1"
}

# exits WANTED COMMAND...
exits()
{
	local want=$1 status=0

	shift
	"$@" || status=$?
	[ "$status" -eq "$want" ] || {
		echo "exit $status instead of $want"
		return 1
	}
}

generation()
{
	lab_python "$lab_lib/nl.py" generation
}

# Everything of the kernel that belongs to others, counters aside.
rules_of_others()
{
	nft -s list ruleset 2>/dev/null
	iptables-nft-save | sed -e '/^#/d' -e 's/\[[0-9]*:[0-9]*\]//'
	sysctl -a --pattern 'net.ipv4.conf.*(route_localnet|tag)'
}

# delete_rule FAMILY TABLE CHAIN PATTERN: the first rule that matches, as an attacker or a
# careless colleague would.
delete_rule()
{
	local handle

	handle=$(nft -a list chain "$1" "$2" "$3" 2>/dev/null |
		awk -v pattern="$4" 'index($0, pattern) && /# handle/ { print $NF; exit }')
	[ -n "$handle" ] || {
		echo "no rule \"$4\" in $1 $2 $3"
		return 1
	}
	nft delete rule "$1" "$2" "$3" handle "$handle"
}
