#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The installed units under systemd as PID 1, with udev, nftables and Docker: a
# copy of this machine's root file system, changes to which are kept in memory, boots
# in namespaces of its own. Nothing of the machine's own services runs in it.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/engines.sh
. "$(dirname "$0")/../lib/engines.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/doc.sh
. "$(dirname "$0")/../lib/doc.sh"
: "${NB_BUILD:?set NB_BUILD to the build directory, which is installed from}"
engines_enter systemd-nspawn udevadm meson dockerd docker nft busybox -- "$@"

ROOT=$T/root
must mkdir -p "$T/upper" "$T/boot-work" "$ROOT"
must mount -t overlay overlay -o "lowerdir=/,upperdir=$T/upper,workdir=$T/boot-work" "$ROOT"
rm -rf "$ROOT/etc/machine-id" "${ROOT:?}"/etc/nat-bridge
must env DESTDIR="$ROOT" meson install -C "$NB_BUILD" --no-rebuild --quiet

cat >"$ROOT/etc/systemd/system/lab.target" <<-UNIT
	[Unit]
	Requires=basic.target
	After=basic.target
	AllowIsolate=yes
	Wants=nftables.service nat-bridge.service nat-bridge-device.path docker.socket podman.socket
UNIT
cat >"$ROOT/etc/nftables.conf" <<-NFT
	flush ruleset
	table inet site {
		chain input {
			type filter hook input priority filter; policy drop;
			ct state established accept
			iifname "lo" accept
		}
	}
NFT
mkdir -p "$ROOT/etc/systemd/system/docker.service.d"
cat >"$ROOT/etc/systemd/system/docker.service.d/lab.conf" <<-UNIT
	[Unit]
	# it is started more often than an administrator would, and on a quick machine in no time
	StartLimitIntervalSec=0
	[Service]
	ExecStart=
	# as the package has it: systemd listens, and starts it when somebody connects
	ExecStart=$(command -v dockerd) -H fd:// --containerd=/run/containerd/containerd.sock --storage-driver vfs
UNIT
# Docker waits for it, and this network never comes
must systemctl --root="$ROOT" mask --quiet systemd-networkd-wait-online.service
# what "systemctl enable" does, for the sections of ours that name the firewalls
must systemctl --root="$ROOT" enable --quiet nat-bridge.service nat-bridge-device.path \
	nat-bridge-engine.service
must systemctl --root="$ROOT" disable --quiet docker.service podman.service

# --- Running ---

inside()
{
	nsenter -t "$init" -m -n -p -u -i -r -w -- /usr/bin/env -i \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# PID 1 of what booted, seen from here. (What it forks has its command line, too, for a moment.)
find_init()
{
	for init in $(pgrep -f 'systemd.unit=lab.target'); do
		grep -q '^NSpid:.*[[:space:]]1$' "/proc/$init/status" 2>/dev/null &&
			inside systemctl is-active --quiet lab.target && return
	done
	return 1
}

boot()
{
	SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 systemd-nspawn --quiet -D "$ROOT" --private-network \
		--console=pipe --link-journal=no --register=no --keep-unit -M nat-bridge-lab \
		--capability=all --system-call-filter="@keyring bpf" \
		-b systemd.unit=lab.target </dev/null >"$T/console" 2>&1 &
	nspawn=$!
	init=
	poll 60 find_init || tap_bail "it does not boot: $(tail -n 5 "$T/console")"
}

halt()
{
	inside systemctl poweroff --no-block
	wait "$nspawn"
}

in_sync()
{
	[ "$(inside nat-bridge check 2>/dev/null)" = "in sync" ] &&
		[ "$(live "$1")" = active ]
}

# The state of the mapping of a network.
live()
{
	inside nat-bridge list --json "$1" 2>/dev/null | tr -d '\t\n' |
		sed -n 's/.*"state":"\([a-z]*\)".*/\1/p'
}

runs()
{
	inside journalctl -q -b -u nat-bridge-device.service --grep Finished | wc -l
}

# Since nothing is under way, no more of it will come by itself.
settled()
{
	! [ -e "/proc/$init/root/run/nat-bridge/device" ] &&
		[ "$(inside systemctl is-active nat-bridge-device.service)" = inactive ] &&
		inside udevadm settle
}

# --- The first boot, and mappings of what does not exist yet ---

boot
is "the unit is active after a boot without any mapping" \
	"$(inside systemctl is-active nat-bridge.service)" active
# what docs/boot.md has an administrator type, on a system where it is done already
for tool in systemctl systemd-tmpfiles udevadm; do
	eval "$tool() { inside $tool \"\$@\"; }"
done
doc_run "$NB_SOURCE/docs/boot.md"
unset -f systemctl systemd-tmpfiles udevadm
is "the units are active" \
	"$(inside systemctl is-active nat-bridge.service nat-bridge-device.path | sort -u)" active

ok "add for a bridge that comes later" inside nat-bridge add iface:br-app 11434
is "it is pending" "$(live br-app)" pending
must inside ip link add br-app type bridge
ok "its bridge comes: live without anybody" poll 30 in_sync br-app
must inside ip link delete br-app
must inside ip link add br-app type bridge
ok "and again when it is made anew" poll 30 in_sync br-app

# --- 200 devices at once ---

poll 30 settled
before=$(runs)
for number in $(seq 200); do echo "link add many$number type bridge"; done >"$ROOT/many.batch"
echo "link add br-last type bridge" >>"$ROOT/many.batch"
ok "add for the last of many" inside nat-bridge add iface:br-last 80
must inside ip -batch /many.batch
ok "201 devices at once: the last one's mapping is live" poll 30 in_sync br-last
poll 30 settled
count=$(($(runs) - before))
ok "in few runs of apply ($count)" test "$count" -lt 50
for number in $(seq 200); do echo "link delete many$number"; done >"$ROOT/many.batch"
must inside ip -batch /many.batch

# --- Docker by name ---

docker_state()
{
	inside systemctl show -P ActiveState docker.service
}
ok "add for a network of a Docker that does not run" inside nat-bridge add docker:agents 11434
ok "the watcher, too, looks" inside systemctl start nat-bridge-watch.service
must inside systemctl stop nat-bridge-watch.service
is "which does not start it" "$(docker_state)" inactive
docker_up()
{
	must inside systemctl start docker
	# the container's cgroups are read-only in nspawn, and dockerd wants its own
	# shellcheck disable=SC2016 # it expands inside
	inside /bin/sh -c 'for d in /sys/fs/cgroup /sys/fs/cgroup/*; do
		mount -o remount,bind,rw "$d" || true; done' 2>/dev/null
}

docker_up
image | inside docker import - box:1 >/dev/null || tap_bail "no image"
must inside docker network create agents >/dev/null
must inside docker run -d --name one --network agents box:1 /bin/sleep 600 >/dev/null
ok "its network and a container come: live without anybody" poll 30 in_sync agents

# --- An engine that is stopped stays stopped ---

elements()
{
	inside nft list map inet nat-bridge targets | grep -o '"[^"]* . tcp . [0-9]*'
}
# The devices of a container that ends come back to the host before Docker has stopped.
stays_stopped()
{
	local before

	before=$(elements)
	must inside systemctl stop docker.service
	poll 30 settled
	is "$1: it stays stopped" "$(docker_state)" inactive
	is "and what was live stays live" "$(elements)" "$before"
}
stays_stopped "Docker, stopped with a running container"
must inside nat-bridge apply 2>"$T/err"
has "apply says so" "$(cat "$T/err")" "Docker is stopped"
docker_up
must inside docker start one >/dev/null
must inside systemctl start nat-bridge-watch.service
stays_stopped "beside the watcher"
docker_up
must inside docker start one >/dev/null
must inside docker network create --opt com.docker.network.bridge.name=br-heard heard >/dev/null
ok "the watcher listens again: a mapping of a new network" inside nat-bridge add docker:heard 81
must inside docker network rm heard
heard_is_gone()
{
	! elements | grep -q br-heard
}
ok "goes with its network" poll 30 heard_is_gone
must inside nat-bridge remove docker:heard 81
must inside systemctl stop nat-bridge-watch.service
is "Podman's service sleeps" "$(inside systemctl show -P ActiveState podman.service)" inactive
ok "add for a network of Podman's" inside nat-bridge add podman:podman 82
ok "check" inside nat-bridge check
is "it sleeps on: files say what is there" \
	"$(inside systemctl show -P ActiveState podman.service)" inactive
must inside nat-bridge remove podman:podman 82

# --- The firewall's own service ---

for order in "nftables docker" "docker nftables"; do
	for unit in $order; do
		must inside systemctl restart "$unit"
		ok "restart of $order: after $unit in sync" poll 30 in_sync agents
	done
done
must inside systemctl reload nftables
ok "reload of nftables: in sync" poll 30 in_sync br-app
before=$(inside nft list ruleset)
must inside systemctl restart nat-bridge.service
is "a restart of the unit changes nothing" "$(inside nft list ruleset)" "$before"
must inside systemctl stop nat-bridge.service
is "nor does its stop" "$(inside nft list ruleset)" "$before"

# --- The second boot ---

echo '{' >"$ROOT/etc/nat-bridge/rules.d/broken.json"
halt
boot
is "a broken file and absent bridges: it boots" "$(inside systemctl is-active lab.target)" active
is "and systemd tells of the broken file" \
	"$(inside systemctl is-failed nat-bridge.service)" failed
has "its journal does, too" "$(inside journalctl -q -b -o cat -u nat-bridge.service)" \
	"broken.json:"
rm "$ROOT/etc/nat-bridge/rules.d/broken.json"
is "nothing is live yet" "$(inside nft list tables | grep -c nat-bridge)" 0
is "a Docker that is not enabled is not started" "$(docker_state)" inactive
took()
{
	local began ended

	began=$(inside systemctl show -P ExecMainStartTimestampMonotonic nat-bridge.service)
	ended=$(inside systemctl show -P ExecMainExitTimestampMonotonic nat-bridge.service)
	echo $(((ended - began) / 1000))
}
ok "nor waited for ($(took) ms)" test "$(took)" -lt 2500
# its bridges come long before it answers, and no device comes after that
printf '[Service]\nExecStartPost=/bin/sleep 6\n' |
	inside tee /etc/systemd/system/docker.service.d/slow.conf >/dev/null
must inside systemctl daemon-reload
docker_up
ok "after the reboot a slow Docker's bridge comes: live without anybody" poll 30 in_sync agents
must inside docker start one >/dev/null
must inside ip link add br-app type bridge
ok "and the other one" poll 30 in_sync br-app
must inside nat-bridge flush
must inside ip link add br-some type bridge
poll 30 settled
is "what flush took out stays out when a device comes" "$(live br-app)" drift
ok "until apply" inside nat-bridge apply
ok "then it is in sync" poll 30 in_sync br-app

# --- The watcher ---

ok "the watcher starts, and says when it is ready" inside systemctl start nat-bridge-watch.service
must inside nft flush ruleset
ok "a flush that systemd knows nothing of: in sync" poll 30 in_sync br-app
has "the filter at ingress came with it, under the unit's hardening" \
	"$(inside tc filter show dev br-app ingress)" "nat-bridge/"
must inside kill -KILL "$(inside systemctl show -P MainPID nat-bridge-watch.service)"
must inside nft flush ruleset
ok "killed, too: it comes back and mends" poll 30 in_sync br-app
before=$(inside nft list ruleset)
must inside systemctl stop nat-bridge-watch.service
is "its stop changes nothing" "$(inside nft list ruleset)" "$before"

# --- Its log ---

printf 'OPTIONS="--log=/var/log/nat-bridge/flows.log --log-accounting"\n' |
	inside tee /etc/default/nat-bridge-watch >/dev/null
accounting()
{
	inside cat /proc/sys/net/netfilter/nf_conntrack_acct
}
is "nobody counts bytes" "$(accounting)" 0
ok "it starts with the options of its file" inside systemctl start nat-bridge-watch.service
is "bytes are counted, under the unit's hardening" "$(accounting)" 1
has "the log stands where root alone reads it" \
	"$(inside stat -c '%a %U' /var/log/nat-bridge /var/log/nat-bridge/flows.log | xargs)" \
	"750 root 600 root"
must inside mv /var/log/nat-bridge/flows.log /var/log/nat-bridge/flows.log.1
must inside systemctl reload nat-bridge-watch.service
ok "a reload opens it again" poll 10 inside test -e /var/log/nat-bridge/flows.log
must inside systemctl stop nat-bridge-watch.service
is "its stop sets the accounting back" "$(accounting)" 0
has "and is the log's last line" "$(inside tail -n 1 /var/log/nat-bridge/flows.log)" log-end
printf 'OPTIONS=--log=journal\n' | inside tee /etc/default/nat-bridge-watch >/dev/null
must inside systemctl start nat-bridge-watch.service
journal_has()
{
	inside journalctl --no-pager -q -o cat -t nat-bridge NAT_BRIDGE_EVENT=log-begin |
		grep -q log-begin
}
ok "the journal has the log's fields" poll 10 journal_has
must inside systemctl stop nat-bridge-watch.service
must inside rm /etc/default/nat-bridge-watch

for unit in nat-bridge.service nat-bridge-watch.service; do
	score=$(inside systemd-analyze security --no-pager $unit |
		sed -n 's/.*exposure level for [^:]*: \([0-9]*\)\.\([0-9]\).*/\1\2/p')
	ok "systemd-analyze security of $unit: $score tenths, at most 20" \
		test "${score:-99}" -le 20
done
halt
tap_end
