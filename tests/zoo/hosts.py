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
ASK = ("--payload",)
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


def http(lab, name="host.docker.internal"):
    """GET / as a container sends it."""
    answer = lab.agents["ctr"].call(
        "sh", f"bash -c 'exec 3<>/dev/tcp/{GATEWAY}/{PORT} || exit 0; "
        f"printf \"GET / HTTP/1.1\\r\\nHost: {name}:{PORT}\\r\\nConnection: close\\r\\n\\r\\n\" >&3; "
        "IFS= read -r -t 2 line <&3; echo \"$line\"' 2>&1")
    return f"tcp {answer}" if re.search(r" (200|301|409) ", answer) else answer or "closed"


def answers(port):
    """Does a web server of the host's answer the host?"""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as sock:
            sock.settimeout(2)
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return sock.recv(4).startswith(b"HTTP")
    except OSError:
        return False


def postgresql(lab):
    """As installed, with an account that has a password."""
    lab.host.sh("install -d -o postgres -g postgres /run/postgresql; "
                "pg_ctlcluster $(ls /etc/postgresql) main start")
    as_postgres(lab, "create role app login password 'word'")
    as_postgres(lab, "create database app owner app")


def as_postgres(lab, statement):
    return lab.host.sh(f'setpriv --reuid postgres --regid postgres --clear-groups psql -Atc "{statement}"')


def dial_postgresql(lab):
    answer = lab.agents["ctr"].call(
        "sh", f"PGPASSWORD=word PGCONNECT_TIMEOUT=3 chroot {lab.host.root} psql -h {GATEWAY} -p {PORT} -U app "
        "-Atc 'select 42' 2>&1 || :")
    return "tcp 42" if answer.strip() == "42" else answer


def postgresql_entered(lab):
    path = as_postgres(lab, "show hba_file").strip()
    with open(lab.host.root + path, "a", encoding="utf-8") as file:
        file.write("host all all 172.30.0.0/24 scram-sha-256\n")
    as_postgres(lab, "select pg_reload_conf()")


def transmission(**settings):
    def work(lab):
        if getattr(lab, "transmission", None):
            lab.transmission.terminate()
            lab.transmission.wait()
        lab.host.sh("mkdir -p /run/tr")
        write(lab, "/run/tr/settings.json", json.dumps({
            "rpc-bind-address": "127.0.0.1", "rpc-port": 9091, "dht-enabled": False, "lpd-enabled": False,
            "utp-enabled": False, **{key.replace("_", "-"): value for key, value in settings.items()}}))
        lab.transmission = lab.host.start("transmission-daemon -f -g /run/tr")
        # it listens some seconds before it answers
        expect(wait_for(lambda: answers(9091), 30, 0.1), "transmission starts")
    return work


def django(*allowed):
    """A project of django-admin's, and what the mend puts into its settings."""
    def work(lab):
        host = lab.host
        if not os.path.exists(host.root + "/run/demo"):
            host.sh("cd /run && django-admin startproject demo")
        with open(host.root + "/run/demo/demo/settings.py", "a", encoding="utf-8") as file:
            file.write(f"ALLOWED_HOSTS = {list(allowed)!r}\n")
        if getattr(lab, "django", None):
            lab.django.terminate()
            lab.django.wait()
        lab.django = host.start("python3 /run/demo/manage.py runserver --noreload 127.0.0.1:8000")
        expect(wait_for(lambda: answers(8000), 30, 0.1), "Django starts")
    return work


def nginx_with(text):
    """Servers of one's own on 127.0.0.1:8000."""
    def work(lab):
        write(lab, "/etc/nginx/nginx.conf", f"events {{}}\nhttp {{ access_log off; {text} }}\n")
        write(lab, "/etc/nginx/passwords", "alice:{PLAIN}word\n")
        lab.host.sh("mkdir -p /var/log/nginx; (nginx -s stop; sleep 0.2; nginx) >/dev/null 2>&1")
    return work


NAMED = ("server {{ listen 127.0.0.1:8000 default_server; return {refusal}; }}"
         "server {{ listen 127.0.0.1:8000; server_name {names}; location / {{ return 200 ok; }} }}")
LISTED = "server {{ listen 127.0.0.1:8000; {allowed} deny all; root /usr/share/nginx/html; }}"


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
    Sick("PostgreSQL as it is installed", "no pg_hba.conf entry for host", "closed", "service-refuses", "",
         before=postgresql, mapping=f"{PORT}:5432", works=False, ask=ASK, dial=dial_postgresql,
         evidence="28000 no pg_hba.conf entry .*from the host it answers", cure=postgresql_entered),
    Sick("Transmission as it is installed", "403: Unauthorized IP Address", "closed", "service-refuses", "",
         before=transmission(), mapping=f"{PORT}:9091", works=False, ask=ASK, dial=http,
         evidence="HTTP 403", cure=transmission(rpc_whitelist="127.0.0.1,172.30.0.*")),
    Sick("Django's runserver as it is begun", "DisallowedHost at /", "closed", "service-name", "",
         before=django(), mapping=f"{PORT}:8000", works=False, ask=ASK, dial=http,
         evidence="HTTP 400", cure=django("host.docker.internal")),
    Sick("nginx with allow 127.0.0.1; deny all;", "every guide for a status page", "closed", "service-refuses",
         "", before=nginx_with(LISTED.format(allowed="allow 127.0.0.1;")), mapping=f"{PORT}:8000", works=False,
         ask=ASK, dial=http, evidence="HTTP 403",
         cure=nginx_with(LISTED.format(allowed="allow 127.0.0.1; allow 172.30.0.0/24;"))),
    Sick("nginx that takes one name, and says 421 to others", "a server_name, and a default that refuses", "closed", "service-name", "",
         before=nginx_with(NAMED.format(refusal=421, names="localhost")), mapping=f"{PORT}:8000", works=False,
         ask=ASK, dial=http, evidence="HTTP 421",
         cure=nginx_with(NAMED.format(refusal=421, names="localhost host.docker.internal"))),
    Sick("nginx that hangs up on other names", "return 444", "closed", "service-name", "",
         before=nginx_with(NAMED.format(refusal=444, names="localhost")), mapping=f"{PORT}:8000", works=False,
         ask=ASK, dial=http, evidence="nothing, and it hung up",
         cure=nginx_with(NAMED.format(refusal=444, names="localhost host.docker.internal"))),
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
    Well("PostgreSQL that takes the network, asked", lambda lab: (postgresql(lab), postgresql_entered(lab)),
         mapping=f"{PORT}:5432", dial=dial_postgresql, ask=ASK),
    Well("nginx that answers all names, asked", nginx_with(LISTED.format(allowed="allow all;")),
         mapping=f"{PORT}:8000", dial=http, ask=ASK),
    Well("nginx behind it", nginx("127.0.0.1:8000"), mapping=f"{PORT}:8000",
         dial=lambda lab: dial_nginx(lab)),
])


def dial_nginx(lab):
    answer = lab.agents["ctr"].call(
        "sh", f"bash -c 'exec 3<>/dev/tcp/{GATEWAY}/{PORT} || exit 0; "
        "printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; IFS= read -r -t 2 line <&3; echo \"$line\"' 2>&1")
    return "tcp 200" if " 200 " in answer else "refused" if "refused" in answer else answer or "closed"


run_zoo(__file__, make_lab=make_host, together=2, outer=lambda: None)
