#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Only what is addressed to the host is translated. Everybody in this lab
# serves the mapped port and says who it is.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build

serve host host=tcp:127.0.0.1:5432 host=udp:127.0.0.1:5353
serve lan world=tcp:$WORLD:5432 world=udp:$WORLD:5353
serve c2 neighbour=tcp:172.30.1.3:5432 neighbour=udp:172.30.1.3:5353
serve c3 stranger=tcp:172.30.2.2:5432 stranger=udp:172.30.2.2:5353

# Who answers c1 on ADDRESS? One word for TCP, one for UDP.
who()
{
	reach c1 --show "tcp:$1:5432" | cut -d' ' -f2
	reach c1 --show "udp:$1:5353" | cut -d' ' -f2
}

# --- Control: the usual recipe, which takes everything on that port ---

must nft -f - <<-NFT
	table ip recipe {
		chain prerouting {
			type nat hook prerouting priority dstnat; policy accept;
			iifname "$BR" tcp dport 5432 dnat to 127.0.0.1:5432
			iifname "$BR" udp dport 5353 dnat to 127.0.0.1:5353
		}
	}
NFT
set_sysctl net.ipv4.conf.$BR.route_localnet=1
set_bridge_nf "$(bridge_nf_values | cut -d' ' -f1)"
is "control: the usual recipe hijacks an external host" "$(who $WORLD | xargs)" "host host"
if [ "$(bridge_nf_values)" = none ]; then
	skip "control: neighbours" "no br_netfilter in this kernel"
else
	set_bridge_nf 1
	is "control: and, with bridge-nf-call-iptables, the neighbour" \
		"$(who 172.30.1.3 | xargs)" "host host"
fi

# --- That recipe is somebody's work: refused until it is gone or forced ---

before=$(rules_of_others)
out=$(nb add $BR 8080 2>&1)
is "add beside somebody's DNAT to loopback: exit 1" $? 1
has "its message names the table" "$out" recipe
has "and the cure" "$out" --force
is "nothing was changed" "$(rules_of_others)" "$before"
ok "add --force goes on" nb add --force $BR 8080
ok "and is removed again" nb remove $BR 8080
is "and leaves the recipe and its sysctl" "$(rules_of_others)" "$before"
must nft delete table ip recipe
set_sysctl net.ipv4.conf.$BR.route_localnet=0

must iptables-nft -t nat -A PREROUTING -i $BR -p tcp --dport 8080 -j DNAT \
	--to-destination 127.0.0.1:8080
out=$(nb add $BR 5432 2>&1)
is "the same written with iptables: exit 1" $? 1
has "its message names the chain" "$out" PREROUTING
must iptables-nft -t nat -F PREROUTING

# The address may stand in a map, and the bridge in the map's key: [rule, refused]
while IFS='|' read -r what refused map rule; do
	must nft -f - <<-NFT
		table ip recipe {
			$map
			chain prerouting {
				type nat hook prerouting priority dstnat; policy accept;
				$rule
			}
		}
	NFT
	nb add --dry-run --quiet $BR 8080 >/dev/null 2>&1
	is "$what: exit $refused" $? "$refused"
	must nft delete table ip recipe
done <<-ROWS
	a map of ports to loopback|1||iifname $BR dnat to tcp dport map { 8080 : 127.0.0.1 }
	one of another bridge|0||iifname $BR2 dnat to tcp dport map { 8080 : 127.0.0.1 }
	a map of ports to a container|0||iifname $BR dnat to tcp dport map { 8080 : 172.30.1.2 }
	a named map by bridge|1|map m { type ifname . inet_service : ipv4_addr . inet_service; elements = { $BR . 8080 : 127.0.0.1 . 80, $BR2 . 8080 : 10.0.0.1 . 80 }; }|dnat to iifname . tcp dport map @m
	one by another bridge|0|map m { type ifname . inet_service : ipv4_addr . inet_service; elements = { $BR . 8080 : 10.0.0.1 . 80, $BR2 . 8080 : 127.0.0.1 . 80 }; }|dnat to iifname . tcp dport map @m
	an empty one|0|map m { type inet_service : ipv4_addr; }|dnat to tcp dport map @m
ROWS
must conntrack -F >/dev/null 2>&1

# --- Ours ---

ok "add" nb add $BR 5432 5353/udp
for bridge_nf in $(bridge_nf_values); do
	set_bridge_nf "$bridge_nf"
	is "bridge-nf $bridge_nf: the host's own address is translated" \
		"$(who $GW | xargs)" "host host"
	is "bridge-nf $bridge_nf: an external host is not" "$(who $WORLD | xargs)" "world world"
	is "bridge-nf $bridge_nf: the neighbour is not" \
		"$(who 172.30.1.3 | xargs)" "neighbour neighbour"
	is "bridge-nf $bridge_nf: a container of another bridge is not" \
		"$(who 172.30.2.2 | xargs)" "stranger stranger"
done

# --- Somebody's own translation of the host's output, such as a port published on ---
# --- 127.0.0.1 by an engine without a proxy: it is no way in, and must go on      ---

serve c1 web=tcp:172.30.1.2:80 web=udp:172.30.1.2:80
must nft -f - <<-NFT
	table ip published {
		chain output {
			type nat hook output priority -100; policy accept;
			ip daddr 127.0.0.1 meta l4proto { tcp, udp } th dport 8080 dnat to 172.30.1.2:80
		}
		chain postrouting {
			type nat hook postrouting priority srcnat; policy accept;
			ip saddr 127.0.0.0/8 oifname "$BR" masquerade
		}
	}
NFT
is "the host reaches a port that is published on its loopback" \
	"$(reach host tcp:127.0.0.1:8080 udp:127.0.0.1:8080)" "answered answered"
is "while the bridge's raw frames to that port do not come through" \
	"$(raw c1 $BR udp 172.30.1.2:81 127.0.0.1:8080 --wait 0.3)" timeout
must delete_rule inet nat-bridge mapped "ct direction reply"
is "control: without our rule for their answers the host does not" \
	"$(probe host tcp:127.0.0.1:8080 udp:127.0.0.1:8080)" "timeout timeout"
ok "apply mends that" nb apply
ok "remove" nb remove $BR --all
set_sysctl net.ipv4.conf.$BR.route_localnet=1
is "control: without a mapping it does" \
	"$(reach host tcp:127.0.0.1:8080 udp:127.0.0.1:8080)" "answered answered"
tap_end
