#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames that no socket would send, through AF_PACKET; run it in the attacker's namespace.

raw.py DEVICE GATEWAY-MAC KIND SOURCE:PORT DESTINATION:PORT [OPTION...]
  KIND  udp or syn
  --text TEXT    the datagram (hello)
  --options HEX  of the IPv4 header, padded to words
  --final A      the checksum is for this destination (a source route's last)
  --fragment     as two fragments
  --vlan ID      a tag (802.1Q) around it; again for another around that. ID/ad: 802.1ad
  --cut N        only the first N bytes of the packet
  --mark N       the socket's mark
  --count N      send it N times (1)
  --wait S       look for an answer this long (0; the frame is sent again meanwhile)
  --flood        send until killed; prints the pid and goes to the background

Prints "sent", or with --wait one word: answered (a datagram back, or SYN and
ACK), refused (a reset, or ICMP unreachable), timeout.
"""
import os
import select
import signal
import socket
import struct
import sys
import time


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parse_address(text):
    host, port = text.rsplit(":", 1)
    return socket.inet_aton(host), int(port)


def packet(kind, source, destination, text, options=b"", final=None):
    (saddr, sport), (daddr, dport) = source, destination
    if kind == "udp":
        length = 8 + len(text)
        number, body = socket.IPPROTO_UDP, struct.pack("!HHHH", sport, dport, length, 0) + text
        at = 6
    else:
        number, at = socket.IPPROTO_TCP, 16
        body = struct.pack("!HHIIBBHHH", sport, dport, 1000, 0, 5 << 4, 2, 65535, 0, 0)
    pseudo = saddr + (final or daddr) + struct.pack("!BBH", 0, number, len(body))
    total = checksum(pseudo + body) or 0xFFFF
    body = body[:at] + struct.pack("!H", total) + body[at + 2:]
    return header(len(body), number, saddr, daddr, 0, options) + body


def header(length, number, saddr, daddr, fragment, options=b""):
    options += b"\0" * (-len(options) % 4)
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | size // 4, 0, size + length, os.getpid() & 0xFFFF,
                       fragment, 64, number, 0, saddr, daddr) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:]


def fragments(packet_):
    """The first 8 bytes behind the header, and the rest."""
    number, saddr, daddr, body = packet_[9], packet_[12:16], packet_[16:20], packet_[20:]
    return [header(8, number, saddr, daddr, 0x2000) + body[:8],
            header(len(body) - 8, number, saddr, daddr, 1) + body[8:]]


def verdict(frame, kind, source, destination):
    """What a received frame says of ours, or None if it has nothing to do with it."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return None
    ip = frame[14:]
    size, number, saddr = (ip[0] & 15) * 4, ip[9], ip[12:16]
    body = ip[size:]
    if number == socket.IPPROTO_ICMP and body[0] == 3:
        inner = body[8:]
        ports = struct.unpack("!HH", inner[20:24])
        return "refused" if ports == (source[1], destination[1]) else None
    if saddr != destination[0] or len(body) < 8:
        return None
    if struct.unpack("!HH", body[:4]) != (destination[1], source[1]):
        return None
    if kind == "udp" and number == socket.IPPROTO_UDP:
        return "answered"
    if kind == "syn" and number == socket.IPPROTO_TCP:
        flags = body[13]
        if flags & 4:
            return "refused"
        return "answered" if flags & 0x12 == 0x12 else None
    return None


def flood(sock, frame):
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            sock.send(frame)
        except OSError:
            time.sleep(0.001)


def main():
    device, gateway, kind, source, destination = sys.argv[1:6]
    options = sys.argv[6:]
    text, count, wait, endless = "hello", 1, 0.0, False
    ip_options, final, split, cut, mark, tags = b"", None, False, None, 0, b""
    while options:
        word = options.pop(0)
        if word == "--flood":
            endless = True
        elif word == "--text":
            text = options.pop(0)
        elif word == "--count":
            count = int(options.pop(0))
        elif word == "--options":
            ip_options = bytes.fromhex(options.pop(0))
        elif word == "--final":
            final = socket.inet_aton(options.pop(0))
        elif word == "--fragment":
            split = True
        elif word == "--cut":
            cut = int(options.pop(0))
        elif word == "--mark":
            mark = int(options.pop(0), 0)
        elif word == "--vlan":
            number, _, kind_of_tag = options.pop(0).partition("/")
            tags = struct.pack("!HH", 0x88A8 if kind_of_tag else 0x8100, int(number)) + tags
        elif word == "--wait":
            wait = float(options.pop(0))
        else:
            sys.exit("raw.py: %s?" % word)
    source, destination = parse_address(source), parse_address(destination)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((device, 3))
    mine = sock.getsockname()[4]
    if mark:
        sock.setsockopt(socket.SOL_SOCKET, 36, mark)
    whole = packet(kind, source, destination, text.encode(), ip_options, final)
    frames = [bytes.fromhex(gateway.replace(":", "")) + mine + tags + b"\x08\x00" + part[:cut]
              for part in (fragments(whole) if split else [whole])]
    frame = frames[0]
    if endless:
        flood(sock, frame)
    for _ in range(count):
        for frame in frames:
            sock.send(frame)
    if not wait:
        print("sent")
        return
    deadline = time.monotonic() + wait
    again = time.monotonic() + wait / 2
    while time.monotonic() < deadline:
        if select.select([sock], [], [], 0.05)[0]:
            data, address = sock.recvfrom(65536)
            word = None
            if address[2] != socket.PACKET_OUTGOING:
                word = verdict(data, kind, source, destination)
            if word:
                print(word)
                return
        if time.monotonic() > again:
            again = deadline + 1
            sock.send(frame)
    print("timeout")


main()
