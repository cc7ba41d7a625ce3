#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# docs/usage.md, command by command, in a lab whose devices have the names of
# the document: what it shows is what the program prints.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/doc.sh
. "$(dirname "$0")/../lib/doc.sh"
lab_enter "$@"
lab_build

# the places of an installed program, in this mount namespace alone
must mkdir -p "$T/etc" "$T/work"
must mount -t overlay overlay -o "lowerdir=/etc,upperdir=$T/etc,workdir=$T/work" /etc
rm -rf /etc/nat-bridge
must mount -t tmpfs -o mode=755 tmpfs /usr/local/sbin
must cp "$NAT_BRIDGE" /usr/local/sbin/nat-bridge
PATH=/usr/local/sbin:$PATH
unset DOCKER_HOST CONTAINER_HOST

write_invalid()
{
	printf '{ "mappings": [\n  { "network": "iface:br-second", "port": 70000 } ] }\n' \
		>/etc/nat-bridge/rules.d/web.json
}

serve host a=tcp:127.0.0.1:11434 b=tcp:127.0.0.1:5432 c=tcp:127.0.0.1:8080 \
	d=udp:127.0.0.54:53 e=tcp:127.0.0.2:5432 f=tcp:127.0.0.1:3000
doc_run "$NB_SOURCE/docs/usage.md"
tap_end
