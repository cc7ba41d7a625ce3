#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The real Podman with netavark: its networks by name, from its files and from its service.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/engines.sh
. "$(dirname "$0")/../lib/engines.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/doc.sh
. "$(dirname "$0")/../lib/doc.sh"
engines_enter podman runc busybox /usr/lib/podman/netavark -- "$@"

serve host host=tcp:127.0.0.1:11434 hidden=udp:127.0.0.1:9090

out=$(nb add podman:web 11434 2>&1)
is "no Podman: pending" $? 0
has "and it is said" "$out" "pending podman:web"
ok "taken back" nb remove podman:web 11434

podman_prepare
must lab_podman network create web >/dev/null
web=$(podman_gateway web)

# --- From the files: no service runs ---

nb add web 11434 >"$T/out" 2>"$T/err"
is "add by the bare name" $? 0
has "its bridge comes with its first container" "$(cat "$T/out")" "pending podman:web"
has "which is said" "$(cat "$T/err")" "has no bridge now"
must lab_podman run -d --name first --network web --ulimit nofile=512:512 \
	--ulimit nproc=512:512 localhost/box:1 /bin/sleep 600 >/dev/null
is "the bridge is there: not reached yet" "$(podman_dial web "$web" 11434)" ""
ok "apply" nb apply
has "reached" "$(podman_dial web "$web" 11434)" "host 10."
is "check" "$(nb check)" "in sync"
is "its default network has nothing" "$(podman_dial podman "$(podman_gateway podman)" 11434)" ""
ok "the default network has a name, too" nb add podman:podman 11434
ok "apply, now that its bridge is there" nb apply
must lab_podman run -d --name second --network podman --ulimit nofile=512:512 \
	--ulimit nproc=512:512 localhost/box:1 /bin/sleep 600 >/dev/null
ok "apply" nb apply
has "and is reached" "$(podman_dial podman "$(podman_gateway podman)" 11434)" "host 10."

# --- Its last container ends, the bridge goes, and comes again ---

must lab_podman rm -f -t 0 first >/dev/null
ok "no container, no bridge: apply" nb apply
must lab_podman run -d --name first --network web --ulimit nofile=512:512 \
	--ulimit nproc=512:512 localhost/box:1 /bin/sleep 600 >/dev/null
ok "a container again: apply" nb apply
has "reached again" "$(podman_dial web "$web" 11434)" "host 10."

# --- From the service ---

mkdir -p /run/podman
lab_podman system service -t 0 unix:///run/podman/podman.sock 2>>"$T/podman.log" &
service=$!
poll 10 test -S /run/podman/podman.sock || tap_bail "no service"
is "the service says the same" "$(nb check)" "in sync"
ok "add for a container" nb add container:first 5432:11434
has "it reaches the service" "$(podman_dial web "$web" 5432)" "host 10."
is "check" "$(nb check)" "in sync"
ok "and goes" nb remove container:first 5432:11434
ok "a pattern" nb add 'podman:*' 5432:11434 --except podman
has "what it matches" "$(podman_dial web "$web" 5432)" "host 10."
is "the exception" "$(podman_dial podman "$(podman_gateway podman)" 5432)" ""
ok "and goes" nb remove 'podman:*' --all
ok "a mapping, and the watcher with its log" nb add podman:web 5432:11434
"$NAT_BRIDGE" --rules "$RULES" --config "$T/config.json" watch --log="$T/flows.log" \
	>"$T/watch.log" 2>&1 &
watcher=$!
poll 10 grep -q log-begin "$T/flows.log"
must lab_podman run -d --name caller --network web --ulimit nofile=512:512 \
	--ulimit nproc=512:512 localhost/box:1 /bin/sleep 600 >/dev/null
has "a container reaches the service" \
	"$(lab_podman exec caller /bin/sh -c "$(dial "$web" 5432)" 2>>"$T/podman.log")" "host 10."
ok "the log names the network and the container" poll 10 grep -q \
	'"end".*"network":"podman:web".*"container":"caller"' "$T/flows.log"
must lab_podman rm -f -t 0 caller >/dev/null
kill $watcher
wait $watcher
ok "and goes" nb remove podman:web 5432:11434
# as "podman network create -d macvlan lan" writes it, which needs a kernel that has them
sed -e 's/"name": "web"/"name": "lan"/' -e 's/"driver": "bridge"/"driver": "macvlan"/' \
	-e 's/"id": "......../"id": "01234567/' -e '/"network_interface"/d' \
	/etc/containers/networks/web.json >/etc/containers/networks/lan.json
out=$(nb add podman:lan 11434 2>&1)
is "a macvlan is refused" $? 1
has "in its own words" "$out" "macvlan"
kill -STOP $service
nb apply >/dev/null 2>"$T/err"
is "the service hangs: its files answer" $? 0
kill -CONT $service
kill $service
wait $service 2>/dev/null
rm -f /run/podman/podman.sock
nb add container:first 5432:11434 >/dev/null 2>"$T/err"
is "without the service a container cannot be looked up: pending" $? 0
has "and the message says how to start it" "$(cat "$T/err")" "podman.socket"
ok "and goes" nb remove container:first 5432:11434

# --- A name that two engines' networks could have: interfaces go first ---

must ip link add web type bridge
out=$(nb add web 5432 2>&1)
is "an interface and a network of one name: ambiguous" $? 1
has "with both qualified names" "$out" "iface:web or podman:web"
must ip link delete web

# --- With the watcher: networks made anew, by Podman's files and the kernel's events, under a flood
# --- to a port that is not mapped

ok "remove everything" nb remove --all-networks
must lab_podman rm -f -t 0 -a >/dev/null
ok "a mapping of a network that will come" nb add podman:again 11434
"$NAT_BRIDGE" --rules "$RULES" --config "$T/config.json" watch >"$T/watch.log" 2>&1 &
watcher=$!
must lab_podman network create attacker >/dev/null
must lab_podman run -d --name attacker --network attacker --ulimit nofile=512:512 \
	--ulimit nproc=512:512 localhost/box:1 /bin/sleep 600 >/dev/null
ok "the attacker's network is mapped, too" nb add podman:attacker 11434
must nsenter -t "$(lab_podman inspect -f '{{.State.Pid}}' attacker)" -n -- "$PYTHON" -I -S "$lab_lib/raw.py" \
	eth0 "$(mac_of "$(podman_bridge attacker)")" udp 10.99.9.2:4200 127.0.0.1:9090 --text flood \
	--flood >"$T/flood.pid"
missed=0
for ((i = 0; i < 50; i++)); do
	must lab_podman network create again >/dev/null
	must lab_podman run -d --name again --network again --ulimit nofile=512:512 \
		--ulimit nproc=512:512 localhost/box:1 /bin/sleep 600 >/dev/null
	poll 10 nft get element inet nat-bridge targets \
		"{ \"$(podman_bridge again)\" . tcp . 11434 }" || missed=$((missed + 1))
	must lab_podman rm -f -t 0 again >/dev/null
	must lab_podman network rm again >/dev/null
done
is "made anew $i times: each has its mapping" "$missed" 0
ok "the flood went on all the time" kill "$(cat "$T/flood.pid")"
is "and nothing came to the port that is not mapped" "$(logged 'data .*flood')" 0
ok "and the last one is gone, too" poll 10 nb check
must lab_podman rm -f -t 0 attacker >/dev/null
must lab_podman network rm attacker >/dev/null
kill $watcher
wait $watcher
is "the watcher ends with 0" $? 0
ok "remove everything" nb remove --all-networks

# --- What docs/podman.md says ---

nat-bridge()
{
	nb "$@"
}
# shellcheck disable=SC2317 # for what the document says
podman()
{
	lab_podman "$@"
}
ok "remove everything" nb remove --all-networks
must lab_podman rm -f -t 0 -a >/dev/null
must lab_podman network rm web >/dev/null
serve host late=tcp:127.0.0.1:8080
doc_run "$NB_SOURCE/docs/podman.md"
unset -f podman

ok "remove everything" nb remove --all-networks
hasnt "no table of ours is left" "$(nft list tables)" nat-bridge
must lab_podman rm -f -t 0 -a >/dev/null
tap_end
