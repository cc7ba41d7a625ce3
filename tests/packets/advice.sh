#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What `add` warns of, beside what packets then meet.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build

serve host good=tcp:127.0.0.1:100 good=udp:127.0.0.1:100 second=tcp:127.0.0.2:105 \
	open=tcp:0.0.0.0:102 mine=tcp:127.0.0.1:106 theirs=tcp:$GW:106
# sockets that serve.py does not make: IPv6 in three ways, and one of a device
lab_python - <<-PYTHON &
	import socket, time
	def listen(family, kind, address, port, only=None, device=None):
	    s = socket.socket(family, kind)
	    if only is not None:
	        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
	    if device:
	        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
	    s.bind((address, port))
	    if kind == socket.SOCK_STREAM:
	        s.listen()
	    return s
	keep = [listen(socket.AF_INET6, socket.SOCK_STREAM, "::1", 101),
	        listen(socket.AF_INET6, socket.SOCK_STREAM, "::", 103, 0),
	        listen(socket.AF_INET6, socket.SOCK_STREAM, "::", 104, 1),
	        listen(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", 107, device=b"lo"),
	        listen(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.53", 53, device=b"lo")]
	open("$T/ready", "w").close()
	time.sleep(600)
PYTHON
poll 5 test -e "$T/ready" || tap_bail "cannot listen"

# what | words of add | what the warnings say, or nothing | what a container finds at the port
while IFS='|' read -r what words pattern found; do
	# shellcheck disable=SC2086
	nb add $BR $words >/dev/null 2>"$T/err"
	is "$what: added" $? 0
	if [ -n "$pattern" ]; then
		has "$what: warned" "$(cat "$T/err")" "$pattern"
	else
		is "$what: not a word" "$(cat "$T/err")" ""
	fi
	spec=${words%%:*}
	spec=${spec%/*}
	proto=tcp
	[[ $words != */udp ]] || proto=udp
	is "$what: a container finds" "$(probe c1 --show "$proto:$GW:$spec" | cut -d' ' -f1,2)" "$found"
	nb remove $BR --all >/dev/null
done <<-ROWS
	a service|100||answered good
	a service by UDP|100/udp||answered good
	nobody|99|nothing listens on 127.0.0.1:99/tcp now|refused
	nobody by that protocol|105:127.0.0.2:105/udp|nothing listens on 127.0.0.2:105/udp now|refused
	another address|105|something does on 127.0.0.2:105|refused
	the other address, named|105:127.0.0.2:105||answered second
	IPv6's loopback alone|101|something does on [[]::1]:101|refused
	IPv6 alone|104|something does on [[]::]:104|refused
	IPv6 and IPv4 in one|103|every address|timeout
	everywhere|102|every address|answered open
	a device's|107|bound to device lo|refused
	a device's, the resolver|53:127.0.0.53:53/udp|DNSStubListenerExtra|refused
	two services on one port|106|something else listens on $GW:106/tcp: what iface:$BR dials|answered mine
ROWS

# What stands before the mapping, so that the last row is true.
is "without a mapping the bridge's own service answers" \
	"$(probe c1 --show tcp:$GW:106 | cut -d' ' -f1,2)" "answered theirs"
set_sysctl net.ipv4.conf.all.route_localnet=1
has "route_localnet for all devices: warned" "$(nb add $BR 100 2>&1)" "conf.all.route_localnet"
set_sysctl net.ipv4.conf.all.route_localnet=0
is "and not without it" "$(nb add $BR 100 2>&1)" "unchanged: it is mapped already"
kill %1
tap_end
