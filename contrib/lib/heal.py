# SPDX-License-Identifier: GPL-2.0-or-later
"""How soon `nat-bridge watch` restores a table; run by bench.py in its network namespace.

heal.py ROUNDS DEVICE PROGRAM ARGUMENT...

Flushes the ruleset ROUNDS times. Prints for each, in ms, the time from the commit of the flush, as
the kernel tells of it, until DEVICE, restored, has route_localnet again: the last step.
"""
import os
import re
import socket
import struct
import subprocess
import sys
import time

NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN = 10, 15
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES = 270, 1, 7


def commits(sock):
    """The names of the programs whose commits are in the next datagram."""
    data, found = sock.recv(1 << 20), []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if kind == NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN:
            name = re.search(rb"\x03\x00([\w-]+)\0", data[20:length])
            found.append(name.group(1).decode() if name else "?")
        data = data[(length + 3) & ~3:]
    return found


def wait_for(sock, program):
    while program not in commits(sock):
        pass
    return time.monotonic()


def main():
    rounds, device, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    conf = f"/proc/sys/net/ipv4/conf/{device}/route_localnet"
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((0, 0))
    sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
    sock.settimeout(30)
    watcher = subprocess.Popen([*command, "watch", "--quiet"], stdin=subprocess.DEVNULL)
    try:
        wait_for(sock, "nat-bridge")
        for _ in range(rounds):
            time.sleep(4.5)  # more often would be a fight, in which the watcher takes its time
            subprocess.run(["nft", "flush", "ruleset"], check=True)
            begun = wait_for(sock, "nft")
            wait_for(sock, "nat-bridge")
            with open(conf, encoding="ascii") as file:
                while file.read(1) != "1":
                    file.seek(0)
            print(f"{1000 * (time.monotonic() - begun):.3f}", flush=True)
        with open(f"/proc/{watcher.pid}/status", encoding="ascii") as file:
            time.sleep(1)
            file.seek(0)
            print("resident", re.search(r"VmRSS:\s*(\d+)", file.read()).group(1))
    finally:
        watcher.terminate()
        watcher.wait()


main()
