#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The real Docker: networks by name, made anew, with its daemon restarted,
# stopped, killed and hanging. Containers ask a service on the host's 127.0.0.1.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/engines.sh
. "$(dirname "$0")/../lib/engines.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/doc.sh
. "$(dirname "$0")/../lib/doc.sh"
engines_enter dockerd docker docker-compose busybox -- "$@"

serve host host=tcp:127.0.0.1:11434 other=tcp:127.0.0.1:5432

# --- Before there is a Docker ---

out=$(nb add agents 11434 2>&1)
is "no Docker: a bare name is unknown" $? 1
has "and the message says that Docker is not running" "$out" "Docker is not running"
nb add docker:agents 11434 >/dev/null 2>"$T/err"
is "a qualified one is pending" $? 0
has "with the cure" "$(cat "$T/err")" "systemctl start docker"
is "nothing is live" "$(nft list tables)" ""

# --- By name ---

docker_start
must docker network create agents >/dev/null
must docker network create -o com.docker.network.bridge.name=br-custom custom >/dev/null
must docker network create other >/dev/null
agents=$(docker_gateway agents)
is "the pending one is not live yet" "$(docker_dial agents "$agents" 11434)" ""
ok "apply finds its bridge" nb apply
has "a container reaches the service" "$(docker_dial agents "$agents" 11434)" "host 172."
is "check" "$(nb check)" "in sync"
nb add agents 11434 >"$T/out"
is "add by the bare name: the same mapping" "$(cat "$T/out")" "unchanged: it is mapped already"
is "another network reaches nothing" "$(docker_dial other "$(docker_gateway other)" 11434)" ""

ok "a bridge with a name of its own" nb add custom 5432
has "is reached" "$(docker_dial custom "$(docker_gateway custom)" 5432)" "other 172."
has "list tells the bridge" "$(nb list --json custom)" '"bridge":*"br-custom"'

# two names for one bridge: one element, which goes with the last of them
ok "the same mapping under the interface's name" nb add iface:br-custom 5432
out=$(nb add iface:br-custom 5433:5432 2>&1)
nb add custom 5433:11434 >/dev/null 2>&1
is "another target under the other name: refused" $? 1
ok "it goes" nb remove br-custom 5433
ok "one name goes" nb remove custom 5432
is "check" "$(nb check)" "in sync"
has "still reached" "$(docker_dial custom "$(docker_gateway custom)" 5432)" "other 172."
ok "the other goes" nb remove br-custom 5432
is "closed" "$(docker_dial custom "$(docker_gateway custom)" 5432)" ""
is "check" "$(nb check)" "in sync"

out=$(nb add br-custom 8080 2>&1)
is "by its interface it works, too" $? 0
has "with a hint at the name that lasts" "$out" "docker:custom"
ok "and goes" nb remove br-custom 8080

out=$(nb add agent 11434 2>&1)
is "a mistyped name" $? 1
has "is told the nearest" "$out" "there is agents"
for network in host none; do
	out=$(nb add $network 11434 2>&1)
	is "network $network: refused" $? 1
	has "network $network: with a sentence of its own" "$out" "Docker's network $network is"
done

# Docker makes the kernel's device with the first container, so the names alone do here
must ip link add uplink type veth peer name uplink-peer
must docker network create -d macvlan -o parent=uplink direct >/dev/null
must docker network create -d ipvlan -o parent=uplink-peer --subnet 10.99.0.0/24 routed >/dev/null
must docker swarm init --advertise-addr 127.0.0.1 >/dev/null
must docker network create -d overlay spread >/dev/null
for network in "direct macvlan" "routed ipvlan" "spread docker_gwbridge"; do
	out=$(nb add "docker:${network% *}" 11434 2>&1)
	is "network ${network% *}: refused" $? 1
	has "with what to do instead" "$out" "${network#* }"
done
must docker network rm direct routed spread >/dev/null
must docker swarm leave --force >/dev/null
must docker network rm docker_gwbridge >/dev/null
must ip link delete uplink

# --- host.docker.internal on a network that is not the default one ---

has "host.docker.internal (host-gateway) from a network of its own" \
	"$(docker_dial agents host.docker.internal 11434 \
		--add-host host.docker.internal:host-gateway)" "host 172."

# --- An internal network: Docker 20.10 gives its containers a default route, newer ones do not ---

must docker network create --internal inner >/dev/null
nb add inner 11434 >/dev/null 2>"$T/err"
has "an internal network: which address is certain" "$(cat "$T/err")" "own gateway there"
has "and is reached" "$(docker_dial inner "$(docker_gateway inner)" 11434)" "host 172."
# shellcheck disable=SC2016 # for the container's shell
routed=$(docker run --rm --network inner box:1 /bin/sh -c \
	'while read -r _ to _; do [ "$to" != 00000000 ] || echo routed; done </proc/net/route')
named=$(docker_dial inner host.docker.internal 11434 \
	--add-host host.docker.internal:host-gateway)
is "host.docker.internal, as far as there is a default route" "${named:+routed}" "$routed"
ok "it goes" nb remove inner 11434
must docker network rm inner >/dev/null

# --- A container on two networks ---

must docker run -d --name both --network other box:1 /bin/sleep 600 >/dev/null
must docker network connect agents both
has "a container on two networks, through the mapped one" \
	"$(docker exec both /bin/sh -c "$(dial "$agents" 11434)" 2>/dev/null)" "host 172."
# its source is told by the network that the gateway is in, not by its default route
nb verify --json agents >"$T/out"
is "verify, from inside it" $? 0
has "by its name" "$(tr -d '\n' <"$T/out")" '"via":*"br-*"container":*"both"*"seen":*"reached"'
must docker rm -f both >/dev/null

# --- By its container: every network that it is attached to ---

must docker run -d --name worker --network other box:1 /bin/sleep 600 >/dev/null
other=$(docker_gateway other)
custom=$(docker_gateway custom)
worker_dial()
{
	docker exec worker /bin/sh -c "$(dial "$1" 5432)" 2>/dev/null
}
out=$(nb add worker 5432 2>&1)
is "a container's bare name is no network" $? 1
has "and the message says how to name it" "$out" "container:worker"
ok "add for a container" nb add container:worker 5432
has "it reaches the service" "$(worker_dial "$other")" "other 172."
must docker network connect custom worker
is "on a network that it joins: not yet" "$(worker_dial "$custom")" ""
ok "apply" nb apply
has "reached there, too" "$(worker_dial "$custom")" "other 172."
must docker network disconnect other worker
ok "apply, when it has left the first" nb apply
is "the first is closed" "$(docker_dial other "$other" 5432)" ""
must docker rm -f worker >/dev/null
ok "apply, when it is gone" nb apply
is "all is closed" "$(docker_dial custom "$custom" 5432)" ""
out=$(nb list)
has "it is pending" "$out" "container:worker *pending"
ok "remove by its name" nb remove container:worker 5432
must docker run -d --name onhost --network host box:1 /bin/sleep 600 >/dev/null
out=$(nb add container:onhost 5432 2>&1)
is "a container on the host's network: refused" $? 1
has "with a sentence of its own" "$out" "host's own network"
must docker run -d --name shares --network container:onhost box:1 /bin/sleep 600 >/dev/null
out=$(nb add container:shares 5432 2>&1)
is "one that uses another's network: refused" $? 1
has "with the name of the other" "$out" "$(docker inspect -f '{{.Id}}' onhost | cut -c1-12)"
must docker rm -f onhost shares >/dev/null

# --- By a pattern ---

ok "every network but one" nb add 'docker:*' 5432 --except custom
has "a network that matches" "$(docker_dial other "$other" 5432)" "other 172."
has "Docker's default network" "$(docker_dial bridge \
	"$(ip -4 -o addr show docker0 | sed 's/.* inet \([0-9.]*\).*/\1/')" 5432)" "other 172."
is "the exception" "$(docker_dial custom "$custom" 5432)" ""
must docker network create newcomer >/dev/null
ok "apply, when a network has come" nb apply
has "it is reached" "$(docker_dial newcomer "$(docker_gateway newcomer)" 5432)" "other 172."
ok "one exception more" nb add 'docker:*' 5432 --except 'docker:new*'
is "closes it at once" "$(docker_dial newcomer "$(docker_gateway newcomer)" 5432)" ""
is "the first exception stands" "$(docker_dial custom "$custom" 5432)" ""
is "check" "$(nb check)" "in sync"
ok "remove the pattern" nb remove 'docker:*' 5432
is "all is closed" "$(docker_dial other "$other" 5432)" ""
must docker network rm newcomer >/dev/null

# --- A compose project, down and up: its bridge gets another name ---

mkdir -p "$T/proj"
cat >"$T/proj/docker-compose.yml" <<-YAML
	version: "3"
	services:
	  one:
	    image: box:1
	    command: /bin/sleep 600
    stop_grace_period: 0s
YAML
compose()
{
	docker-compose --project-directory "$T/proj" -f "$T/proj/docker-compose.yml" "$@" \
		>>"$T/compose.log" 2>&1
}

compose_dial()
{
	docker exec proj_one_1 /bin/sh -c "$(dial "$(docker_gateway proj_default)" 11434)" 2>/dev/null
}

must compose up -d
first=$(docker_bridge proj_default)
ok "add for a compose project" nb add proj_default 11434
has "its container reaches the service" "$(compose_dial)" "host 172."
must compose down
nb check >/dev/null
is "project down: drift" $? 3
ok "project down: apply" nb apply
hasnt "nothing is left of its bridge" "$(nft list table inet nat-bridge)" "$first"
must compose up -d
second=$(docker_bridge proj_default)
[ "$first" != "$second" ] || tap_bail "the project got its old bridge again"
is "project up again, on another bridge: not yet reached" "$(compose_dial)" ""
ok "apply" nb apply
has "reached" "$(compose_dial)" "host 172."
must compose down
ok "remove, by a name that Docker has no more" nb remove proj_default 11434

# --- The daemon goes: what is live stays ---

docker_stop
ok "daemon stopped: apply" nb apply
is "daemon stopped: the mapping is live" \
	"$(nb list --json agents 2>/dev/null | tr -d '\t\n' | grep -o '"state":"[a-z]*"')" \
	'"state":"active"'
nb check >"$T/out" 2>"$T/err"
has "daemon stopped: no drift" "$(cat "$T/out")" "in sync"
has "and it is said" "$(cat "$T/err")" "Docker does not answer"
docker_start --userland-proxy=false
has "restarted, without its proxy: reached at once" "$(docker_dial agents "$agents" 11434)" \
	"host 172."
is "check" "$(nb check 2>/dev/null)" "in sync"

must docker run -d --name shop --network other -p 8088:80 box:1 /bin/sleep 600 >/dev/null
out=$(nb add agents 8088 2>&1)
has "a port that is published without a proxy: its container is named" "$out" \
	"container shop publishes"
ok "and goes" nb remove agents 8088
must docker rm -f shop >/dev/null

must docker run -d --name stays --network agents box:1 /bin/sleep 600 >/dev/null
docker_stop KILL
has "daemon killed: its container still reaches the service" \
	"$(probe_of "sleep 600" --timeout 1.25 --tries 4 "tcp:$agents:11434")" answered
ok "daemon killed: apply" nb apply
ok "daemon killed: a port more, of a network by its interface" nb add br-custom 8080
nb add docker:agents 5432 >"$T/out" 2>"$T/err"
is "daemon killed: a port more of a network that is live already" "$(cat "$T/out")" \
	"added docker:agents 5432/tcp -> 127.0.0.1:5432"
has "with a warning" "$(cat "$T/err")" "Docker does not answer"
has "is reached" "$(probe_of "sleep 600" --timeout 1.25 --tries 4 "tcp:$agents:5432")" answered
ok "and goes" nb remove agents 5432
ok "daemon killed: remove by name" nb remove agents 11434
is "the killed daemon's container is cut off" \
	"$(probe_of "sleep 600" "tcp:$agents:11434")" refused
docker_start

# --- A daemon that hangs ---

ok "add again" nb add agents 11434
kill -STOP "$(cat /run/docker.pid)"
# each of its threads stops when it is its turn
is_stopped()
{
	! grep -hq '^State:[[:space:]]*[^T]' "/proc/$(cat /run/docker.pid)"/task/*/status
}
poll 10 is_stopped
before=$SECONDS
nb apply >/dev/null 2>"$T/err"
is "daemon hangs: apply ends well" $? 0
has "and says why it waited" "$(cat "$T/err")" "did not answer"
ok "it waited seconds, not minutes" test $((SECONDS - before)) -lt 20
kill -CONT "$(cat /run/docker.pid)"
has "nothing was lost" "$(docker_dial agents "$agents" 11434)" "host 172."

# --- What docs/docker.md says ---

nat-bridge()
{
	nb "$@"
}
ok "remove everything" nb remove --all-networks
must docker_remove_all
for network in agents custom other; do
	must docker network rm $network >/dev/null
done
# images of these names, with what the examples need of them
image_with_curl | docker import --change 'ENTRYPOINT ["/bin/curl"]' - curlimages/curl >/dev/null ||
	tap_bail "no image"
image | docker import --change 'CMD ["/bin/sleep", "600"]' - nginx >/dev/null || tap_bail "no image"
serve host postgres=tcp:127.0.0.1:8080
doc_run "$NB_SOURCE/docs/docker.md"
must docker rm -f web >/dev/null

# --- Without a trace ---

ok "remove everything" nb remove --all-networks
hasnt "no table of ours is left" "$(nft list tables)" nat-bridge
docker_stop
tap_end
