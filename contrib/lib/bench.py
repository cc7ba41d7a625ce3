# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures nat-bridge; started by contrib/bench inside a private namespace.

Every comparison is made of rounds. A round measures each candidate once, in
an order that turns from round to round; the ratio is taken within the round,
and the table shows medians. So a slow moment of the machine hits both sides.
On the data path the reference is measured before and after each candidate.
"""

import argparse
import collections
import json
import os
import re
import statistics
import subprocess
import sys
import time

COUNT = 65000
BRIDGE = "br-bench"
HOST = "10.99.0.1"
CLIENT = "10.99.0.2"
PORT = 61000  # of the service that the data path reaches; one of the mapped ones
DIRECT = 61001  # of the same service bound to the bridge's address: mapped nowhere


def sh(*words, **options):
    result = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False, **options)
    if result.returncode != 0:
        sys.exit(f"bench: {' '.join(words)[:200]}: exit {result.returncode}\n{result.stdout}")
    return result.stdout


def within(netns, *words):
    return sh("nsenter", f"--net=/run/netns/{netns}", "--", *words)


def write(path, text):
    with open(path, "w", encoding="ascii") as stream:
        stream.write(text)
    return path


def rule_file(directory, ports):
    os.makedirs(directory, mode=0o755)
    write(f"{directory}/bench.json", json.dumps({"version": 1, "mappings": [
        {"network": f"iface:{BRIDGE}", "port": port, "protocol": "tcp",
         "target": f"127.0.0.1:{port}"} for port in ports]}))
    return directory


def host(name):
    """A network namespace with a bridge; what was there of that name is gone."""
    subprocess.run(["ip", "netns", "del", name], stdin=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, check=False)
    sh("ip", "netns", "add", name)
    within(name, "ip", "link", "set", "lo", "up")
    within(name, "ip", "link", "add", BRIDGE, "type", "bridge")
    within(name, "ip", "link", "set", BRIDGE, "up")


def median(values):
    return statistics.median(values)


def table(title, header, rows):
    print(f"\n### {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


class Apply:
    """65,000 mappings in the kernel: ours against nft -f and nft add element."""

    def __init__(self, options):
        self.options = options
        self.rounds = 3 if options.quick else 9
        self.rules = rule_file(f"{options.work}/rules", range(1, COUNT + 1))
        self.empty = f"{options.work}/empty"
        os.makedirs(self.empty, mode=0o755)
        self.script = f"{options.work}/table.nft"
        self.results = {}

    def measure(self, key, netns, *words):
        line = sh(self.options.load, "run", netns, *words)
        result = json.loads(line.strip().splitlines()[-1])
        if result["status"] != 0:
            sys.exit(f"bench: {' '.join(words)[:200]}: exit {result['status']}\n{line}")
        self.results.setdefault(key, []).append(result)

    def ours(self, key, netns, *words, rules=None):
        self.measure(key, netns, self.options.program, "--quiet", "--rules", rules or self.rules,
                     *words)

    def one_nft(self, verb, sets):
        element = {"targets": f'"{BRIDGE}" . tcp . 65001 : 127.0.0.1 . 65001',
                   "accepted": f'"{BRIDGE}" . tcp . 65001 . 127.0.0.1 . 65001'}
        return "; ".join(f"{verb} element inet nat-bridge {name} {{ {element[name]} }}"
                         for name in sets)

    def round(self, number):
        def first():
            host("ours")
            self.ours("apply", "ours", "apply")

        def nft():
            host("nft")
            self.measure("nft -f", "nft", "nft", "-f", self.script)

        def again():
            self.ours("apply again", "ours", "apply")
            self.ours("check", "ours", "check")

        def add():
            self.ours("add", "ours", "add", f"iface:{BRIDGE}", "65001")
            self.ours("remove", "ours", "remove", f"iface:{BRIDGE}", "65001")

        def add_empty():
            self.ours("add, own rules", "ours", "add", f"iface:{BRIDGE}", "65001",
                      rules=self.empty)
            self.ours("remove, own rules", "ours", "remove", f"iface:{BRIDGE}", "65001",
                      rules=self.empty)

        def nft_both():
            both = ("targets", "accepted")
            self.measure("nft add, both", "nft", "nft", self.one_nft("add", both))
            self.measure("nft delete, both", "nft", "nft", self.one_nft("delete", both))

        def nft_one():
            self.measure("nft add, one", "nft", "nft", self.one_nft("add", ("targets",)))
            within("nft", "nft", self.one_nft("delete", ("targets",)))

        for group in ((first, nft), (again,), (add, nft_both, add_empty, nft_one)):
            steps = group if number % 2 else group[::-1]
            for step in steps * (5 if group[0] is add else 1):  # milliseconds: more of them
                step()

    def ratio(self, a, b, what="seconds"):
        return median(x[what] / y[what] for x, y in zip(self.results[a], self.results[b]))

    def run(self):
        host("ours")
        self.ours("warm up", "ours", "apply")
        write(self.script, within("ours", "nft", "list", "table", "inet", "nat-bridge"))
        for number in range(self.rounds):
            self.round(number)

        def row(label, key, against=None, target="", memory=False):
            runs = self.results[key]
            columns = [label, f"{median(r['seconds'] for r in runs) * 1000:.1f}",
                       f"{median(r['peak_kib'] for r in runs) / 1024:.1f}"]
            if against:
                columns += [f"{self.ratio(key, against):.2f}",
                            f"{self.ratio(key, against, 'peak_kib'):.2f}", against]
            else:
                columns += ["", "", ""]
            return columns + [target]

        table(f"{COUNT:,} mappings, {self.rounds} rounds",
              ["", "ms", "peak MiB", "time ratio", "memory ratio", "to", "promised"],
              [row("`nft -f` of the same table", "nft -f"),
               row("`nat-bridge apply`, into an empty kernel", "apply", "nft -f",
                   "time ≤ 0.50, memory ≤ 0.25"),
               row("`nat-bridge apply`, nothing to change", "apply again", "apply",
                   "time ≤ 0.33"),
               row("`nat-bridge check`", "check", "apply"),
               row("`nft add element`, in one set", "nft add, one"),
               row("`nft add element`, in both sets", "nft add, both"),
               row("`nat-bridge add` of one more", "add", "nft add, both", "time ≤ 1.00"),
               row("the same, with an empty rules directory", "add, own rules",
                   "nft add, both"),
               row("`nft delete element`, in both sets", "nft delete, both"),
               row("`nat-bridge remove` of that one", "remove", "nft delete, both")])
        for name in ("ours", "nft"):
            sh("ip", "netns", "del", name)


class Data:
    """The data path: new connections, and exchanges on connections that stay."""

    def __init__(self, options):
        self.options = options
        # Short and many: what disturbs the machine for a second then hits few rounds.
        self.rounds = 6 if options.quick else 40
        self.seconds = 0.25 if options.quick else 0.3
        self.servers = []

    def lab(self, name):
        """A host with a bridge, and a container on it. Both speak IPv4 only."""
        client = f"{name}-c"
        host(name)
        sh("ip", "netns", "add", client)
        within(name, "ip", "address", "add", f"{HOST}/24", "dev", BRIDGE)
        within(name, "ip", "link", "add", "veth0", "type", "veth",
               "peer", "name", "eth0", "netns", client)
        within(name, "ip", "link", "set", "veth0", "master", BRIDGE, "up")
        within(client, "ip", "link", "set", "lo", "up")
        within(client, "ip", "address", "add", f"{CLIENT}/24", "dev", "eth0")
        within(client, "ip", "link", "set", "eth0", "up")

    def serve(self, netns, *words):
        self.servers.append(subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{netns}", "--", *words], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, start_new_session=True))

    def docker(self, netns):
        """What every Docker host has: connection tracking, by one masquerading rule."""
        within(netns, "iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-s", "10.99.0.0/24",
               "!", "-o", BRIDGE, "-j", "MASQUERADE")

    def prepare(self):
        load = self.options.load
        names = ["bare", "direct", "plain", "hooks", "one", "flushable", "many", "logged",
                 "socat", "iptables"]
        for name in names:
            self.lab(name)
            if name != "bare":
                self.docker(name)
            address = HOST if name in ("bare", "direct") else "127.0.0.1"
            self.serve(name, load, "serve", address, str(PORT))
        one = rule_file(f"{self.options.work}/one", [PORT])
        many = rule_file(f"{self.options.work}/many", range(1, COUNT + 1))
        for name, rules in (("one", one), ("flushable", one), ("many", many), ("logged", one)):
            within(name, self.options.program, "--rules", rules, "apply")
        # without the guard that outlives a flush: neither the filter nor the mark that it wants
        within("flushable", "tc", "qdisc", "del", "dev", BRIDGE, "clsact")
        within("flushable", "nft", "flush chain inet nat-bridge translated; "
               "add rule inet nat-bridge translated iifname @bridges meta l4proto != udp accept; "
               "add rule inet nat-bridge translated fib saddr . iif oif missing counter drop")
        self.log = f"{self.options.work}/flows.log"
        self.serve("logged", self.options.program, "--rules", one, "watch", f"--log={self.log}",
                   "--log-accounting")
        self.serve("one", load, "serve", HOST, str(DIRECT))
        self.serve("socat", "socat", f"TCP-LISTEN:{PORT},bind={HOST},fork,reuseaddr,backlog=4096",
                   f"TCP:127.0.0.1:{PORT}")
        rules = "".join(f"-A PREROUTING -i {BRIDGE} -p tcp --dport {port} -j DNAT "
                        f"--to-destination 127.0.0.1:{port}\n"
                        for port in range(PORT - 4999, PORT + 1))
        path = write(f"{self.options.work}/rules.v4", f"*nat\n{rules}COMMIT\n")
        within("iptables", "iptables-nft-restore", "--noflush", path)
        for name in ("plain", "hooks"):
            within(name, "nft", f"table ip plain {{ chain prerouting {{ "
                   f"type nat hook prerouting priority dstnat; "
                   f"iifname {BRIDGE} tcp dport {PORT} dnat to 127.0.0.1:{PORT}; }}; }}")
        # as many base chains as nat-bridge has beside its NAT chain, where it has them
        within("hooks", "nft", "table inet hooks { " + " ".join(
            f"chain c{number} {{ type filter hook {hook}; }};" for number, hook in enumerate((
                "prerouting priority -300", "prerouting priority -99",
                "input priority -2147483648", "input priority -1",
                "input priority 2147483647", "postrouting priority 99"))) + " }")
        for name in ("iptables", "plain", "hooks"):
            within(name, "sh", "-c",
                   f"echo 1 >/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet")
        time.sleep(0.5)
        self.reference = ("direct", PORT)
        self.candidates = {"bare": ("bare", PORT), "beside": ("one", DIRECT),
                           "plain": ("plain", PORT), "hooks": ("hooks", PORT),
                           "one": ("one", PORT), "flushable": ("flushable", PORT),
                           "many": ("many", PORT), "logged": ("logged", PORT),
                           "iptables": ("iptables", PORT), "socat": ("socat", PORT)}
        self.names = names

    def once(self, mode, netns, port):
        return float(within(f"{netns}-c", self.options.load, mode, HOST, str(port),
                            str(self.seconds), "4").strip())

    def measure(self, mode):
        """Of each candidate the rates, and their ratios to the reference around them."""
        rates = {key: [] for key in self.candidates}
        ratios = {key: [] for key in self.candidates}
        rates["direct"] = []
        self.once(mode, *self.reference)  # warms up
        before = self.once(mode, *self.reference)
        for number in range(self.rounds):
            keys = list(self.candidates)
            if number % 3:  # these three are far away: fewer rounds suffice
                keys = keys[:-3]
            turn = number % len(keys)
            for key in keys[turn:] + keys[:turn]:
                value = self.once(mode, *self.candidates[key])
                after = self.once(mode, *self.reference)
                rates["direct"].append(after)
                rates[key].append(value)
                ratios[key].append(2 * value / (before + after))
                before = after
        return rates, ratios

    def run(self):
        self.prepare()
        try:
            (new, new_ratio), (kept, kept_ratio) = self.measure("connect"), self.measure("talk")
        finally:
            for server in self.servers:
                try:
                    os.killpg(server.pid, 9)
                except ProcessLookupError:
                    pass
                server.wait()
        labels = {
            "bare": "bound to the bridge's address, no connection tracking in the kernel",
            "direct": "bound to the bridge's address (the reference)",
            "beside": "bound to the bridge's address, nat-bridge live for another port",
            "plain": "one DNAT rule of nft and no protection at all: what NAT itself costs",
            "hooks": "the same beside six empty chains, at the hooks where ours are",
            "one": "nat-bridge, 1 mapping",
            "flushable": "the same without the filter at ingress and the mark for it",
            "many": f"nat-bridge, {COUNT:,} mappings",
            "logged": "nat-bridge, 1 mapping, `watch --log --log-accounting`",
            "iptables": "iptables DNAT, 5,000 rules (iptables-nft, the last one matches)",
            "socat": "socat, one fork a connection",
        }
        promised = {"one": "≥ 0.97", "many": "as with 1"}

        def ratio(ratios, key):
            return f"{median(ratios[key]):.3f}" if key in ratios else "1"

        table(f"The data path, {self.rounds} rounds of {self.seconds} s, 4 clients",
              ["", "new connections/s", "ratio", "exchanges/s on kept ones", "ratio",
               "promised for new ones"],
              [[label, f"{median(new[key]):,.0f}", ratio(new_ratio, key),
                f"{median(kept[key]):,.0f}", ratio(kept_ratio, key), promised.get(key, "")]
               for key, label in labels.items()])
        for word, ratios in (("new connections", new_ratio), ("exchanges", kept_ratio)):
            change = median(b / a for a, b in zip(ratios["one"], ratios["many"]))
            quartiles = statistics.quantiles(ratios["one"], n=4)
            print(f"\n{word}: {COUNT:,} mappings against 1: {change:.3f}; half of the rounds "
                  f"with 1 mapping lie between {quartiles[0]:.3f} and {quartiles[2]:.3f}.")
            cost = median(b / a for a, b in zip(ratios["flushable"], ratios["one"]))
            print(f"With the guard at ingress against without: {cost:.3f} (promised: ≥ 0.98).")
        with open(self.log, encoding="utf-8") as stream:
            events = collections.Counter(re.search('"event":"([^"]*)"', line).group(1)
                                         for line in stream)
        print(f"\nThe log has {events['start']:,} starts, {events['end']:,} ends, "
              f"and {events['lost']} times that events were lost.")
        for netns in self.names:
            for name in (netns, f"{netns}-c"):
                subprocess.run(["ip", "netns", "del", name], stdin=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, check=False)


class Watch:
    """How soon the watcher has the table back after a flush, beside nft -f of the same table."""

    def __init__(self, options):
        self.options = options
        self.rounds = 5 if options.quick else 11

    def run(self):
        options, rows = self.options, []
        for count in (1, 1000, 10000):
            host("watched")
            host("nft")
            rules = rule_file(f"{options.work}/watch-{count}", range(1, count + 1))
            within("watched", options.program, "--quiet", "--rules", rules, "apply")
            script = write(f"{options.work}/watch-{count}.nft",
                           within("watched", "nft", "list", "table", "inet", "nat-bridge"))
            within("watched", "nft", "flush", "ruleset")
            lines = within("watched", "python3", os.path.join(os.path.dirname(__file__), "heal.py"),
                           str(self.rounds), BRIDGE, options.program, "--rules", rules).split("\n")
            healed = [float(line) for line in lines if line and line[0].isdigit()]
            resident = next(int(line.split()[1]) for line in lines if line.startswith("resident"))
            loaded = []
            for _ in range(self.rounds):
                line = sh(options.load, "run", "nft", "nft", "-f", script)
                loaded.append(1000 * json.loads(line.strip().splitlines()[-1])["seconds"])
                within("nft", "nft", "flush", "ruleset")
            rows.append([f"{count:,}", f"{median(healed):.1f}", f"{max(healed):.1f}",
                         f"{median(loaded):.1f}", f"{median(healed) / median(loaded):.2f}",
                         "≤ 1.50" if count == 1000 else "", f"{resident / 1024:.1f}"])
        table(f"The watcher after `nft flush ruleset`, {self.rounds} rounds",
              ["mappings", "restored after, ms", "at most", "`nft -f` of the same table, ms",
               "ratio", "promised", "resident between, MiB"], rows)
        for name in ("watched", "nft"):
            sh("ip", "netns", "del", name)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
        model = next((line.split(":", 1)[1].strip() for line in stream
                      if line.startswith("model name")), "unknown processor")
    print(f"Linux {os.uname().release}, {os.cpu_count()} × {model}, "
          f"{sh('nft', '--version').split(' (')[0].strip()}, "
          f"{sh('iptables-nft', '--version').split(' (')[0].strip()}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--load", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    machine()
    for name, part in (("apply", Apply), ("watch", Watch), ("data", Data)):
        if not options.parts or name in options.parts:
            part(options).run()


main()
