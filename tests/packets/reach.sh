#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What a mapping opens, and that it opens nothing else.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build

serve host svc=tcp:127.0.0.1:5432 dgram=udp:127.0.0.1:5353 stub=udp:127.0.0.54:53 \
	other=tcp:127.0.0.2:5432 unmapped=tcp:127.0.0.1:9090 unmapped=udp:127.0.0.1:9090 \
	public=tcp:0.0.0.0:8022

# --- Before: every dial below is refused, so that what follows is our doing ---

is "nothing mapped: refused" \
	"$(probe c1 tcp:$GW:5432 udp:$GW:5353 udp:$GW:53 tcp:$GW:15432)" \
	"refused refused refused refused"
is "an ordinary port of the host is reached" "$(reach c1 tcp:$GW:8022)" answered

before=$(rules_of_others)
ok "add tcp, udp, another listen port, another loopback target" \
	nb add $BR 5432 5353/udp 15432:5432 53:127.0.0.54:53/udp 5433:127.0.0.2:5432

# --- The matrix ---

[ "$(bridge_nf_values)" != none ] ||
	skip "bridge-nf-call-iptables" "no br_netfilter in this kernel"
for bridge_nf in $(bridge_nf_values); do
	for rp_filter in 0 1 2; do
		set_bridge_nf "$bridge_nf"
		set_rp_filter $rp_filter
		now="bridge-nf $bridge_nf, rp_filter $rp_filter"
		is "$now: every mapping through the gateway" \
			"$(reach c1 tcp:$GW:5432 tcp:$GW:15432 udp:$GW:5353 udp:$GW:53 tcp:$GW:5433)" \
			"answered answered answered answered answered"
		is "$now: through the host's other addresses" \
			"$(reach c2 tcp:$OTHER:5432 udp:$OTHER:5353 tcp:192.0.2.1:5432 tcp:$GW2:15432)" \
			"answered answered answered answered"
		is "$now: 60,000 bytes each way, in fragments for UDP" \
			"$(reach c1 --size 60000 udp:$GW:5353 tcp:$GW:5432)" "answered answered"
		is "$now: unmapped ports stay refused" \
			"$(probe c1 tcp:$GW:9090 udp:$GW:9090 udp:$GW:5432 tcp:$GW:5353 tcp:$GW:53)" \
			"refused refused refused refused refused"
		is "$now: another bridge is refused" \
			"$(probe c3 tcp:$GW2:5432 tcp:$GW:5432 udp:$GW2:5353 tcp:192.0.2.1:15432)" \
			"refused refused refused refused"
		is "$now: the LAN is refused" \
			"$(probe lan tcp:192.0.2.1:5432 tcp:$GW:5432 udp:192.0.2.1:5353)" \
			"refused refused refused"
		is "$now: the host's own localhost works, its gateway address is no way in" \
			"$(reach host tcp:127.0.0.1:5432 udp:127.0.0.1:5353 tcp:$GW:5432)" \
			"answered answered refused"
	done
done
set_bridge_nf "$(bridge_nf_values | cut -d' ' -f1)"
set_rp_filter 0

# --- Which service, and whom does it see? ---

has "the service sees the container's address" \
	"$(reach c1 --show --source 172.30.1.2:40001 tcp:$GW:5432)" "svc 172.30.1.2 40001 hello"
has "two mappings share a target" \
	"$(reach c2 --show --source 172.30.1.3:40001 tcp:$GW:15432)" "svc 172.30.1.3 40001 hello"
has "127.0.0.54 is not 127.0.0.1" "$(reach c1 --show udp:$GW:53)" "answered stub "
has "127.0.0.2 is not 127.0.0.1" "$(reach c1 --show tcp:$GW:5433)" "answered other "

# --- A single veth, and a second bridge of its own ---

is "behind a veth: refused before" "$(probe c4 tcp:172.30.3.1:5432)" refused
out=$(nb add vp0 5432 5353/udp --json)
is "add on a veth: changed" "$(json 'd["changed"]' <<<"$out")" true
is "behind a veth: answered, and unmapped refused" \
	"$(reach c4 tcp:172.30.3.1:5432 udp:172.30.3.1:5353 && probe c4 tcp:172.30.3.1:15432)" \
	"answered answered"$'\n'"refused"
ok "the same port of another bridge, with another target" nb add $BR2 5432:127.0.0.2:5432
has "the second bridge has its own target" "$(reach c3 --show tcp:$GW2:5432)" "answered other "
has "the first bridge keeps its own" "$(reach c1 --show tcp:$GW:5432)" "answered svc "

list=$(nb list --json)
is "list: the mapping, as it stands in the manual" \
	"$(json '[(m["port"], m["target"], m["state"], m["origin"], m["bridge"]) for m in d["mappings"]
		if m["network"] == "iface:'$BR'" and m["protocol"] == "tcp" and m["port"] == 15432]' \
		<<<"$list")" '[[15432, "127.0.0.1:5432", "active", "file", "'$BR'"]]'
is "list: counts packets of what was used" \
	"$(json 'all(m["packets"] > 0 for m in d["mappings"])' <<<"$list")" true

# One datagram and its answer are two packets, however many of our chains they meet.
ok "a mapping to count on" nb add $BR2 15353:5353/udp
is "one exchange" "$(reach c3 udp:$GW2:15353)" answered
has "is counted as two packets" "$(nft list set inet nat-bridge accepted | grep "15353 ")" \
	"counter packets 2 bytes"
has "and as one new flow" "$(nft list map inet nat-bridge targets | grep "15353 ")" \
	"counter packets 1 bytes"
ok "it goes" nb remove $BR2 15353/udp

# --- Idempotence ---

generation=$(generation)
out=$(nb add $BR 5432 --json)
is "a second add changes nothing, and says so" "$(json 'd["changed"]' <<<"$out")" false
out=$(nb apply --json)
is "apply after it neither" "$(json 'd["changed"]' <<<"$out")" false
is "the ruleset's generation is the same" "$(generation)" "$generation"
ok "check is content" nb check

# --- Remove ---

ok "remove one of two that share a target" nb remove $BR 5432
is "the removed one is refused, its brother is not" \
	"$(probe c1 tcp:$GW:5432; reach c1 tcp:$GW:15432)" "refused"$'\n'"answered"
is "the same port of others is not touched" \
	"$(reach c3 tcp:$GW2:5432; reach c4 tcp:172.30.3.1:5432)" "answered"$'\n'"answered"
out=$(nb remove $BR 5432 --json 2>/dev/null)
is "a second remove changes nothing" "$(json 'd["changed"]' <<<"$out")" false
ok "remove the rest, network by network" eval \
	"nb remove $BR --all && nb remove $BR2 5432 && nb remove --all --all-networks"
is "all refused" "$(probe c1 tcp:$GW:15432 udp:$GW:5353 udp:$GW:53)" "refused refused refused"
is "rules and sysctls are what they were" "$(rules_of_others)" "$before"
is "no rule file is left" "$(ls -A "$RULES")" ""
is "the service never noticed" "$(reach host tcp:127.0.0.1:5432)" answered
tap_end
