#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is mapped is not what is dialled, or no longer in the kernel."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zoo import *  # noqa: E402

RULE = "/iface.br-app-11434-tcp.json"


def edit(change):
    """Somebody opens the mapping's rule file."""
    def work(lab):
        path = lab.rules + RULE
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(change(text))
    return work


def is_disabled(text):
    value = json.loads(text)
    for mapping in value.get("mappings", [value]):
        mapping["enabled"] = False
    return json.dumps(value, indent=2) + "\n"


def disable(lab):
    edit(is_disabled)(lab)
    lab.good("apply")


def rebooted(lab):
    """The machine as after a start: the rule files, and nothing in the kernel."""
    lab.good("flush")
    sh("ip link set br-app down; ip link set br-app up")


def spoil(text):
    """A comma that is one too many: what JSON does not take and people write."""
    return text.replace("\n}", ",\n}")


def spoilt_and_rebooted(lab):
    rebooted(lab)
    edit(spoil)(lab)
    lab.nb("apply")


def heal_file(lab):
    edit(lambda text: text.replace(",\n}", "\n}"))(lab)
    lab.good("apply")


def beside(text):
    """Another rule file than the mapping's, and a reboot."""
    def work(lab):
        rebooted(lab)
        with open(lab.rules + "/other.json", "w", encoding="utf-8") as file:
            file.write(text)
        expect_eq(lab.nb("apply").rc, 2, "what the boot unit gets")
    return work


def without_other(lab):
    os.unlink(lab.rules + "/other.json")
    lab.good("apply")


def fixed(lab):
    """--fix does what can be done, and says what is left."""
    done = lab.nb("doctor", "--fix")
    expect_eq(done.rc, 1, "the file is invalid still")
    expect_match("invalid-file: .*other.json", done.out, "it is told")
    expect_eq(lab.tcp(PORT), f"tcp 127.0.0.1:{lab.mapped}", "what the valid file says is done")
    without_other(lab)


def expire(lab):
    lab.good("add", "--for", "1s", "br-app", f"{PORT}:{lab.mapped}")
    expect(wait_for(lambda: lab.json("list")["mappings"][0]["state"] == "expired", 6, 0.05),
           "it expires")


def copied(lab):
    """A configuration management that writes the file and runs nothing."""
    lab.write_rules({"web.json": {"mappings": [
        {"network": "iface:br-app", "port": PORT, "target": f"127.0.0.1:{lab.mapped}"}]}})


def recreate(lab):
    """docker compose down, up: a bridge of the same name, and nothing of what the old one had."""
    sh(f"ip link set vapp nomaster; ip link del br-app; "
       f"ip link add br-app address {lab.macs['br-app']} type bridge; "
       f"ip addr add {GATEWAY}/24 dev br-app; ip link set br-app up; ip link set vapp master br-app")


def workstation(_):
    """A machine may have been installed without documents."""
    path = "/usr/share/doc/nftables/examples/workstation.nft"
    if not os.path.exists(path):
        skip(f"no {path} here", kernel=True)
    sh(f"nft -f {path}")


def dial_unmapped(lab):
    return lab.tcp(9090, timeout=0.7)


def frames(lab):
    """Forged frames for 127.0.0.1 from the container: what gets through?"""
    return "exposed" if lab.raw() else "closed"


def frames_of_two(lab):
    return "exposed" if lab.raw("two") else "closed"


keep([
    Sick("another port is dialled than the one that is mapped", "qoomon/docker-host#21",
         "refused", "not-mapped", "", evidence="19090", mapping="19090:9090", works=False,
         ask=("br-app", "9090"), dial=dial_unmapped),
    Sick("UDP is mapped, and TCP is dialled", "dig +tcp, DNS answers that are cut", "refused", "not-mapped", "",
         evidence="9090/tcp is not mapped on iface:br-app, but 9090/udp is", mapping="9090/udp", works=False,
         ask=("br-app", "9090"), dial=dial_unmapped),
    Sick("nothing is mapped at all", "the first minute of every user", "refused", "not-mapped", "",
         mapping=None, ask=("br-app", "9090"), dial=dial_unmapped),
    Sick("another network is mapped", "which bridge the packet comes from counts",
         "refused", ("wrong-network", "not-mapped"),
         lambda lab: lab.good("add", "br-two", "9090"), evidence="br-two", mapping=None,
         ask=("br-app", "9090"), dial=dial_unmapped),
    Sick("a mapping that was given an hour", "--for", "refused", "expired", expire, mapping=None),
    Sick("a mapping that is switched off in its file", "\"enabled\": false", "refused", "disabled",
         disable, evidence="iface.br-app-11434-tcp.json",
         cure=lambda lab: (edit(lambda text: text.replace("false", "true"))(lab),
                           lab.good("apply"))),
    Sick("a rule file with a comma too many, and a reboot", "JSON that is written by hand", "refused",
         "invalid-file", spoilt_and_rebooted, evidence=r"iface.br-app-11434-tcp.json:\d+",
         cure=heal_file),
    Sick("another rule file that is invalid, and a reboot", "JSON that is written by hand", "refused",
         "invalid-file", beside('{"mappings":[,]}'), evidence=r"other.json:\d+ is invalid", cure=without_other,
         also=("not-applied",)),
    Sick("the same, and doctor --fix", "JSON that is written by hand", "refused",
         "invalid-file", beside('{"mappings":[,]}'), cure=fixed, also=("not-applied",)),
    Sick("two rule files that contradict each other, and a reboot", "a file that was copied to change it", "refused",
         "invalid-file", beside(json.dumps({"mappings": [{"network": "iface:br-app", "port": PORT, "target": "127.0.0.1:9090"}]})),
         evidence="has another target", cure=without_other, also=("not-applied",)),
    Sick("a reboot without the boot units", "boot order", "refused", "not-applied",
         rebooted),
    Sick("a rule file that was copied and never applied", "configuration management", "refused",
         "not-applied", copied, mapping=None),
    Sick("`nft flush ruleset`", "moby#50506", "refused", "not-applied",
         "nft flush ruleset"),
    Sick("`nft -f` of Debian's own example of a workstation",
         "`systemctl restart nftables`", "timeout", "not-applied",
         workstation),
    Sick("`nft delete table inet nat-bridge`", "a colleague who tidies up", "refused",
         "not-applied", "nft delete table inet nat-bridge"),
    Sick("one element deleted", "a colleague who tidies up", "refused", "not-applied",
         "nft delete element inet nat-bridge targets '{ br-app . tcp . 11434 }'"),
    Sick("what `admit` asks, emptied", "a colleague who tidies up", "timeout", "not-applied",
         "nft flush set inet nat-bridge accepted"),
    Sick("route_localnet set back", "netavark#1245: systemd-sysctl, networkd", "timeout",
         "route-localnet", "sysctl -qw net.ipv4.conf.br-app.route_localnet=0"),
    Sick("a bridge made anew", "docker compose down, up", "timeout",
         ("route-localnet", "not-applied"), recreate, also=("guard",)),
    Sick("the bridge is gone", "docker network rm", "timeout", "bridge-absent",
         "ip link set vapp nomaster; ip link del br-app", evidence="br-app",
         cure=lambda lab: (sh(f"ip link add br-app address {lab.macs['br-app']} type bridge; "
                              f"ip addr add {GATEWAY}/24 dev br-app; ip link set br-app up; "
                              "ip link set vapp master br-app"), lab.good("apply"))),
    Sick("the bridge is down", "NetworkManager, `ip link set down`", "timeout", "bridge-down",
         "ip link set br-app down"),
    Sick("the bridge has no address", "networkd without KeepConfiguration=", "timeout",
         "bridge-address", "ip addr flush dev br-app",
         cure=lambda lab: sh(f"ip addr add {GATEWAY}/24 dev br-app")),
    # reached, and so are others
    Sick("the guard of both kinds removed", "CVE-2020-8558: others who rewrite clsact",
         "exposed", "guard",
         "tc qdisc del dev br-app clsact; nft flush chain inet nat-bridge guard; "
         "nft flush chain inet nat-bridge spoofed; nft flush chain inet nat-bridge admit; "
         "nft flush chain inet nat-bridge admit-late", dial=frames, works=False),
    Sick("route_localnet for all devices", "recipes that set conf.all", "exposed",
         "route-localnet-all", "sysctl -qw net.ipv4.conf.all.route_localnet=1", dial=frames_of_two,
         works=False, warns=True),
    Sick("route_localnet on a bridge without mappings", "dockerd --userland-proxy=false", "exposed",
         "route-localnet-device", "sysctl -qw net.ipv4.conf.br-two.route_localnet=1", dial=frames_of_two,
         works=False, warns=True, evidence="br-two",
         says=r"^unless dockerd runs with --userland-proxy=false.*: sysctl -w net\.ipv4\.conf\.br-two\.route_localnet=0$",
         cure="sysctl -qw net.ipv4.conf.br-two.route_localnet=0"),
])

run_zoo(__file__, needs=("sysctl", "tc"))
