#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The service itself: where it listens, and whom it will not have."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zoo import *  # noqa: E402

MAPPING = f"{PORT}:5432"


def listening(*where, device=None):
    def work(lab):
        lab.service = [Listener(address, 5432, device) for address in where]
    return work


def stopped(lab):
    for service in lab.service:
        service.end()


def started(lab):
    listening("127.0.0.1")(lab)


def restarted(*where, device=None):
    """Its configuration changed, and it was restarted."""
    def work(lab):
        stopped(lab)
        listening(*where, device=device)(lab)
    return work


def cured(lab):
    restarted("127.0.0.1")(lab)


keep([
    Sick("a service that is not running", "the first question of every thread", "refused",
         "no-listener", stopped, before=listening("127.0.0.1"), mapping=MAPPING, cure=started),
    Sick("a service that never was there", "a port that was guessed", "refused", "no-listener", "",
         mapping=f"{PORT}:5433", works=False, cure=lambda _: Listener("127.0.0.1", 5433)),
    Sick("one that listens on ::1 alone", "localhost that is resolved to ::1 first: Node",
         "refused", "listener-address", restarted("::1"), before=listening("127.0.0.1"),
         mapping=MAPPING, evidence="::1", cure=cured),
    Sick("one that listens on another address of 127/8", "Debian's 127.0.1.1", "refused",
         "listener-address", restarted("127.0.1.1"), before=listening("127.0.0.1"),
         mapping=MAPPING, evidence=r"127\.0\.1\.1"),
    Sick("one that listens on the bridge's address alone", "listen_addresses = '172.30.0.1'",
         "refused", "listener-address", restarted(GATEWAY), before=listening("127.0.0.1"),
         mapping=MAPPING, evidence=GATEWAY.replace(".", r"\."), cure=cured),
    Sick("one that is bound to lo", "systemd-resolved's 127.0.0.53%lo", "refused",
         "listener-device", restarted("127.0.0.1", device="lo"), before=listening("127.0.0.1"),
         mapping=MAPPING, evidence="lo", cure=cured),
    Sick("TCP is mapped, the service speaks UDP", "DNS, WireGuard, syslog", "refused",
         ("no-listener", "listener-address"), "", before=lambda _: Listener("127.0.0.1", 514, udp=True),
         mapping=f"{PORT}:514", works=False, cure=lambda _: Listener("127.0.0.1", 514)),
    Sick("a service that is hung", "a full queue of connections: SIGSTOP, a debugger, deadlock",
         "timeout", ("service-hangs", "no-listener", "no-cause"),
         lambda lab: lab.hang(), before=lambda lab: hung(lab), mapping=MAPPING,
         cure=lambda lab: lab.go_on()),
    Sick("a service that is open to everybody, too", "0.0.0.0 as a cure of last year", "reached",
         "service-open", restarted("0.0.0.0"), before=listening("127.0.0.1"), mapping=MAPPING,
         evidence=r"\*:5432", warns=True, cure=cured),
])


def hung(lab):
    """A program with a short queue that stops taking from it."""
    lab.service = [Listener("127.0.0.1", 5432, backlog=1)]

    def hang():
        os.kill(lab.service[0].pid, signal.SIGSTOP)
        lab.waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", 5432))
            lab.waiting.append(sock)

    def go_on():
        os.kill(lab.service[0].pid, signal.SIGCONT)
    lab.hang, lab.go_on = hang, go_on


run_zoo(__file__)
