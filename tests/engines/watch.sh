#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# nat-bridge watch beside the real Docker: networks made anew again and again under a flood of
# raw frames, containers that join and leave, a daemon that restarts.
# shellcheck disable=SC2119 # docker_start takes options, and needs none
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/engines.sh
. "$(dirname "$0")/../lib/engines.sh"
engines_enter dockerd docker busybox -- "$@"

serve host host=tcp:127.0.0.1:11434 hidden=udp:127.0.0.1:9090
ROUNDS=10
MANY=20
case " $* ${NB_FULL:+--full} " in *" --full "*) ROUNDS=50 ;; esac
case " $* " in *" --many "*) MANY=200 ;; esac

# said PATTERN: how often the watcher said so.
said()
{
	grep -c -E -- "$1" "$T/watch.log" || true
}
# Milliseconds from when the bridge of a new network is up to its mapping.
cat >"$T/stopwatch.py" <<'PY'
import fcntl, os, socket, struct, sys, time
conf = "/proc/sys/net/ipv4/conf"
known = set(os.listdir(conf))
print("ready", flush=True)
end = time.monotonic() + 20
bridge = began = None
sock = socket.socket()


def is_up(name):
    try:
        flags = fcntl.ioctl(sock, 0x8913, struct.pack("16sH22x", name.encode(), 0))
    except OSError:
        return False
    return struct.unpack("16sH22x", flags)[1] & 1


while time.monotonic() < end:
    if bridge is None:
        new = [name for name in os.listdir(conf) if name.startswith("br-") and name not in known]
        if new and is_up(new[0]):
            bridge, began = new[0], time.monotonic()
    else:
        try:
            with open(f"{conf}/{bridge}/route_localnet") as file:
                if file.read().strip() == "1":
                    print(round(1000 * (time.monotonic() - began)))
                    sys.exit()
        except OSError:
            pass
    time.sleep(0.001)
print("never")
PY

ok "a mapping of a network that does not exist yet" nb add docker:agents 11434
# the program itself, whose exit status is asked for at the end
"$NAT_BRIDGE" --rules "$RULES" --config "$T/config.json" watch --log="$T/flows.log" \
	>"$T/watch.log" 2>&1 &
watcher=$!
docker_start
poll 10 grep -q docker "$T/watch.log"

# --- A network comes ---

mkfifo "$T/ready"
# time_network COMMAND...: it makes a network. Sets "took", in milliseconds.
time_network()
{
	lab_python "$T/stopwatch.py" >"$T/ready" &
	exec 7<"$T/ready"
	read -r _ <&7
	must "$@" >/dev/null 2>&1
	read -r took <&7
	exec 7<&-
}
time_network docker network create agents
tap_note "from the bridge that is up to its mapping: $took ms"
ok "a new network has its mapping at once, more or less" [ "$took" -le 3000 ]
has "and is reached" "$(docker_dial agents "$(docker_gateway agents)" 11434)" "host 172."

if command -v docker-compose >/dev/null; then
	cat >"$T/docker-compose.yml" <<-'YML'
		version: "3.5"
		services:
		  one: { image: "box:1", command: /bin/sleep 600, networks: [composed] }
		networks:
		  composed: { name: composed }
	YML
	ok "a mapping of a network that compose will make" nb add docker:composed 11434
	time_network docker-compose -f "$T/docker-compose.yml" up -d
	tap_note "of compose: $took ms"
	ok "it has its mapping at once, more or less" [ "$took" -le 3000 ]
	must docker-compose -f "$T/docker-compose.yml" down -t 0 >/dev/null 2>&1
	ok "remove" nb remove docker:composed 11434
else
	tap_note "no docker-compose"
fi

# --- Who it was ---

# told NAME: of which network the container NAME is in the log, at its connection's end
told()
{
	grep '"event":"end"' "$T/flows.log" | grep "\"container\":\"$1\"" |
		sed 's/.*"network":"\([^"]*\)".*"port":\([0-9]*\).*"reason":"\([^"]*\)".*/\1 \2 \3/'
}
is_told()
{
	[ -n "$(told "$1")" ]
}
# the second one has the address that the first one had
for name in first second; do
	must docker run -d --name "$name" --network agents box:1 /bin/sleep 600 >/dev/null
	has "$name reaches the service" \
		"$(docker exec "$name" /bin/sh -c "$(dial "$(docker_gateway agents)" 11434)")" "host 172."
	poll 10 is_told "$name"
	is "the log names it, and its network" "$(told "$name")" "docker:agents 11434 closed"
	must docker rm -f "$name" >/dev/null 2>&1
done

# --- Made anew, again and again, under a flood to a port that is not mapped ---

must docker network create attacker >/dev/null
must docker run -d --name attacker --network attacker box:1 /bin/sleep 600 >/dev/null
ok "the attacker's network is mapped, too" nb add docker:attacker 11434
pid=$(docker inspect -f '{{.State.Pid}}' attacker)
bridge=$(docker_bridge attacker)
nsenter -t "$pid" -n -- "$PYTHON" -I -S "$lab_lib/raw.py" eth0 "$(mac_of "$bridge")" udp \
	172.30.9.2:4200 127.0.0.1:9090 --text flood --flood >"$T/flood.pid"
missed=0
for ((i = 0; i < ROUNDS; i++)); do
	must docker network rm agents >/dev/null
	must docker network create agents >/dev/null
	# all of it would take Docker's own chains, too, without which it makes no network
	[ $((i % 3)) -ne 0 ] || nft delete table inet nat-bridge
	if ! poll 10 nb check; then
		missed=$((missed + 1))
	fi
done
is "made anew $ROUNDS times: each has its mapping" "$missed" 0
kill "$(cat "$T/flood.pid")"
is "and nothing came to the port that is not mapped" "$(logged 'data .*flood')" 0
must nft flush ruleset
ok "everything is flushed: in sync" poll 10 nb check
# what the flush took of Docker's own rules only Docker brings back
docker_stop
docker_start
ok "the daemon is restarted: in sync" poll 10 nb check
has "and reached" "$(docker_dial agents "$(docker_gateway agents)" 11434)" "host 172."
must docker rm -f attacker >/dev/null

# --- A container joins another network, and leaves ---

must docker network create second >/dev/null
must docker run -d --name worker --network second box:1 /bin/sleep 600 >/dev/null
ok "add for a container" nb add container:worker 5000:11434
must docker network connect agents worker
followed()
{
	nft list set inet nat-bridge accepted | grep -q "\"$(docker_bridge "$1")\" . tcp . 5000"
}
ok "it joins another network, which is followed" poll 10 followed agents
must docker network disconnect agents worker
left()
{
	! followed agents
}
ok "and leaves it" poll 10 left
ok "its other network stays" followed second
ok "remove for a container" nb remove container:worker 5000

# --- Many at once ---

for ((i = 0; i < MANY; i++)); do
	docker run -d --network agents box:1 /bin/sleep 600 >/dev/null &
done
for job in $(jobs -p); do
	[ "$job" -eq "$watcher" ] || [ "$job" -eq "$(cat /run/docker.pid)" ] || wait "$job"
done
ok "$MANY containers started at once: in sync" poll 20 nb check
is "and they run" "$(docker ps -q --filter network=agents | wc -l)" "$MANY"
ok "one of them reaches the service" docker_dial agents "$(docker_gateway agents)" 11434

# a daemon that is killed under so many cannot take them up again
[ "$MANY" -le 20 ] || must docker_remove_all

# --- A daemon that is killed, and comes back with the network made anew ---

docker_stop KILL
ok "killed: in sync" poll 10 nb check
docker_start
must docker_remove_all
must docker network rm agents >/dev/null
must docker network create agents >/dev/null
poll 20 nb check
is "back, and the network made anew: in sync" "$(nb check 2>&1 | tail -n 3)" "in sync"
has "reached" "$(docker_dial agents "$(docker_gateway agents)" 11434)" "host 172."

is "the watcher never stumbled" "$(said 'ended before it was done')" 0
kill $watcher
wait $watcher
is "it ends with 0" $? 0
ok "remove everything" nb remove --all-networks
docker_stop
tap_end
