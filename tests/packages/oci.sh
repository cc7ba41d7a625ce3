#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The image of contrib/oci: built and run by a real Podman with what docs/oci.md says, on a
# "host" that is the lab; a container's packet then reaches the host's 127.0.0.1.
#
# Its base is made by debootstrap, since the lab has no way to a registry.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/doc.sh
. "$(dirname "$0")/../lib/doc.sh"
: "${NB_SOURCE:?set NB_SOURCE to the checkout}"
export PATH=$PATH:/usr/sbin:/sbin

podman()
{
	command podman --root "$NB_OCI_WORK/storage" --runroot "$NB_OCI_WORK/run" \
		--storage-driver overlay --events-backend file --cgroup-manager cgroupfs \
		--runtime runc "$@"
}

# Outside of the lab: the build installs packages.
make_image()
{
	local tool mirror release

	for tool in debootstrap podman runc; do
		command -v $tool >/dev/null || tap_skip_all "no $tool here"
	done
	# shellcheck disable=SC2016 # for apt
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
	# shellcheck disable=SC1091
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	NB_OCI_WORK=$(mktemp -d)
	# this machine's own places stay as they are
	printf '[network]\nnetwork_config_dir = "%s/networks"\n' "$NB_OCI_WORK" \
		>"$NB_OCI_WORK/containers.conf"
	export NB_OCI_WORK CONTAINERS_CONF=$NB_OCI_WORK/containers.conf
	{
		unshare --mount --propagation private debootstrap --variant=minbase "$release" \
			"$NB_OCI_WORK/root" "$mirror" &&
			tar -C "$NB_OCI_WORK/root" -c . | podman import - localhost/base:lab &&
			podman build --isolation chroot --network host \
				--build-arg BASE=localhost/base:lab -t nat-bridge \
				-f "$NB_SOURCE/contrib/oci/Containerfile" "$NB_SOURCE"
	} >"$NB_OCI_WORK/log" 2>&1 || {
		tap_note "$(tail -n 8 "$NB_OCI_WORK/log")"
		unmake_image
		tap_bail "the image cannot be built"
	}
}

unmake_image()
{
	umount "$NB_OCI_WORK"/storage/overlay 2>/dev/null
	rm -rf "$NB_OCI_WORK"
}

[ -n "${NB_LAB_OUTER:-}" ] || make_image
lab_enter "$@"
trap 'unmake_image; tap_exit' EXIT
lab_build
must mkdir -p "$T/etc" "$T/work"
must mount -t overlay overlay -o "lowerdir=/etc,upperdir=$T/etc,workdir=$T/work" /etc
rm -rf /etc/nat-bridge
echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' >/etc/containers/policy.json

serve host svc=tcp:127.0.0.1:5432
before=$(nft list ruleset)
doc_run "$NB_SOURCE/docs/oci.md"
is "a packet gets through" "$(reach c1 tcp:$GW:15432)" answered
is "and not from another bridge" "$(probe c3 tcp:$GW2:15432)" refused
is "the rule file is the host's" "$(ls /etc/nat-bridge/rules.d)" "iface.$BR-15432-tcp.json"
hold c1 live tcp:$GW:15432
is "a connection lives" "$(ask live ping 3)" answered
ok "remove" podman run --rm --network host --cap-drop all --cap-add NET_ADMIN --read-only \
	-v /etc/nat-bridge:/etc/nat-bridge -v /run/nat-bridge:/run/nat-bridge \
	nat-bridge remove iface:$BR --all
is "ends it" "$(ask live ping 1)" reset
is "without a trace" "$(nft list ruleset)" "$before"
tap_end
