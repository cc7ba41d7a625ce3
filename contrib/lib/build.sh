# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it
#
# For the scripts in contrib/: packages, and a build outside the checkout.
# Source it with "top" set to the root of the checkout.

# What a build needs: a command, a file or a pkg-config module, and its Debian package.
build_requires='
gcc            gcc
/usr/include/stdio.h libc6-dev
pkg-config     pkg-config
meson          meson
ninja          ninja-build
python3        python3
ip             iproute2
unshare        util-linux
mod:libnftnl   libnftnl-dev
mod:libmnl     libmnl-dev
mod:libcjson   libcjson-dev
mod:check      check
'

# missing_packages LIST: print the packages of what is not there, one a line.
missing_packages() {
	local what package
	while read -r what package; do
		case $what in
		'') continue ;;
		/*) [ -e "$what" ] && continue ;;
		mod:*) pkg-config --exists "${what#mod:}" 2>/dev/null && continue ;;
		*) command -v "$what" >/dev/null 2>&1 && continue ;;
		esac
		echo "$package"
	done <<<"$1"
}

# need_packages LIST: install what is missing by apt-get, quietly; fail in words elsewhere.
need_packages() {
	local missing=()
	# shellcheck disable=SC2207 # names of packages have no blanks
	missing=($(missing_packages "$1"))
	[ ${#missing[@]} -eq 0 ] && return 0
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "${0##*/}: please install the equivalents of: ${missing[*]}" >&2
		return 1
	fi
	echo "installing ${missing[*]}" >&2
	if ! without_services apt_quiet install "${missing[@]}"; then
		# A fresh machine has no package lists, an old one stale ones.
		apt_quiet update && without_services apt_quiet install "${missing[@]}"
	fi || {
		tail -n 5 "${work:-/tmp}/apt.log" >&2
		echo "${0##*/}: could not install ${missing[*]}" >&2
		return 1
	}
}

apt_quiet() {
	local verb=$1
	shift
	[ "$verb" = install ] && set -- --no-install-recommends "$@"
	DEBIAN_FRONTEND=noninteractive apt-get -q -y "$verb" "$@" \
		</dev/null >"${work:-/tmp}/apt.log" 2>&1
}

# without_services COMMAND...: what it installs is not started; an engine would change the
# machine's firewall. Debian's policy-rc.d is asked before any service starts.
without_services() {
	local policy=/usr/sbin/policy-rc.d status

	if [ -e $policy ]; then
		"$@"
		return
	fi
	printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy || return 1
	"$@"
	status=$?
	rm -f $policy
	return $status
}

# build_program DIR: build in DIR; print nothing unless it fails. The program is $nat_bridge.
build_program() {
	local dir=$1
	if ! { meson setup "$dir" "$top" --buildtype=release &&
		ninja -C "$dir" nat-bridge; } </dev/null >"$dir.log" 2>&1; then
		tail -n 15 "$dir.log" >&2
		echo "${0##*/}: the build failed" >&2
		return 1
	fi
	nat_bridge=$dir/nat-bridge
	[ -x "$nat_bridge" ] || nat_bridge=$(find "$dir" -name nat-bridge -type f -perm -u+x | head -n 1)
	[ -n "$nat_bridge" ]
}

# begin: what every script does first. Sets work, a directory that goes when the script
# ends, however it ends; and nothing reads standard input from here on.
begin() {
	if [ "$(id -u)" -ne 0 ]; then
		echo "${0##*/}: needs root, to make network namespaces: sudo $0" >&2
		exit 1
	fi
	exec </dev/null
	export PATH=$PATH:/usr/sbin:/sbin
	private=
	work=$(mktemp -d "${TMPDIR:-/tmp}/nat-bridge-${0##*/}.XXXXXX") || exit 1
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
}

finish() {
	# unshare ignores gentler signals; with it goes all that runs in the namespaces.
	[ -z "$private" ] || { kill -KILL "$private" && wait "$private"; } 2>/dev/null
	rm -rf "$work"
}

# in_private COMMAND...: in a network, mount and PID namespace of its own. In the background,
# because bash runs no trap while it waits for a command in the foreground.
in_private() {
	local status

	unshare --net --mount --propagation private --pid --fork --kill-child --mount-proc "$@" &
	private=$!
	wait "$private"
	status=$?
	private=
	return $status
}
