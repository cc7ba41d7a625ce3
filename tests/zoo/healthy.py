#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts on which nothing is wrong: reached, and doctor finds nothing."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zoo import *  # noqa: E402

TUN = "ip tuntap add dev tun0 mode tun; ip addr add 10.8.0.2/24 dev tun0; ip link set tun0 up\n"
UDP = f"{PORT}:{Lab.mapped}/udp"


def many(lab):
    """Five hundred mappings, one of which is dialled."""
    lab.write_rules({"many.json": {"mappings": [
        {"network": "iface:br-app", "port": port, "target": f"127.0.0.1:{lab.mapped}"}
        for port in range(PORT, PORT + 500)]}})
    lab.good("apply")


def legacy_opened(lab):
    """iptables-legacy drops, and the rule that `check` prints stands before that."""
    done = subprocess.run("iptables-legacy -w -P INPUT DROP && iptables-legacy -w -I INPUT 1 "
                          "-d 127.0.0.0/8 -m mark --mark 0x10000000/0x10000000 -m comment "
                          "--comment nat-bridge -j ACCEPT", shell=True, capture_output=True, text=True)
    if done.returncode:
        skip("this kernel has no iptables-legacy", kernel=True)


keep([
    Well("no firewall at all", ""),
    Well("the UDP port of it", "", mapping=UDP,
         dial=lambda lab: lab.agents["ctr"].call("udp", GATEWAY, PORT, 3)),
    Well("iptables-nft with a policy of DROP, as ufw has it", """
        iptables-nft -N ufw-out; iptables-nft -N ufw-limit
        iptables-nft -A ufw-out -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        iptables-nft -A ufw-out -m conntrack --ctstate INVALID -j DROP
        iptables-nft -A ufw-out -o lo -j ACCEPT
        iptables-nft -A OUTPUT -j ufw-out; iptables-nft -P OUTPUT DROP
        iptables-nft -A INPUT -m recent --name x --set -j ufw-limit
        iptables-nft -A ufw-limit -m limit --limit 3/min -j LOG
        iptables-nft -A ufw-limit -j REJECT; iptables-nft -P INPUT DROP"""),
    Well("a workstation's input chain, loaded first", nft("""table inet filter {
            chain input { type filter hook input priority 0; policy accept;
                ct state invalid drop; ct state established,related accept
                iif lo accept; ip6 nexthdr icmpv6 accept; ip protocol icmp accept
                tcp dport 22 accept
                counter drop }
            chain output { type filter hook output priority 0; policy accept; }
         }""")),
    Well("kubelet's and kube-proxy's chains", """
        iptables-nft -N KUBE-FIREWALL
        iptables-nft -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack \
            ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
        iptables-nft -A INPUT -j KUBE-FIREWALL; iptables-nft -A OUTPUT -j KUBE-FIREWALL
        iptables-nft -t nat -N KUBE-MARK-MASQ
        iptables-nft -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
        iptables-nft -N KUBE-FORWARD
        iptables-nft -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
        iptables-nft -A FORWARD -j KUBE-FORWARD"""),
    Well("Docker's raw drops for what is published on 127.0.0.1",
         f"iptables-nft -t raw -A PREROUTING ! -i lo -d 127.0.0.1/32 -p tcp --dport {PORT} -j DROP\n"
         "iptables-nft -P FORWARD DROP"),
    Well("strict reverse paths, no forwarding, and NixOS's rpfilter", """
        sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.br-app.rp_filter=1
        sysctl -qw net.ipv4.ip_forward=0
        iptables-nft -t mangle -A PREROUTING -m rpfilter --validmark --invert -j DROP"""),
    Well("bridged frames meet iptables", "sysctl -qw net.bridge.bridge-nf-call-iptables=1\n"
         "iptables-nft -P FORWARD DROP"),
    Well("wg-quick with all traffic through the tunnel", TUN + """
        ip route add default dev tun0 table 51820
        ip rule add not fwmark 51820 table 51820
        ip rule add table main suppress_prefixlength 0\n""" + nft("""table ip wg-quick-wg0 {
            chain preraw { type filter hook prerouting priority -300; policy accept;
                iifname != "tun0" ip daddr 10.8.0.2 fib saddr type != local drop }
            chain premangle { type filter hook prerouting priority -150; policy accept;
                meta l4proto udp meta mark set ct mark }
            chain postmangle { type filter hook postrouting priority -150; policy accept;
                meta l4proto udp mark 0x0000ca6c ct mark set mark }
        }""")),
    Well("Tailscale's chains and rules", """
        iptables-nft -N ts-input; iptables-nft -A INPUT -j ts-input
        iptables-nft -A ts-input -s 100.100.1.1/32 -i lo -j ACCEPT
        iptables-nft -A ts-input -s 100.115.92.0/23 ! -i tailscale0 -j RETURN
        iptables-nft -A ts-input -s 100.64.0.0/10 ! -i tailscale0 -j DROP
        iptables-nft -A FORWARD -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000
        ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main
        ip rule add pref 5230 fwmark 0x80000/0xff0000 lookup default
        ip rule add pref 5250 fwmark 0x80000/0xff0000 unreachable
        ip rule add pref 5270 lookup 52; ip route add 100.64.0.7/32 dev br-two table 52"""),
    Well("rules and routes for others", """
        ip rule add pref 100 to 203.0.113.0/24 blackhole
        ip rule add pref 101 from 198.51.100.0/24 prohibit
        ip route add blackhole 10.0.0.0/8; ip route add unreachable 192.168.0.0/16"""),
    Well("NOTRACK, drops and DNAT of other ports and networks", nft("""table ip others {
            chain raw { type filter hook prerouting priority raw; policy accept;
                udp dport 53 notrack; iifname "br-two" notrack }
            chain nat { type nat hook prerouting priority -150; policy accept;
                tcp dport 443 dnat to 172.31.0.2:443 }
            chain early { type filter hook prerouting priority -10; policy accept;
                ip saddr { 10.0.0.0/8, 192.168.0.0/16 } drop; tcp dport 23 drop }
         }""")),
    Well("shaping, and a classifier that lets pass", "tc qdisc add dev vapp root tbf rate 100mbit "
         "burst 256kbit latency 50ms\n"
         "tc qdisc add dev br-app clsact; "
         "tc filter add dev br-app egress pref 5 bpf da bytecode '1,6 0 0 4294967295,'"),
    Well("isolated ports, and a port more that is down", "bridge link set dev vapp isolated on\n"
         "ip link add spare type veth peer name unused; ip link set spare master br-app"),
    Well("iptables-legacy with the rule that `check` prints", legacy_opened),
    Well("five hundred mappings", many, mapping=None),
])

run_zoo(__file__, needs=("iptables-nft", "iptables-legacy", "sysctl", "tc", "bridge"))
