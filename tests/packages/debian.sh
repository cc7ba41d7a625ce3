#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The Debian package: built, looked at by lintian, and in a system of its own, with systemd as
# PID 1, installed, upgraded while a connection lives, removed and purged.
#
# The system is made by debootstrap, from where this machine's apt gets its packages. Where that
# cannot be reached it is a copy of this machine, changes to which are kept in memory.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
: "${NB_SOURCE:?set NB_SOURCE to the checkout}"
export PATH=$PATH:/usr/sbin:/sbin

# Outside of the lab, which has no way to a mirror.
make_root()
{
	local tool mirror release

	for tool in debootstrap dpkg-buildpackage dh lintian systemd-nspawn; do
		command -v $tool >/dev/null || tap_skip_all "no $tool here"
	done
	# shellcheck disable=SC2016 # for apt
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
	# shellcheck disable=SC1091
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	NB_PACKAGE_WORK=$(mktemp -d)
	export NB_PACKAGE_WORK
	# its mounts go with the namespace
	unshare --mount --propagation private debootstrap --variant=minbase \
		--include=systemd,systemd-sysv,dbus,libnftnl11,libmnl0,libcjson1,nftables \
		"$release" "$NB_PACKAGE_WORK/root" "$mirror" >"$NB_PACKAGE_WORK/log" 2>&1 || {
		tap_note "debootstrap: $(tail -n 3 "$NB_PACKAGE_WORK/log")"
		rm -rf "$NB_PACKAGE_WORK/root"
	}
	"$NB_SOURCE/contrib/build-deb" "$NB_PACKAGE_WORK" >/dev/null || {
		rm -rf "$NB_PACKAGE_WORK"
		tap_bail "the package cannot be built"
	}
}
[ -n "${NB_LAB_OUTER:-}" ] || make_root
lab_enter "$@"
clean_up()
{
	[ -z "${nspawn:-}" ] || kill -KILL "$nspawn" 2>/dev/null
	umount "$ROOT" 2>/dev/null
	rm -rf "$NB_PACKAGE_WORK"
}
trap 'clean_up; tap_exit' EXIT
lab_build

ROOT=$NB_PACKAGE_WORK/root
if [ ! -d "$ROOT" ]; then
	must mkdir -p "$T/upper" "$T/work" "$ROOT"
	must mount -t overlay overlay -o "lowerdir=/,upperdir=$T/upper,workdir=$T/work" "$ROOT"
	rm -rf "$ROOT/etc/machine-id" "${ROOT:?}"/etc/nat-bridge "$ROOT/usr/sbin/policy-rc.d"
fi
new=$(echo "$NB_PACKAGE_WORK"/nat-bridge_*.deb)

# --- What is in it ---

is "its version is the program's" "nat-bridge $(dpkg-deb -f "$new" Version)" \
	"$("$NAT_BRIDGE" --version)"
ok "lintian: no error and no warning" \
	lintian --allow-root --fail-on error,warning "$NB_PACKAGE_WORK"/*.changes
contents=$(dpkg-deb -c "$new")
for file in ./usr/sbin/nat-bridge ./lib/systemd/system/nat-bridge.service \
	./lib/systemd/system/nat-bridge-device.path ./lib/systemd/system/nat-bridge-device.service \
	./lib/systemd/system/nat-bridge-watch.service \
	./lib/systemd/system/nat-bridge-engine.service \
	./lib/udev/rules.d/60-nat-bridge.rules ./usr/lib/tmpfiles.d/nat-bridge.conf \
	./usr/share/bash-completion/completions/nat-bridge \
	./usr/share/zsh/vendor-completions/_nat-bridge \
	./usr/share/fish/vendor_completions.d/nat-bridge.fish \
	./usr/share/man/man8/nat-bridge.8.gz ./usr/share/nat-bridge/nat-bridge.schema.json \
	./usr/share/nat-bridge/presets/ollama.json ./etc/nat-bridge/rules.d/ \
	./usr/share/doc/nat-bridge/README.md.gz; do
	has "it holds $file" "$contents" " $file"
done

# --- A system that boots ---

inside()
{
	nsenter -t "$init" -m -n -p -u -i -r -w -- /usr/bin/env -i DEBIAN_FRONTEND=noninteractive \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
find_init()
{
	init=$(pgrep -f 'systemd.unit=lab.target' -n) && [ "$init" -ne "$nspawn" ] &&
		inside systemctl is-active --quiet lab.target
}
cat >"$ROOT/etc/systemd/system/lab.target" <<-UNIT
	[Unit]
	Requires=basic.target
	After=basic.target
	AllowIsolate=yes
UNIT
# Its network is the lab's: what the program does in it, the lab's containers see.
SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 systemd-nspawn --quiet -D "$ROOT" --console=pipe \
	--link-journal=no --register=no --keep-unit -M nat-bridge-package --capability=all \
	-b systemd.unit=lab.target </dev/null >"$T/console" 2>&1 &
nspawn=$!
init=
poll 90 find_init || tap_bail "it does not boot: $(tail -n 5 "$T/console")"

serve host svc=tcp:127.0.0.1:5432
# the same package with a lower version, as it would have been before
must dpkg-deb -R "$new" "$T/old"
must sed -i 's/^Version: .*/Version: 0.0.9/' "$T/old/DEBIAN/control"
must dpkg-deb -b "$T/old" "$ROOT/root/old.deb" >/dev/null
must cp "$new" "$ROOT/root/new.deb"
before=$(nft list ruleset)

# --- Installed ---

ok "install" inside dpkg -i /root/old.deb
is "its units are active" \
	"$(inside systemctl is-active nat-bridge.service nat-bridge-device.path | sort -u)" active
is "and enabled" "$(inside systemctl is-enabled nat-bridge.service nat-bridge-device.path \
	nat-bridge-engine.service | sort -u)" enabled
is "but not the watcher" "$(inside systemctl is-active nat-bridge-watch.service)" inactive
ok "which somebody wants" inside systemctl enable --quiet --now nat-bridge-watch.service
is "nothing is in the kernel" "$(nft list ruleset)" "$before"
ok "add" inside nat-bridge add $BR 5432
is "reached" "$(reach c1 tcp:$GW:5432)" answered
hold c1 live tcp:$GW:5432
is "a connection lives" "$(ask live ping 3)" answered

# --- Upgraded ---

watcher_is()
{
	inside systemctl show -P ActiveState -P UnitFileState -P MainPID nat-bridge-watch.service |
		xargs
}
watcher=$(watcher_is)
rules=$(nft list table inet nat-bridge | sed 's/packets [0-9]* bytes [0-9]*//')
ok "upgrade" inside dpkg -i /root/new.deb
# shellcheck disable=SC2016 # for dpkg
is "it is the new one" "$(inside dpkg-query -W -f '${Version}' nat-bridge)" \
	"$(dpkg-deb -f "$new" Version)"
is "the connection lives on" "$(ask live ping 3)" answered
is "the ruleset is as it was" \
	"$(nft list table inet nat-bridge | sed 's/packets [0-9]* bytes [0-9]*//')" "$rules"
is "the units are active" \
	"$(inside systemctl is-active nat-bridge.service nat-bridge-device.path | sort -u)" active
is "the watcher is active and enabled as it was" "$(watcher_is | cut -d ' ' -f 2,3)" \
	"active enabled"
ok "and runs the new program" test "$(watcher_is)" != "$watcher"
ok "a watcher that somebody has stopped" inside systemctl stop nat-bridge-watch.service
is "its restart applied nothing anew" "$(inside nat-bridge apply)" \
	"unchanged: the kernel is what the rule files say"
ok "installed again" inside dpkg -i /root/new.deb
is "stays stopped" "$(inside systemctl is-active nat-bridge-watch.service)" inactive
ok "started" inside systemctl start nat-bridge-watch.service
ok "restarted" inside systemctl restart nat-bridge.service
ok "stopped" inside systemctl stop nat-bridge.service
is "the connection lives on" "$(ask live ping 3)" answered
ok "started" inside systemctl start nat-bridge.service

# --- Removed ---

# what runs of the program, whoever started it
running()
{
	inside sh -c 'grep -lsx nat-bridge /proc/[0-9]*/comm; true'
}
ok "the watcher runs" test -n "$(running)"
ok "remove" inside dpkg -r nat-bridge
is "nothing of it runs any more" "$(running)" ""
is "nothing is open without the program" "$(probe c1 tcp:$GW:5432)" refused
is "and the ruleset is what it was before" "$(nft list ruleset)" "$before"
is "route_localnet, too" "$(localnet_of $BR)" 0
is "the rule file stays" "$(ls "$ROOT/etc/nat-bridge/rules.d")" "iface.$BR-5432-tcp.json"
ok "install again" inside dpkg -i /root/new.deb
is "and it is mapped as before" "$(reach c1 tcp:$GW:5432)" answered

# --- Purged ---

must inside mkdir -p /var/log/nat-bridge
must inside touch /var/log/nat-bridge/flows.log /etc/default/nat-bridge-watch
must inside systemctl start nat-bridge-watch.service
ok "purge" inside dpkg -P nat-bridge
is "nothing of it runs any more" "$(running)" ""
is "nothing is open" "$(probe c1 tcp:$GW:5432)" refused
ok "nor in /run" inside test ! -e /run/nat-bridge
is "no file is left" "$(find "$ROOT/etc/nat-bridge" \
	"$ROOT/usr/share/nat-bridge" "$ROOT/etc/systemd" "$ROOT/etc/default" "$ROOT/var/log" -name '*nat-bridge*' 2>/dev/null)" ""

inside systemctl poweroff --no-block
wait "$nspawn"
nspawn=
tap_end
