#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules of others that drop, divert or reject: written by the programs that people use."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zoo import *  # noqa: E402

LEGACY = "iptables-legacy -w "


def legacy(*lines):
    """A kernel without it skips the host."""
    def work(lab):
        for line in lines:
            done = subprocess.run((LEGACY + line).split(), capture_output=True, text=True)
            if done.returncode and "does not exist" in done.stderr:
                skip("this kernel has no iptables-legacy", kernel=True)
            expect_eq(done.returncode, 0, f"{line}: {done.stderr}")
    return work


def own(lab):
    """A program whose table nobody else may change: firewalld since 2.2, with strict ports."""
    lab.owner = subprocess.Popen([sys.executable, os.path.join(lab.source, "tests/lib/nl.py"),
                                  "own", "foreign"], stdout=subprocess.PIPE, text=True)
    lab.owner_pid = int(lab.owner.stdout.readline())


def give_up(lab):
    os.kill(lab.owner_pid, signal.SIGTERM)
    wait_for(lambda: "table inet foreign" not in sh("nft list tables"))


def output(*rules, policy="accept", priority="filter"):
    return nft("table inet site { chain output { type filter hook output priority " + priority +
               "; policy " + policy + ";\n" + "\n".join(rules) + "\n} }")


def many(count):
    """As many mappings, the first of which is dialled."""
    def work(lab):
        lab.write_rules({"many.json": {"mappings": [
            {"network": "iface:br-app", "port": port, "target": f"127.0.0.1:{lab.mapped}"}
            for port in range(PORT, PORT + count)]}})
        lab.good("apply")
        expect_eq(lab.tcp(PORT), f"tcp 127.0.0.1:{lab.mapped}", "before it is broken")
    return work


UDP = f"{PORT}:{Lab.mapped}/udp"


def dial_udp(lab):
    return lab.agents["ctr"].call("udp", GATEWAY, PORT, 1)


DNAT = """table ip lb {
    chain prerouting {
        type nat hook prerouting priority -150; policy accept;
        tcp dport 11434 dnat to 172.30.0.9:11434
    }
}"""

keep([
    # --- the handshake's third packet: the container has a connection, and the host has none
    Sick("packets of a connection that stands are dropped", "`--ctstate ESTABLISHED` forgotten before a DROP",
         "timeout", "firewall", "iptables-nft -t mangle -A PREROUTING -i br-app -p tcp -m conntrack "
         "--ctstate ESTABLISHED -j DROP", evidence="mangle PREROUTING.*the host never learned of it"),
    # --- the opener is gone: the rule that drops is another program's, the mend is ours
    Sick("`iptables -F INPUT` under a policy of DROP", "iptables -F takes the opener",
         "timeout", ("firewall", "not-applied"), "iptables-nft -F INPUT",
         before=lambda _: sh("iptables-nft -A INPUT -i lo -j ACCEPT; iptables-nft -P INPUT DROP")),
    Sick("`iptables-restore` of a saved firewall", "netfilter-persistent: NixOS/nixpkgs#141377",
         "timeout", ("firewall", "not-applied"), "iptables-nft-save | grep -v nat-bridge >/run/saved\n"
         "iptables-nft-restore /run/saved",
         before=lambda _: sh("iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT; "
                             "iptables-nft -P INPUT DROP")),
    Sick("fail2ban's ban of a container", "f2b inserts at the head of INPUT", "refused",
         ("firewall", "not-applied"),
         "iptables-nft -w -N f2b-web; iptables-nft -w -A f2b-web -j RETURN\n"
         "iptables-nft -w -I INPUT -p tcp -m multiport --dports 0:65535 -j f2b-web\n"
         "iptables-nft -w -I f2b-web 1 -s 172.30.0.0/24 -j REJECT --reject-with icmp-port-unreachable"),
    Sick("a table with a blocklist, loaded later", "CrowdSec's nftables bouncer: set of ranges",
         "timeout", ("firewall", "not-applied"), nft("""table ip crowdsec {
            set crowdsec-blacklists { type ipv4_addr; flags interval, timeout;
                elements = { 172.16.0.0/12 timeout 4h } }
            chain crowdsec-chain-input { type filter hook input priority -10; policy accept;
                ip saddr @crowdsec-blacklists drop }
         }"""), evidence="crowdsec"),
    # --- where no opener helps
    Sick("anti-spoofing in mangle PREROUTING", "the anti-DDoS recipe that everybody copies",
         "timeout", "firewall", "iptables-nft -t mangle -A PREROUTING -s 172.16.0.0/12 -j DROP",
         evidence=r"mangle.*PREROUTING"),
    Sick("one rule that drops two mappings", "the same recipe, and more than one service", "timeout", "firewall",
         "iptables-nft -t mangle -A PREROUTING -i br-app -p tcp -j DROP", before=many(2), mapping=None,
         evidence=rf"to {PORT}/tcp .*; the same goes for port {PORT + 1} .* to \S+:{PORT}/tcp",
         says=rf"^for port in {PORT} {PORT + 1}; do .* --dport \$port "),
    Sick("one rule that drops two hundred", "the same recipe, and a range of ports", "timeout", "firewall",
         "iptables-nft -t mangle -A PREROUTING -i br-app -p tcp -j DROP", before=many(200), mapping=None,
         evidence=rf"; the same goes for 199 more ports: {PORT + 1}-{PORT + 199} ",
         says=rf"^for port in \$\(seq {PORT} {PORT + 199}\); do "),
    Sick("one DNAT that takes three mappings", "a proxy for a range of ports", "timeout", "hijacked",
         nft("""table ip lb {
            chain prerouting { type nat hook prerouting priority -150; policy accept;
                iifname "br-app" ip protocol tcp dnat to 172.30.0.9 }
         }"""), before=many(3), mapping=None,
         evidence=f"; the same goes for 2 more ports: {PORT + 1}, {PORT + 2} "),
    Sick("bogons dropped in raw PREROUTING", "blocklists that hold 172.16.0.0/12: FireHOL level 1",
         "timeout", "firewall", nft("""table inet bogons {
            set bogons { type ipv4_addr; flags interval;
                elements = { 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16 } }
            chain prerouting { type filter hook prerouting priority raw; policy accept;
                ip saddr @bogons counter drop }
         }"""), evidence="bogons"),
    Sick("127/8 from outside dropped in mangle behind the translation",
         "hardening guides: ! -i lo -d 127.0.0.0/8", "timeout", "firewall", nft("""table inet harden {
            chain prerouting { type filter hook prerouting priority 0; policy accept;
                iifname != "lo" ip daddr 127.0.0.0/8 counter drop }
         }"""), evidence="harden"),
    Sick("a rate of new connections", "anti-flood rules: works, then stops", "timeout", "firewall",
         "iptables-nft -t mangle -A PREROUTING -i br-+ -p tcp --syn -m limit --limit 1/hour "
         "--limit-burst 1 -j RETURN\n"
         "iptables-nft -t mangle -A PREROUTING -i br-+ -p tcp --syn -j DROP",
         dial=lambda lab: (lab.tcp(PORT, timeout=0.3), lab.tcp(PORT, timeout=1))[1]),
    Sick("a queue to which nobody listens", "OpenSnitch or Suricata that has ended", "timeout",
         "firewall", "iptables-nft -t mangle -I PREROUTING -p tcp -m conntrack --ctstate NEW "
         "-j NFQUEUE --queue-num 0", evidence="queue"),
    Sick("a policy of DROP at OUTPUT", "hardening guides without ESTABLISHED", "timeout", "firewall",
         "iptables-nft -A OUTPUT -o lo -j ACCEPT; iptables-nft -A OUTPUT -p tcp --dport 443 -j ACCEPT\n"
         "iptables-nft -P OUTPUT DROP", evidence="OUTPUT"),
    Sick("answers from 127/8 dropped", "hardening guides: ! -o lo -s 127.0.0.0/8", "timeout",
         "firewall", "iptables-nft -A OUTPUT ! -o lo -s 127.0.0.0/8 -j DROP", evidence="OUTPUT"),
    Sick("the same in mangle POSTROUTING", "hardening guides", "timeout", "firewall",
         "iptables-nft -t mangle -A POSTROUTING ! -o lo -s 127.0.0.0/8 -j DROP",
         evidence="POSTROUTING"),
    Sick("an nft output chain of policy drop", "Mullvad's, Proton's kill switch", "timeout",
         "firewall", output('oifname "lo" accept', 'oifname "wg0" accept', "udp dport 51820 accept",
                            policy="drop"), evidence="site"),
    Sick("wg-quick's kill switch", "man wg-quick: PostUp", "timeout", "firewall",
         "iptables-nft -I OUTPUT ! -o wg0 -m mark ! --mark 0xca6c -m addrtype ! --dst-type LOCAL "
         "-j REJECT", evidence="OUTPUT"),
    Sick("an owner match at OUTPUT", "only one user may talk to the network", "timeout", "firewall",
         "iptables-nft -A OUTPUT -o lo -j ACCEPT\n"
         "iptables-nft -A OUTPUT -m owner --uid-owner 0 -j REJECT", evidence="OUTPUT"),
    Sick("ebtables on the bridge", "libvirt's and OpenStack's port filters", "timeout", "firewall",
         "ebtables-nft -A INPUT -i vapp -p IPv4 --ip-proto tcp -j DROP", evidence="bridge"),
    Sick("a netdev chain at the bridge's ingress", "nft examples for early drops", "timeout",
         "firewall", nft("""table netdev early {
            chain ingress { type filter hook ingress device "br-app" priority 0; policy accept;
                tcp dport != { 22, 443 } drop }
         }"""), evidence="netdev early"),
    Sick("a netdev chain at the container's port", "nft examples for early drops", "timeout",
         ("firewall", "traffic-control"), nft("""table netdev early {
            chain ingress { type filter hook ingress device "vapp" priority 0; policy accept;
                ip protocol tcp drop }
         }"""), evidence="netdev early"),
    # --- of UDP nobody tells who sends that it does not arrive
    Sick("UDP dropped in mangle PREROUTING", "anti-DDoS recipes against amplification", "timeout", "firewall",
         "iptables-nft -t mangle -A PREROUTING -i br-app -p udp -j DROP", evidence=f"{PORT}/udp.*mangle.*PREROUTING",
         mapping=UDP, dial=dial_udp),
    Sick("UDP answers dropped at OUTPUT", "a policy for TCP services alone", "timeout", "firewall",
         "iptables-nft -A OUTPUT -o br-app -p udp -j DROP", evidence="OUTPUT", mapping=UDP, dial=dial_udp),
    # --- iptables-legacy, of which netlink knows nothing
    Sick("iptables-legacy's policy of DROP", "two backends on one host", "timeout",
         "firewall-legacy", legacy("-P INPUT DROP"), evidence="INPUT"),
    Sick("iptables-legacy rejects 127/8", "old rules that stayed when the backend changed", "refused", "firewall-legacy",
         legacy("-A INPUT -i lo -j ACCEPT", "-A INPUT -d 127.0.0.0/8 -j REJECT"), evidence="INPUT"),
    Sick("iptables-legacy's OUTPUT", "update-alternatives, and the old rules stay", "timeout",
         ("firewall-legacy", "firewall"), legacy("-A OUTPUT -s 127.0.0.0/8 ! -o lo -j DROP"),
         evidence="OUTPUT"),
    # --- tables that are somebody's own
    Sick("a table that a process owns", "netavark#1165: StrictForwardPorts",
         "timeout", "firewall-owned", own, evidence="foreign", cure=give_up),
    # --- connection tracking
    Sick("NOTRACK for the bridge", "raw -i br NOTRACK", "refused", "untracked",
         "iptables-nft -t raw -A PREROUTING -i br-app -j NOTRACK", evidence="raw"),
    Sick("NOTRACK for all of a busy host", "tuning guides for DNS servers and load balancers",
         "refused", "untracked", nft("""table ip tuning {
            chain prerouting { type filter hook prerouting priority raw; policy accept; notrack }
            chain output { type filter hook output priority raw; policy accept; notrack }
         }"""), evidence="tuning"),
    Sick("NOTRACK before a firewall that drops in prerouting", "tuning guides; what is not mapped is dropped early",
         "timeout", "untracked", nft("""table ip tuning {
            chain prerouting { type filter hook prerouting priority raw; policy accept; iifname "br-app" notrack }
         }"""), evidence="tuning", before=lambda _: sh(nft("""table inet site {
            chain prerouting { type filter hook prerouting priority mangle + 100; policy accept;
                iifname "br-app" ip daddr 172.30.0.1 tcp dport 11434 drop }
         }"""))),
    Sick("NOTRACK for answers", "tuning guides: what is local needs no tracking", "timeout",
         "untracked", "iptables-nft -t raw -A OUTPUT -s 127.0.0.1 -j NOTRACK", evidence="OUTPUT"),
    Sick("a zone of connection tracking for the bridge", "VRFs, OpenStack, per-tenant tables: -j CT --zone",
         "timeout", "untracked", "iptables-nft -t raw -A PREROUTING -i br-app -j CT --zone 5",
         evidence=r"zone.* raw PREROUTING"),
    Sick("the same by nft", "ct zone set", "timeout", "untracked", nft("""table ip tenants {
            chain prerouting { type filter hook prerouting priority raw; policy accept;
                iifname "br-app" ct zone set 7 }
         }"""), evidence="zone.*tenants"),
    # --- marks
    Sick("a mark that is cleared on the way", "policy routing that sets marks to 0", "timeout",
         "mark", nft("""table ip marks {
            chain input { type filter hook input priority -150; policy accept; meta mark set 0 }
         }
         table ip site {
            chain input { type filter hook input priority -100; policy drop; iifname "lo" accept }
         }""") + "\nnat-bridge apply >/dev/null", evidence="marks"),
    # --- somebody is faster
    Sick("a DNAT before ours", "the other way round: a load balancer's table", "timeout",
         "hijacked", nft(DNAT), evidence="lb"),
    Sick("a redirect to a local proxy", "redsocks, mitmproxy: all TCP of a bridge", "refused",
         "hijacked", nft("""table ip redsocks {
            chain prerouting { type nat hook prerouting priority -150; policy accept;
                iifname "br-app" ip protocol tcp redirect to :12345 }
         }"""), evidence="redsocks"),
])

run_zoo(__file__, needs=("iptables-nft", "iptables-legacy", "ebtables-nft"))
