#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# `--for`: the kernel itself closes the mapping and its live flows, while no
# process of ours runs.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build

serve host svc=tcp:127.0.0.1:5432 dgram=udp:127.0.0.1:5353 conn=udpc:127.0.0.1:5354

now_ms()
{
	echo $((${EPOCHREALTIME//[.,]/} / 1000))
}
state_of()
{
	nb list --json | json "next(m['state'] for m in d['mappings'] if m['port'] == $1)"
}
pushed()
{
	[ "$(ask "$1" count)" -gt "$2" ]
}
live()
{
	nft list map inet nat-bridge targets | grep -q " $1 "
}
gone()
{
	! live "$1"
}

before=$(rules_of_others)
ok "add two mappings for ever" nb add $BR 15432:5432 15353:5353/udp
start=$(now_ms)
ok "and three for four seconds" nb add --for 4s $BR 5432 5353/udp 5354/udp
ok "and two more, of which one is to become permanent" nb add --for 4s $BR 5433:5432 5434:5432
hold c1 tcp tcp:$GW:5432
hold c1 udp udp:$GW:5353
hold c1 conn udp:$GW:5354
hold c1 tcp-ever tcp:$GW:15432
hold c1 udp-ever udp:$GW:15353
must ask udp send push 20 >/dev/null
must ask udp-ever send push 20 >/dev/null
must ask conn send push 20 >/dev/null
ok "add without --for makes one permanent" nb add $BR 5433:5432
is "the flows live" "$(ask tcp ping 3) $(ask udp ping 3) $(ask conn ping 3)" \
	"answered answered answered"
list=$(nb list --json)
ok "list says when" json 'next(m["expires"] for m in d["mappings"] if m["port"] == 5432)[19] == "Z"' \
	<<<"$list"
is "list says that the others never do" \
	"$(json '[m["expires"] for m in d["mappings"] if m["port"] in (15432, 5433)]' <<<"$list")" \
	"[null, null]"
generation=$(generation)
ok "apply meanwhile" nb apply
is "changes nothing" "$(generation)" "$generation"
ok "check meanwhile" nb check
is "all that was done within the four seconds" "$(($(now_ms) - start < 3700))" 1

# --- Time passes, nobody does anything ---

ok "the mapping goes by itself" poll 8 gone 5354
elapsed=$(($(now_ms) - start))
is "after four seconds, not before ($elapsed ms)" \
	"$((elapsed >= 4000 && elapsed < 6500))" 1
is "the TCP flow is cut" "$(ask tcp ping)" timeout
is "the UDP flow is cut" "$(ask udp ping | grep -c answered)" 0
udp=$(ask udp count) conn=$(ask conn count) other=$(ask udp-ever count)
ok "the service pushes on to others" poll 5 pushed udp-ever $((other + 10))
is "what it pushes into expired flows does not come through" \
	"$(ask udp count) $(ask conn count)" "$udp $conn"
is "new dials are refused" "$(probe c1 tcp:$GW:5432 udp:$GW:5353 udp:$GW:5354 tcp:$GW:5434)" \
	"refused refused refused refused"
is "the permanent ones live, and the one that became so" \
	"$(ask tcp-ever ping 3) $(ask udp-ever ping 3) $(reach c1 tcp:$GW:5433)" \
	"answered answered answered"
is "the bridge is still guarded" "$(raw c1 $BR udp 172.30.1.2:4000 127.0.0.1:5353 --wait 0.3)" timeout

# --- And nothing brings it back ---

is "list: expired" "$(state_of 5432) $(state_of 5353)" "expired expired"
is "list: the others are active" "$(state_of 15432) $(state_of 5433)" "active active"
ok "check has nothing to say" nb check
out=$(nb apply --json)
is "apply has nothing to do" "$(json 'd["changed"]' <<<"$out")" false
is "still refused" "$(probe c1 tcp:$GW:5432)" refused
ok "add opens it again" nb add --for 1h $BR 5432
is "reached" "$(reach c1 tcp:$GW:5432)" answered
ok "remove it before its time" nb remove $BR 5432
ok "remove what is expired" nb remove $BR 5353/udp 5354/udp 5434
is "no file of theirs is left" "$(find "$RULES" -mindepth 1 | wc -l)" 3
ok "remove the rest" nb remove --all --all-networks
is "rules are what they were" "$(rules_of_others)" "$before"
tap_end
