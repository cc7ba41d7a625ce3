#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The ICMP errors of mapped flows find their way, in both directions.
#
# Behind the first bridge stands a router with a narrow link, so that packets
# of full size towards "deep" come back as "fragmentation needed":
#
#   host ── br-0123456789ab ── (172.30.1.9) rt (172.31.0.1, MTU 1280) ── deep 172.31.0.2
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$@"
lab_build

must ip netns add rt
must ip netns add deep
must ip -batch - <<-BATCH
	link add vrt type veth peer name eth0 netns rt
	link set vrt master $BR up
	route add 172.31.0.0/24 via 172.30.1.9
BATCH
must in_ns rt sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0
must ip -n rt -batch - <<-BATCH
	link set lo up
	address add 172.30.1.9/24 dev eth0
	link set eth0 up
	link add eth1 mtu 1280 type veth peer name eth0 netns deep
	address add 172.31.0.1/24 dev eth1
	link set eth1 up
	route add default via $GW
BATCH
# deep itself offers segments of full size: only the router knows better.
must ip -n deep -batch - <<-BATCH
	link set eth0 mtu 1500
	address add 172.31.0.2/24 dev eth0
	link set eth0 up
	route add default via 172.31.0.1
BATCH
lab_up
serve host svc=tcp:127.0.0.1:5432 dgram=udp:127.0.0.1:5353 conn=udpc:127.0.0.1:5354 \
	plain=tcp:$GW:8080

forget()
{
	ip route flush cache
}

# Path MTU that the host has learnt for deep, or nothing.
learnt()
{
	ip route get 172.31.0.2 from $GW | sed -n 's/.* mtu \([0-9]*\).*/\1/p'
}

# Take the program's rule away that matches, and see what happens without it.
without()
{
	must delete_rule inet nat-bridge "$1" "$2"
}

ok "add" nb add $BR 5432 5353/udp 5354/udp 9999/udp
ok "add what nobody listens to" nb add $BR 9998
is "the lab: the narrow link shows on a service that needs no translation" \
	"$(reach deep --bytes 300000 tcp:$GW:8080) $(learnt)" "answered 1280"

# --- Path MTU, towards the service ---

for bridge_nf in $(bridge_nf_values); do
	set_bridge_nf "$bridge_nf"
	forget
	is "bridge-nf $bridge_nf: a big answer passes the narrow link" \
		"$(reach deep --bytes 1000000 tcp:$GW:5432)" answered
	is "bridge-nf $bridge_nf: small and large requests pass it, too" \
		"$(reach deep --size 1000 tcp:$GW:5432 udp:$GW:5353)" "answered answered"
done
must in_ns deep ip link set eth0 mtu 1280
is "a big request passes the narrow link" "$(reach deep --size 200000 tcp:$GW:5432)" answered
must in_ns deep ip link set eth0 mtu 1500
without mapped icmp
forget
is "control: without the rule for ICMP errors it stalls" \
	"$(probe deep --tries 1 --timeout 1 --bytes 1000000 tcp:$GW:5432)" timeout
ok "apply mends that" nb apply
forget
is "mended: it passes again" "$(reach deep --bytes 1000000 tcp:$GW:5432)" answered

# --- Port unreachable, towards the service: it answers a client that has gone ---

# The client's socket is closed before the service is told to answer.
late_answer()
{
	probe c1 --no-wait --source 172.30.1.2:"$1" --send park udp:$GW:5353 >/dev/null
	poll 3 eval "grep -q '172.30.1.2:$1 park' $T/serve.log"
	reach host --send release udp:127.0.0.1:5353 >/dev/null
}
refusals()
{
	logged "udp dgram error 172.30.1.2:$1 ECONNREFUSED"
}

refused_once()
{
	[ "$(refusals "$1")" -gt 0 ]
}

late_answer 41001
ok "the service learns that its client is gone" poll 3 refused_once 41001
without mapped icmp
late_answer 41002
late_answer 41003
reach c1 udp:$GW:5353 udp:$GW:5353 >/dev/null
is "control: without the rule for ICMP errors it does not" \
	"$(refusals 41002) $(refusals 41003)" "0 0"
ok "apply mends that" nb apply

# --- Port unreachable, towards the container: nobody listens on the target ---

is "UDP to a target without a listener is refused at once" "$(probe c1 udp:$GW:9999)" refused
is "TCP to a target without a listener, too" "$(probe c1 tcp:$GW:9998)" refused
has "it comes from the address that was dialled" "$(
	in_ns c1 "$PYTHON" -I -S - <<-'PY'
		import socket, select
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.setsockopt(0, 11, 1)
		s.sendto(b"x", ("172.30.1.1", 9999))
		select.select([s], [], [], 3)
		data, control, flags, peer = s.recvmsg(100, 500, 0x2000)
		offender = control[0][2][16 + 4:16 + 8]
		print("port", peer, "offender", socket.inet_ntoa(offender))
	PY
)" "port ('172.30.1.1', 9999) offender 172.30.1.1"
without answers icmp
is "control: without the rule for outgoing ICMP errors it is silence" \
	"$(probe c1 udp:$GW:9999)" timeout
ok "apply mends that" nb apply
is "mended: refused again" "$(probe c1 udp:$GW:9999)" refused

# --- ICMP that belongs to no flow opens nothing ---

is "an echo request to loopback is not answered" "$(
	in_ns c1 "$PYTHON" -I -S - "$(mac_of $BR)" <<-'PY'
		import os, select, socket, struct, sys
		s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
		s.bind(("eth0", 3))
		def checksum(data):
		    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
		    while total >> 16:
		        total = (total & 0xffff) + (total >> 16)
		    return ~total & 0xffff
		def echo(to):
		    body = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
		    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
		    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 1, 0,
		                       socket.inet_aton("172.30.1.2"), socket.inet_aton(to))
		    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
		    mac = bytes.fromhex(sys.argv[1].replace(":", ""))
		    s.send(mac + s.getsockname()[4] + b"\x08\x00" + head + body)
		def answers(to, seconds):
		    echo(to)
		    while select.select([s], [], [], seconds)[0]:
		        frame = s.recv(2000)
		        if frame[23] == 1 and frame[34] == 0:
		            return socket.inet_ntoa(frame[26:30])
		    return "silence"
		print(answers("127.0.0.1", 0.4), answers("172.30.1.1", 3))
	PY
)" "silence 172.30.1.1"
ok "remove" nb remove $BR --all
tap_end
