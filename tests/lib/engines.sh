# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Real engines in the lab: "the host" is the lab's namespace, and an engine that
# runs there, with all that it makes, is gone when the script ends. Source it
# behind lab.sh, and call engines_enter where others call lab_enter.

# shellcheck source-path=SCRIPTDIR source=lab.sh
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"

# engines_enter TOOL... -- ARGUMENT...: skip without these tools; then as lab_enter.
engines_enter()
{
	local tools=()

	while [ "$1" != -- ]; do
		tools+=("$1")
		shift
	done
	shift
	if [ -z "${NB_LAB_OUTER:-}" ]; then
		export PATH=$PATH:/usr/sbin:/sbin
		for tool in "${tools[@]}"; do
			command -v "$tool" >/dev/null || tap_skip_all "no $tool here"
		done
		unset DOCKER_HOST CONTAINER_HOST
	fi
	lab_enter "$@"
	must ip link set lo up
	sysctl -qw net.ipv4.ip_forward=1
	[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] ||
		sysctl -qw net.bridge.bridge-nf-call-iptables=1
	# engines keep more than files in /run, /var and /etc
	must mount -t tmpfs tmpfs /var/lib
	must mkdir -p "$T/etc" "$T/work"
	must mount -t overlay overlay -o "lowerdir=/etc,upperdir=$T/etc,workdir=$T/work" /etc
}

# A root file system with one program, as a tar archive on standard output.
image()
{
	local root=$T/image name

	mkdir -p "$root/bin" "$root/etc"
	cp "$(command -v busybox)" "$root/bin/"
	for name in sh nc sleep cat ip; do
		ln -sf busybox "$root/bin/$name"
	done
	tar -C "$root" -c .
}

# The same with as much of curl as says hello to the server of a URL.
image_with_curl()
{
	image >/dev/null
	cat >"$T/image/bin/curl" <<-'SH'
		#!/bin/sh
		for url; do :; done
		server=${url#http://}
		server=${server%%/*}
		echo hello | nc -w 2 "${server%:*}" "${server#*:}"
	SH
	chmod +x "$T/image/bin/curl"
	tar -C "$T/image" -c .
	rm "$T/image/bin/curl"
}

# dial ADDRESS PORT: what a container says to a server, as a command for its shell. Patient.
dial()
{
	echo "for i in 1 2 3 4; do echo hello | nc -w 2 $1 $2 && exit 0; sleep 0.2; done; exit 1"
}

# --- Docker ---

docker_answers()
{
	docker version >/dev/null 2>&1
}

# docker_start [OPTION...]: a dockerd of the lab's own, and the image "box".
# Its pool is large enough that no network made anew ends up in 192.168.0.0/16.
docker_start()
{
	dockerd --data-root "$T/docker" --exec-root /run/docker --pidfile /run/docker.pid \
		--storage-driver vfs --default-address-pool base=172.20.0.0/14,size=24 "$@" \
		>>"$T/dockerd.log" 2>&1 &
	poll 60 docker_answers || tap_bail "dockerd does not start: $(tail -n 5 "$T/dockerd.log")"
	docker image inspect box:1 >/dev/null 2>&1 ||
		image | docker import - box:1 >/dev/null || tap_bail "no image"
}

docker_stop()
{
	local pid
	pid=$(cat /run/docker.pid)

	kill "-${1:-TERM}" "$pid"
	wait "$pid" 2>/dev/null
	# killed, it leaves its helpers
	pkill containerd
	poll 10 fails_to_run pgrep -x containerd
	rm -f /run/docker.pid
}

docker_remove_all()
{
	docker ps -aq | xargs -r docker rm -f >/dev/null 2>&1
}

fails_to_run()
{
	! "$@"
}

# docker_dial NETWORK ADDRESS PORT [OPTION...]: one line of answer from a new container.
docker_dial()
{
	local network=$1 address=$2 port=$3

	shift 3
	docker run --rm --network "$network" "$@" box:1 /bin/sh -c "$(dial "$address" "$port")" \
		2>/dev/null
}

# probe_of COMMAND PROBE...: from where the container's process COMMAND runs.
probe_of()
{
	local pid
	pid=$(pgrep -f "$1" | head -n 1)

	shift
	nsenter -t "$pid" -n -- "$PYTHON" -I -S "$lab_lib/probe.py" "$@"
}

docker_gateway()
{
	docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' "$1"
}

docker_bridge()
{
	echo "br-$(docker network inspect -f '{{.Id}}' "$1" | cut -c1-12)"
}

# --- Podman, with netavark ---

lab_podman()
{
	command podman --root "$T/podman" --runroot /run/podman-lab --network-backend netavark \
		--storage-driver vfs --cgroup-manager cgroupfs --runtime runc \
		--events-backend file "$@"
}

podman_prepare()
{
	must mkdir -p /etc/containers
	# no defaults of the machine's own: networks are where Podman looks for them
	echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' >/etc/containers/policy.json
	image | lab_podman import - box:1 >/dev/null 2>&1 || tap_bail "no image"
}

# podman_dial NETWORK ADDRESS PORT [OPTION...]
podman_dial()
{
	local network=$1 address=$2 port=$3

	shift 3
	lab_podman run --rm --network "$network" --ulimit nofile=512:512 --ulimit nproc=512:512 \
		"$@" localhost/box:1 /bin/sh -c "$(dial "$address" "$port")" 2>>"$T/podman.log"
}

podman_gateway()
{
	lab_podman network inspect "$1" | sed -n 's/.*"gateway": "\([0-9.]*\)".*/\1/p'
}

podman_bridge()
{
	lab_podman network inspect "$1" | sed -n 's/.*"network_interface": "\(.*\)".*/\1/p'
}
