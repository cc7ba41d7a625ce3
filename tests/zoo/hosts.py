#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts whose firewall and services are the real ones, as Debian has them, in a root of their own."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from hosts import Host, find_root  # noqa: E402
from zoo import *  # noqa: E402
from nblab import enter  # noqa: E402

# what a mend may call, which this machine need not have
THEIRS = ("ufw", "firewall-cmd", "fail2ban-client", "redis-cli", "systemd-sysctl", "ipset", "iptables",
          "iptables-nft", "ip6tables")
release = find_root()
enter(__file__, containers=False, needs=("nft", "ip", "conntrack"))


def make_host():
    lab = Lab()
    lab.host = Host(lab, release, os.environ["NB_HOST_ROOT"])
    for tool in THEIRS:
        with open(f"{lab.dir}/bin/{tool}", "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec chroot {lab.host.root} /usr/bin/env -i LC_ALL=C '
                       f'PATH=/usr/sbin:/usr/bin:/sbin:/bin:/lib/systemd {tool} "$@"\n')
        os.chmod(f"{lab.dir}/bin/{tool}", 0o755)
    return lab


def write(lab, path, text):
    with open(lab.host.root + path, "w", encoding="utf-8") as file:
        file.write(text)


def edit(lab, path, pattern, text):
    with open(lab.host.root + path, encoding="utf-8") as file:
        content = file.read()
    changed = re.sub(pattern, text, content)
    expect(changed != content, f"{path} has no {pattern}")
    write(lab, path, changed)


# --- ufw

def ufw(lab):
    lab.host.sh("ufw allow 22/tcp && ufw --force enable")


def ufw_with_builtins(lab):
    edit(lab, "/etc/default/ufw", "MANAGE_BUILTINS=no", "MANAGE_BUILTINS=yes")
    ufw(lab)


def ufw_mangle(lab):
    """What many guides have people put at the end of before.rules."""
    with open(lab.host.root + "/etc/ufw/before.rules", "a", encoding="utf-8") as file:
        file.write("*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s 172.16.0.0/12 -j DROP\n"
                   "COMMIT\n")
    lab.host.sh("ufw reload")


# --- firewalld

def firewalld(lab):
    host = lab.host
    host.sh("firewall-offline-cmd --zone=public --add-interface=br-app")
    host.start("dbus-daemon --system --nofork --nopidfile --nosyslog")
    wait_for(lambda: os.path.exists(host.root + "/run/dbus/system_bus_socket"), 20)
    host.start("firewalld --nofork --nopid")
    expect(wait_for(lambda: "running" == host.sh("firewall-cmd --state 2>&1", check=False).strip(),
                    60, 0.2), "firewalld starts")


def fwcmd(*lines):
    def work(lab):
        for line in lines:
            lab.host.sh("firewall-cmd " + line)
    return work


# --- fail2ban

def fail2ban(action):
    def work(lab):
        write(lab, "/etc/fail2ban/jail.d/zoo.conf", f"""[DEFAULT]
backend = polling
banaction = {action}
banaction_allports = {action}
[sshd]
enabled = false
[web]
enabled = true
filter = nginx-http-auth
logpath = /var/log/zoo.log
port = 0:65535
""")
        write(lab, "/var/log/zoo.log", "")
        lab.host.sh("mkdir -p /run/fail2ban")
        lab.host.start("fail2ban-server -f --logtarget /var/log/f2b.log")
        expect(wait_for(lambda: "pong" in lab.host.sh("fail2ban-client ping 2>&1", check=False), 60,
                        0.2), "fail2ban starts")
        lab.host.sh(f"fail2ban-client set web banip {lab.container}")
        expect(wait_for(lambda: lab.tcp(PORT, timeout=0.5) == "refused", 20), "it bans")
    return work


# --- services

def redis(lab):
    lab.host.start("redis-server --bind 127.0.0.1 --port 6379 --save '' --dir /run --daemonize no")
    expect(wait_for(lambda: "PONG" in lab.host.sh("redis-cli ping 2>&1", check=False), 20, 0.1),
           "redis starts")


def dial_redis(lab):
    answer = lab.agents["ctr"].call(
        "sh", f"bash -c 'exec 3<>/dev/tcp/{GATEWAY}/{PORT} || exit 0; echo PING >&3; "
        "IFS= read -r -t 2 line <&3; echo \"$line\"' 2>&1")
    return "tcp pong" if "+PONG" in answer else answer or "closed"


def resolved(lab):
    host = lab.host
    host.sh("mkdir -p /run/systemd /run/systemd/resolve; chown systemd-resolve: /run/systemd/resolve",
            check=False)
    host.start("dbus-daemon --system --nofork --nopidfile --nosyslog")
    lab.resolved = host.start("/lib/systemd/systemd-resolved")
    expect(wait_for(lambda: "127.0.0.53%lo:53" in sh("ss -Hltn"), 20, 0.1), "systemd-resolved starts")


def resolved_listens(lab):
    """What man resolved.conf has for containers: one more address, bound to no device."""
    write(lab, "/etc/systemd/resolved.conf", "[Resolve]\nDNSStubListenerExtra=127.0.0.55\n")
    lab.resolved.terminate()
    lab.resolved.wait()
    lab.resolved = lab.host.start("/lib/systemd/systemd-resolved")
    expect(wait_for(lambda: "127.0.0.55:53" in sh("ss -Hltn"), 20, 0.1), "it listens there")
    lab.good("add", "--replace", "br-app", f"{PORT}:127.0.0.55:53")


def dial_silent(lab):
    """A service that does not speak first: connected is reached."""
    answer = lab.agents["ctr"].call(
        "sh", f"bash -c 'exec 3<>/dev/tcp/{GATEWAY}/{PORT} && echo connected' 2>&1 || :")
    return "tcp connected" if "connected" in answer else "refused" if "refused" in answer else answer


def nginx(listen):
    def work(lab):
        write(lab, "/etc/nginx/nginx.conf", "events {}\nhttp { access_log off; server { "
              f"listen {listen}; location / {{ return 200 ok; }} }} }}\n")
        lab.host.sh("mkdir -p /var/log/nginx; (nginx -s stop; "
                    "nginx) >/dev/null 2>&1")
    return work


def bogons(lab):
    try:
        lab.host.sh("ipset create bogons hash:net && ipset add bogons 172.16.0.0/12")
    except RuntimeError as error:
        skip(f"this kernel has no ip_set: {error}", kernel=True)
    lab.host.sh("iptables -t raw -A PREROUTING -m set --match-set bogons src -j DROP")


def sysctl_d(lab):
    write(lab, "/etc/sysctl.d/99-hardening.conf", "net.ipv4.conf.*.route_localnet = 0\n")
    lab.host.sh("/lib/systemd/systemd-sysctl")


keep([
    Sick("`ufw reload` with MANAGE_BUILTINS=yes", "ufw-docker#53, #101", "timeout",
         ("firewall", "not-applied"), lambda lab: lab.host.sh("ufw reload"),
         before=ufw_with_builtins),
    Sick("`ufw-init flush-all`, `ufw enable`", "what guides say when ufw is confused", "timeout",
         ("firewall", "not-applied"), lambda lab: lab.host.sh("/lib/ufw/ufw-init flush-all; "
                                                             "ufw --force enable"), before=ufw),
    Sick("ufw with a *mangle section of one's own", "guides for /etc/ufw/before.rules", "timeout",
         "firewall", ufw_mangle, before=ufw, evidence="mangle.*PREROUTING"),
    Sick("`firewall-cmd --panic-on`", "an admin in a hurry", "timeout", "firewall",
         fwcmd("--panic-on"), before=firewalld, evidence="firewalld"),
    Sick("firewalld's direct rules: answers from 127/8", "hardening by --direct", "timeout",
         "firewall", fwcmd("--direct --add-rule ipv4 filter OUTPUT 0 -s 127.0.0.0/8 ! -o lo -j DROP"),
         before=firewalld, evidence="OUTPUT"),
    Sick("firewalld's direct rules: NOTRACK", "tuning by --direct", "no route", "untracked",
         fwcmd("--direct --add-rule ipv4 raw PREROUTING 0 -i br-app -j NOTRACK"), before=firewalld,
         evidence="raw"),
    Sick("fail2ban bans the container, by iptables", "f2b's chain is put at the head of INPUT",
         "refused", ("firewall", "not-applied"), fail2ban("iptables-allports"), evidence="f2b"),
    Sick("fail2ban bans the container, by nftables", "f2b's table comes later than the opener",
         "refused", ("firewall", "not-applied"), fail2ban("nftables-allports"), evidence="f2b"),
    Sick("a set of bogons", "FireHOL's level 1 as an ipset", "timeout", "firewall", bogons,
         evidence="raw"),
    Sick("Debian's /etc/nftables.conf, loaded again", "`systemctl restart nftables`",
         "refused", "not-applied", lambda lab: lab.host.sh("nft -f /etc/nftables.conf")),
    Sick("systemd-sysctl with a glob for all devices", "netavark#1245", "timeout",
         "route-localnet", sysctl_d),
    Sick("Redis in protected mode", "it sees the container's address", "closed",
         "service-refuses", "", before=redis, mapping=f"{PORT}:6379", works=False, dial=dial_redis,
         cure=lambda lab: lab.host.sh("redis-cli config set protected-mode no")),
    Sick("systemd-resolved's stub", "bound to lo", "refused", "listener-device", "",
         before=resolved, mapping=f"{PORT}:127.0.0.53:53", works=False, evidence="lo",
         dial=dial_silent, cure=resolved_listens),
    Sick("nginx that listens on [::1] alone", "`listen localhost:8000` where that is ::1", "refused", "listener-address",
         nginx("[::1]:8000"), mapping=f"{PORT}:8000", works=False, evidence="::1",
         dial=lambda lab: dial_nginx(lab), cure=nginx("127.0.0.1:8000")),
    Well("ufw, enabled", ufw),
    Well("ufw that denies outgoing, too, and limits", lambda lab: lab.host.sh(
        "ufw default deny outgoing && ufw limit 22/tcp && ufw --force enable")),
    Well("firewalld, zone public", firewalld),
    Well("firewalld, zone drop", firewalld, fwcmd("--zone=drop --change-interface=br-app")),
    Well("nginx behind it", nginx("127.0.0.1:8000"), mapping=f"{PORT}:8000",
         dial=lambda lab: dial_nginx(lab)),
])


def dial_nginx(lab):
    answer = lab.agents["ctr"].call(
        "sh", f"bash -c 'exec 3<>/dev/tcp/{GATEWAY}/{PORT} || exit 0; "
        "printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; IFS= read -r -t 2 line <&3; echo \"$line\"' 2>&1")
    return "tcp 200" if " 200 " in answer else "refused" if "refused" in answer else answer or "closed"


run_zoo(__file__, make_lab=make_host, together=2, outer=lambda: None)
