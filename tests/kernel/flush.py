#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`nft flush ruleset` and `nat-bridge apply`, again and again, under a flood of raw frames to
127.0.0.1: to a port that is not mapped, and to the target of a mapping. None may arrive, at no
moment. 60 cycles for each value of bridge-nf-call-iptables by default, 300 with --full;
--cycles N for more.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, needs=("nft", "ip", "tc"))
CYCLES = (int(sys.argv[sys.argv.index("--cycles") + 1]) if "--cycles" in sys.argv
          else 300 if arguments.full else 60)
UNMAPPED, MAPPED = 9191, 9192
BRIDGE_NF = "/proc/sys/net/bridge/bridge-nf-call-iptables"


class Witness:
    """UDP sockets on 127.0.0.1, which count what they get."""

    def __init__(self):
        self.sockets = []
        for port in (UNMAPPED, MAPPED):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", port))
            sock.setblocking(False)
            self.sockets.append(sock)

    def count(self):
        seen = 0
        for sock in self.sockets:
            try:
                while seen < 1000:
                    sock.recv(100)
                    seen += 1
            except BlockingIOError:
                pass
        return seen

    def close(self):
        for sock in self.sockets:
            sock.close()


class Flood:
    def __enter__(self):
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/proc/{lab.agent().pid}/ns/net", os.environ["NB_FLOOD"], "eth0",
             lab.macs["br-app"], lab.container, str(UNMAPPED), str(MAPPED)],
            stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.rate = int(self.process.communicate()[0])


def quietly(*words):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode


def cycles(value):
    if value is not None:
        with open(BRIDGE_NF, "w", encoding="ascii") as file:
            file.write(value)
    lab.reset()
    lab.good("add", "br-app", f"{MAPPED}/udp")
    witness = Witness()
    apply = lab.command("apply", "--quiet")
    try:
        with Flood() as flood:
            for cycle in range(CYCLES):
                if quietly("nft", "flush", "ruleset") or quietly(*apply):
                    return expect(False, f"cycle {cycle}: nft or apply failed")
        arrived = witness.count()
        note(f"{CYCLES} cycles, {flood.rate:,} frames a second, {arrived} arrived")
        expect_eq(arrived, 0, "frames that arrived")
        lab.good("check")
        expect(flood.rate > 20000, f"{flood.rate} frames a second is no flood")

        sh("nft flush ruleset")
        sh("tc qdisc del dev br-app clsact")
        with Flood():
            expect(wait_for(witness.count), "control: without both guards they arrive")
        lab.good("apply")
    finally:
        witness.close()
    return True


if os.path.exists(BRIDGE_NF):
    for bridge_nf in "01":
        case(f"bridge-nf-call-iptables={bridge_nf}: nothing arrives")(
            lambda bridge_nf=bridge_nf: cycles(bridge_nf))
else:
    case("nothing arrives")(lambda: cycles(None))

run(lab.reset)
