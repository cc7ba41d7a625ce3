#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fill this network namespace's table of connections to the kernel's limit: with established
ones, of which none may be thrown out early, as a busy proxy's are."""
import errno
import os
import socket
import struct

NETLINK_NETFILTER, CTNETLINK_NEW = 12, 1 << 8
F_REQUEST, F_ACK, F_CREATE = 1, 4, 0x400
TUPLE_ORIG, TUPLE_REPLY, PROTOINFO, STATUS, TIMEOUT = 1, 2, 4, 3, 7
ASSURED = 0x2 | 0x4 | 0x8  # IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED
ESTABLISHED = 3


def attribute(kind, body):
    return struct.pack("=HH", 4 + len(body), kind) + body + b"\0" * (-len(body) % 4)


def nested(kind, *parts):
    return attribute(kind | 0x8000, b"".join(parts))


def way(kind, source, destination, sport, dport):
    return nested(kind,
                  nested(1, attribute(1, source), attribute(2, destination)),
                  nested(2, attribute(1, b"\x06"), attribute(2, struct.pack("!H", sport)),
                         attribute(3, struct.pack("!H", dport))))


END = (nested(PROTOINFO, nested(1, attribute(1, bytes([ESTABLISHED]))))
       + attribute(STATUS, struct.pack("!I", ASSURED)) + attribute(TIMEOUT, struct.pack("!I", 600)))


def message(number, ack):
    here, there = socket.inet_aton("198.51.100.1"), struct.pack("!I", 0xCB007100 + (number >> 15))
    sport = 1024 + (number & 0x7FFF)
    body = (struct.pack("=BBH", socket.AF_INET, 0, 0)
            + way(TUPLE_ORIG, here, there, sport, 443) + way(TUPLE_REPLY, there, here, 443, sport)
            + END)
    return struct.pack("=IHHII", 16 + len(body), CTNETLINK_NEW,
                       F_REQUEST | F_CREATE | (F_ACK if ack else 0), number, 0) + body


def main():
    with open("/proc/sys/net/netfilter/nf_conntrack_max", encoding="ascii") as file:
        limit = int(file.read())
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    sock.bind((0, 0))
    number, full = 0, False
    while not full and number < limit + 1000:
        # an acknowledgement for the last of each batch: what it says ends this
        batch = b"".join(message(number + i, i == 99) for i in range(100))
        number += 100
        sock.send(batch)
        data = sock.recv(65536)
        while len(data) >= 20:
            length, _, _, _, _ = struct.unpack_from("=IHHII", data)
            code = -struct.unpack_from("=i", data, 16)[0]
            full = full or code in (errno.ENOMEM, errno.ENOSPC)
            if code and not full:
                raise OSError(code, os.strerror(code))
            data = data[(length + 3) & ~3:]


main()
