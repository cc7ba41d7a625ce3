#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the nft of this distribution cannot say.

nl.py generation       the ruleset's generation, which every commit changes
nl.py own TABLE        make inet table TABLE with the owner flag and an input chain of policy
                       drop that belongs to it; prints the pid that keeps it, in the background
nl.py drop TABLE CHAIN make inet table TABLE with an output chain of policy drop; names of any bytes
"""
import os
import socket
import struct
import sys

NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_GETGEN = 0, 3, 16
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 16, 17
NFPROTO_INET = 1
F_REQUEST, F_ACK, F_CREATE = 1, 4, 0x400
TABLE_F_OWNER = 2
HOOK_INPUT, HOOK_OUTPUT, VERDICT_DROP = 1, 3, 0


def attribute(kind, body):
    return struct.pack("=HH", 4 + len(body), kind) + body + b"\0" * (-len(body) % 4)


def nested(kind, *parts):
    return attribute(kind | 0x8000, b"".join(parts))


def text(kind, value):
    return attribute(kind, os.fsencode(value) + b"\0")


def number(kind, value):
    return attribute(kind, struct.pack("!i", value))


def message(kind, flags, family, resource, sequence, body=b""):
    head = struct.pack("=BBH", family, 0, socket.htons(resource))
    return struct.pack("=IHHII", 16 + len(head) + len(body), kind, flags | F_REQUEST,
                       sequence, 0) + head + body


def nft(kind, flags, sequence, body=b""):
    return message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, NFPROTO_INET, 0, sequence, body)


def open_socket():
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    sock.bind((0, 0))
    return sock


def generation():
    sock = open_socket()
    sock.send(nft(NFT_MSG_GETGEN, 0, 1))
    answer = sock.recv(4096)
    at = 20
    while at < len(answer):
        size, kind = struct.unpack_from("=HH", answer, at)
        if kind == 1:
            print(struct.unpack_from("!I", answer, at + 4)[0])
            return
        at += (size + 3) & ~3
    sys.exit("nl.py: no generation in the answer")


def make(sock, table, flags, chain, hook):
    """A table, and a chain of policy drop in it."""
    chain = [
        text(1, table),
        text(3, chain),
        nested(4, number(1, hook), number(2, 5)),
        number(5, VERDICT_DROP),
        text(7, "filter"),
    ]
    batch = [
        message(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, 1),
        nft(NFT_MSG_NEWTABLE, F_CREATE | F_ACK, 2, text(1, table) + number(2, flags)),
        nft(NFT_MSG_NEWCHAIN, F_CREATE | F_ACK, 3, b"".join(chain)),
        message(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, 4),
    ]
    sock.send(b"".join(batch))
    for _ in range(2):
        answer = sock.recv(4096)
        kind = struct.unpack_from("=H", answer, 4)[0]
        error = struct.unpack_from("=i", answer, 16)[0]
        if kind != 2 or error:
            sys.exit("nl.py: %s" % os.strerror(-error))


def own(table):
    sock = open_socket()
    make(sock, table, TABLE_F_OWNER, "input", HOOK_INPUT)
    # The owner is the socket's port, so the socket itself goes on in the child.
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    while True:
        sock.recv(4096)


if sys.argv[1] == "generation":
    generation()
elif sys.argv[1] == "own":
    own(sys.argv[2])
elif sys.argv[1] == "drop":
    make(open_socket(), sys.argv[2], 0, sys.argv[3], HOOK_OUTPUT)
else:
    sys.exit("nl.py: %s?" % sys.argv[1])
