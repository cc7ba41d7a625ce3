#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes, VPNs, bridges and queues: what no rule of a firewall shows."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zoo import *  # noqa: E402

TUN = "ip tuntap add dev tun0 mode tun; ip addr add 10.8.0.2/24 dev tun0; ip link set tun0 up\n"
VPN = TUN + "ip route add default dev tun0 table 77\n"


UDP = f"{PORT}:{Lab.mapped}/udp"


def dial_udp(lab):
    return lab.agents["ctr"].call("udp", GATEWAY, PORT, 1)


def rp_filter(lab, value):
    for device in ("all", "br-app"):
        lab.set_conf(device, "rp_filter", value)


def strict(lab):
    rp_filter(lab, 1)


def asks(lab):
    """Dial as a container that does not know the bridge's hardware address yet."""
    lab.agents["ctr"].call("sh", "ip neigh del 172.30.0.1 dev eth0 2>/dev/null; "
                           "ip neigh flush dev eth0")
    return lab.tcp(PORT, timeout=5)


def inside(command):
    return lambda lab: lab.agents["ctr"].call("sh", command)


def bpf(device, where="ingress"):
    """A classifier that drops all TCP, in the words of tc: others come from a compiler."""
    code = "6,40 0 0 12,21 0 3 2048,48 0 0 23,21 0 1 6,6 0 0 2,6 0 0 4294967295,"
    return (f"tc qdisc add dev {device} clsact 2>/dev/null || :\n"
            f"tc filter add dev {device} {where} pref 1 protocol all bpf da bytecode '{code}'")


def fill_conntrack(lab):
    """As many connections as the kernel takes; the limit is the machine's, the table is ours."""
    sh([sys.executable, os.path.join(lab.source, "tests/lib/fill.py")])


keep([
    # --- policy routing
    Sick("an `unreachable` rule", "kill switches by ip rule", "timeout", "routing",
         "ip rule add pref 100 to 172.16.0.0/12 unreachable", evidence="100"),
    Sick("a `prohibit` rule for what has no mark", "kill switches by ip rule and fwmark", "timeout",
         "routing", "ip rule add pref 200 fwmark 0xca6c lookup main\n"
         "ip rule add pref 201 prohibit", evidence="201"),
    Sick("a `blackhole` route", "RFC 1918 null routes of BGP and cloud guides", "timeout", "routing",
         "ip route add blackhole 172.30.0.0/25", evidence="blackhole"),
    Sick("a VPN's table before main", "OpenVPN, strongSwan's table 220", "timeout", "routing",
         TUN + "ip route add 172.16.0.0/12 dev tun0 table 220; ip rule add pref 220 lookup 220",
         evidence="220"),
    Sick("a VPN that pushes a longer prefix", "OpenVPN: push \"route 172.30.0.0 255.255.255.128\"",
         "timeout", "routing", TUN + "ip route add 172.30.0.0/25 via 10.8.0.1 dev tun0",
         evidence="tun0"),
    Sick("the same with a strict reverse path filter", "RHEL's default rp_filter=1", "timeout",
         "reverse-path", TUN + "ip route add 172.30.0.0/25 via 10.8.0.1 dev tun0", evidence="br-app",
         before=strict, also=("routing",)),
    Sick("a network on two bridges", "a bridge left over by compose", "timeout",
         ("routing", "reverse-path"), "ip link add br-old type bridge; ip link set br-old up\n"
         "ip route add 172.30.0.0/25 dev br-old", evidence="br-old"),
    Sick("another path by mark, with rp_filter", "src_valid_mark forgotten", "timeout",
         "reverse-path", "ip rule add pref 100 to 172.30.0.0/24 lookup 100\n"
         "ip route replace 172.30.0.0/24 dev br-two table 100", before=strict, evidence="br-app",
         also=("routing",)),
    Sick("a container that kept an address of the old subnet", "the engine's default-address-pools "
         "changed", "timeout", ("routing", "reverse-path"),
         lambda lab: (sh("ip addr add 172.29.0.1/24 dev br-two"), lab.agents["ctr"].call(
             "sh", "ip addr add 172.29.0.7/24 dev eth0; "
             "ip route replace 172.30.0.1 dev eth0 src 172.29.0.7")), evidence="172.29.0.7",
         says="^give the container an address of the bridge's network", cure=lambda lab: lab.agents["ctr"].call(
             "sh", "ip addr del 172.29.0.7/24 dev eth0")),
    Sick("a `prohibit` rule, and a UDP port", "kill switches by ip rule; DNS of the host", "timeout", "routing",
         "ip rule add pref 100 to 172.16.0.0/12 prohibit", evidence="100", mapping=UDP, dial=dial_udp),
    Sick("a VPN's table before main, and a UDP port", "OpenVPN, strongSwan's table 220; DNS of the host",
         "timeout", "routing",
         TUN + "ip route add 172.16.0.0/12 dev tun0 table 220; ip rule add pref 220 lookup 220",
         evidence="220", mapping=UDP, dial=dial_udp),
    # --- the host itself
    Sick("lo without an address", "`ip addr flush dev lo`; network scripts that flush every device", "timeout",
         "loopback", "ip addr flush dev lo", evidence=r"127\.0\.0\.1 is no address of this host"),
    Sick("lo without an address, and a default route", "the same on a host that is somewhere", "timeout",
         "loopback", TUN + "ip route add default dev tun0; ip addr flush dev lo",
         evidence=r"127\.0\.0\.1 is no address of this host"),
    # --- policy routing by more than addresses
    Sick("a VPN's table for what this host sends", "`ip rule add iif lo`", "timeout", "routing",
         VPN + "ip rule add pref 90 iif lo lookup 77", evidence="90: from all iif lo lookup 77"),
    Sick("a VPN's table for one service's port", "`ip rule add ipproto tcp sport`", "timeout", "routing",
         VPN + "ip rule add pref 90 ipproto tcp sport 8088 lookup 77", evidence="90: .*ipproto tcp sport 8088 lookup"),
    Sick("a VPN's table for one user", "VPN killswitches of Transmission: uidrange", "timeout", "routing",
         VPN + "ip rule add pref 90 uidrange 968-970 lookup 77", evidence="90: .*uidrange 968-970 lookup 77",
         before=lambda _: Listener("127.0.0.1", 5432, user=968), mapping=f"{PORT}:5432"),
    Sick("a VPN's table for what one user's packets are marked with", "-m owner --uid-owner -j MARK", "timeout",
         "routing", VPN + "ip rule add pref 90 fwmark 0x7 lookup 77\n"
         "iptables-nft -t mangle -A OUTPUT -m owner --uid-owner 968 -j MARK --set-mark 7",
         evidence="90: .*fwmark 0x7 lookup 77.*the host answered",
         before=lambda _: Listener("127.0.0.1", 5432, user=968), mapping=f"{PORT}:5432"),
    # --- the container's own routes
    Sick("a bridge that got another address", "the subnet changed under containers that run", "timeout",
         "container-way", "ip addr flush dev br-app; ip addr add 172.30.1.1/24 dev br-app",
         evidence=r"172\.30\.0\.1 as its gateway, .* br-app has 172\.30\.1\.1 now", also=("routing",)),
    Sick("a container without a route to its host", "`ip route` in an entrypoint", "no route", "container-way",
         lambda lab: lab.agents["ctr"].call("sh", "ip route add unreachable 172.30.0.1"),
         evidence="no route to 172.30.0.1",
         cure=lambda lab: lab.agents["ctr"].call("sh", "ip route del unreachable 172.30.0.1")),
    Well("a bridge of two networks, and a container of the second", lambda lab: (
        sh("ip addr add 10.99.0.1/24 dev br-app"), lab.agents["ctr"].call(
            "sh", "ip addr flush dev eth0; ip addr add 10.99.0.2/24 dev eth0")),
         dial=lambda lab: lab.tcp(PORT, host="10.99.0.1")),
    # --- IPsec
    Sick("an IPsec policy that blocks", "strongSwan: a trap or drop policy over 172.16.0.0/12",
         "timeout", ("ipsec", "no-cause"),
         "ip xfrm policy add dir out src 0.0.0.0/0 dst 172.30.0.0/24 action block",
         cure="ip xfrm policy flush"),
    # --- the bridge and its ports
    Sick("a port to which spanning tree listens", "STP: half a minute without a word", "timeout",
         "isolated-port", "ip link set br-app type bridge stp_state 1; ip link set vapp down\n"
         "ip link set vapp up", evidence="vapp"),
    Sick("a port that was disabled", "`bridge link set state 0`", "timeout", "isolated-port",
         "bridge link set dev vapp state 0", evidence="vapp"),
    Sick("a locked port", "802.1X, MAB: bridge link set locked on", "timeout", "isolated-port",
         "bridge link set dev vapp locked on\n"
         "for m in $(bridge fdb show dev vapp | awk '!/permanent/ { print $1 }'); do "
         "bridge fdb del $m dev vapp master; done", evidence="vapp"),
    Sick("a container whose device is down", "`ip link set eth0 down` in a debug shell", "no route",
         "isolated-port", lambda lab: (
             lab.agents["ctr"].call("sh", "ip link set eth0 down"),
             # the kernel tells the other end a moment later
             wait_for(lambda: "NO-CARRIER" in sh("ip link show vapp"), 10)),
         evidence="vapp of the bridge has no carrier", says="^nsenter -t [0-9]+ -n ip link set eth0 up$"),
    Sick("a port that learns and floods nothing", "hardening by `bridge link set learning off`",
         "timeout", "isolated-port", "bridge link set dev vapp learning off flood off\n"
         "for m in $(bridge fdb show dev vapp | awk '!/permanent/ { print $1 }'); do "
         "bridge fdb del $m dev vapp master; done", evidence="vapp.*flood off"),
    # --- the way to the bridge's hardware address
    Sick("a bridge that answers no ARP", "`ip link set arp off`, macvlan guides", "no route", "arp",
         "ip link set br-app arp off", evidence="NOARP", dial=asks),
    Sick("arp_ignore=8", "LVS and keepalived guides", "no route", "arp",
         "sysctl -qw net.ipv4.conf.br-app.arp_ignore=8", evidence="arp_ignore", dial=asks),
    Sick("arp_ignore=8 of all", "the same in sysctl.d", "no route", "arp",
         "sysctl -qw net.ipv4.conf.all.arp_ignore=8", evidence="conf.all.arp_ignore", dial=asks),
    Sick("arptables that drops", "MAC filters of libvirt and hosters: a policy", "no route", "arp",
         nft("table arp filter {\nchain INPUT {\ntype filter hook input priority 0; policy drop;\n}\n}"),
         evidence="arp filter INPUT", dial=asks),
    Sick("arptables with a rule that drops", "MAC filters of libvirt and hosters: a rule", "no route",
         "arp", nft("table arp site {\nchain out {\ntype filter hook output priority 0; policy accept;"
                    "\narp operation reply drop\n}\n}"),
         evidence="rule [0-9]+ of chain arp site out", dial=asks),
    # --- the container's own side
    Sick("a container that lets nothing out", "an entrypoint's iptables -P OUTPUT DROP", "timeout",
         "container-firewall", inside("iptables-nft -P OUTPUT DROP"),
         evidence="policy of chain ip filter OUTPUT", says="^nsenter "),
    Sick("a container that drops one port", "an AI sandbox's firewall script", "timeout",
         "container-firewall", inside(f"iptables-nft -A OUTPUT -p tcp --dport {PORT} -j DROP"),
         evidence="rule [0-9]+ of chain ip filter OUTPUT", says="^nsenter "),
    Sick("a container that lets nothing in", "an AI sandbox's firewall script", "timeout",
         "container-firewall", inside("nft add table inet box; nft 'add chain inet box in "
                                      "{ type filter hook input priority 0; policy drop; }'"),
         evidence="policy of chain inet box in", says="^nsenter "),
    # --- tc
    Sick("a queue without room", "`pfifo limit` too small", "timeout", "traffic-control",
         "tc qdisc add dev vapp root bfifo limit 1", evidence="bfifo on vapp has dropped",
         says="^look whether that grows", cure="tc qdisc del dev vapp root"),
    Sick("a BPF program at the bridge's ingress", "Cilium's, Calico's eBPF: a clsact filter before "
         "ours", "timeout", "traffic-control", bpf("br-app"), evidence="br-app"),
    Sick("a BPF program at the container's port", "Cilium's per endpoint program", "timeout",
         "traffic-control", bpf("vapp"), evidence="vapp"),
    Sick("a BPF program at the bridge's egress", "a shaper's classifier", "timeout",
         "traffic-control", bpf("br-app", "egress"), evidence="br-app"),
    Sick("a shaper that lets nothing through", "wondershaper: a burst below one packet", "timeout",
         ("traffic-control", "no-cause"),
         "tc qdisc add dev br-app root tbf rate 8bit burst 10 limit 10", evidence="br-app"),
    # --- connection tracking
    Sick("a full table of connections", "nf_conntrack: table full, dropping packet", "timeout",
         "conntrack-full", fill_conntrack, evidence="nf_conntrack_max", full=True,
         forget=False, cure="conntrack -F"),
])

run_zoo(__file__, needs=("tc", "bridge"))
