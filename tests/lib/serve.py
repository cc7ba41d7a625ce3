#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers for the packet tests: serve.py [--log FILE] LABEL=KIND:ADDRESS:PORT...

All sockets are bound before the process goes to the background and prints its
pid, so whoever called it may dial at once.

KIND
  tcp   answers each line with "LABEL PEER-ADDRESS PEER-PORT LINE", a long one with
        its length
  udp   one unconnected socket; answers each datagram in the same way
  udpc  like many real servers: the first datagram of a peer makes a socket
        connected to that peer, which answers from then on

Requests with a meaning
  big N     N bytes (TCP)
  park      answer later (UDP); "release" answers everybody who is parked
  push MS   go on sending every MS milliseconds without being asked (UDP)
  stats     how many other datagrams and how many failed sends this socket saw (UDP)

The log has one line an event: "tcp LABEL open PEER:PORT", "... closed PEER:PORT
ERRNO", "udp LABEL data PEER:PORT TEXT", "udp LABEL error PEER:PORT ERRNO".
"""
import errno
import os
import selectors
import signal
import socket
import struct
import sys
import time

IP_RECVERR = 11
MSG_ERRQUEUE = 0x2000


class Log:
    def __init__(self, path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.fd = os.open(path, flags, 0o600) if path else -1

    def say(self, *words):
        if self.fd >= 0:
            os.write(self.fd, (" ".join(str(word) for word in words) + "\n").encode())


def name_of(peer):
    return "%s:%d" % peer[:2] if peer else "?"


class Tcp:
    """One accepted connection."""

    def __init__(self, server, sock, peer):
        self.server, self.sock, self.peer = server, sock, peer
        self.input, self.output = b"", b""
        sock.setblocking(False)
        server.loop.register(sock, selectors.EVENT_READ, self.event)
        server.log.say("tcp", server.label, "open", name_of(peer))

    def event(self, mask):
        try:
            if mask & selectors.EVENT_WRITE:
                self.output = self.output[self.sock.send(self.output):]
            if mask & selectors.EVENT_READ:
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionError(0, "end of file")
                self.take(data)
        except BlockingIOError:
            pass
        except OSError as error:
            why = errno.errorcode.get(error.errno, "EOF")
            self.server.log.say("tcp", self.server.label, "closed", name_of(self.peer), why)
            self.server.loop.unregister(self.sock)
            self.sock.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.output else 0)
        self.server.loop.modify(self.sock, wanted, self.event)

    def take(self, data):
        self.input += data
        while b"\n" in self.input:
            line, self.input = self.input.split(b"\n", 1)
            words = line.split()
            if len(words) == 2 and words[0] == b"big":
                self.output += b"x" * int(words[1])
                continue
            head = "%s %s %d " % (self.server.label, self.peer[0], self.peer[1])
            # A long line is an upload: its length is the answer.
            if len(line) > 1000:
                line = b"got %d" % len(line)
            self.output += head.encode() + line + b"\n"


class TcpServer:
    def __init__(self, loop, log, label, address):
        self.loop, self.log, self.label = loop, log, label
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(address)
        self.sock.listen(64)
        loop.register(self.sock, selectors.EVENT_READ, self.event)

    def event(self, _mask):
        try:
            sock, peer = self.sock.accept()
        except OSError as error:
            # A listener that is shut down from outside says EINVAL for ever.
            self.log.say("tcp", self.label, "accept", errno.errorcode.get(error.errno))
            if error.errno == errno.EINVAL:
                self.loop.unregister(self.sock)
            return
        Tcp(self, sock, peer)


class Udp:
    def __init__(self, loop, log, label, address, split=False, peer=None):
        self.loop, self.log, self.label = loop, log, label
        self.address, self.split, self.peer = address, split, peer
        self.parked, self.pushing, self.workers = [], {}, {}
        self.seen = self.refused_sends = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        self.sock.bind(address)
        if peer:
            self.sock.connect(peer)
        self.sock.setblocking(False)
        loop.register(self.sock, selectors.EVENT_READ, self.event)

    def event(self, _mask):
        for _ in range(256):
            try:
                data, peer = self.sock.recvfrom(65536)
            except BlockingIOError:
                break
            except OSError as error:
                if not self.broken(error):
                    return
                continue
            self.take(data, peer)
        self.drain_errors()

    def broken(self, error):
        """An ICMP error is news; a socket that was aborted is the end of it."""
        why = errno.errorcode.get(error.errno)
        if error.errno != errno.ECONNABORTED:
            self.drain_errors()
            return True
        self.log.say("udp", self.label, "aborted", name_of(self.peer), why)
        self.loop.unregister(self.sock)
        self.sock.close()
        return False

    def drain_errors(self):
        while True:
            try:
                _data, control, _flags, peer = self.sock.recvmsg(2048, 512, MSG_ERRQUEUE)
            except OSError:
                return
            for level, kind, body in control:
                if level == socket.IPPROTO_IP and kind == IP_RECVERR:
                    number = struct.unpack_from("=I", body)[0]
                    self.log.say("udp", self.label, "error", name_of(peer),
                                 errno.errorcode.get(number))

    def send(self, data, peer):
        try:
            try:
                self.sock.sendto(data, self.peer or peer)
            except ConnectionRefusedError:
                # The error of an earlier datagram, to whomever that went; now it is spent.
                self.drain_errors()
                self.sock.sendto(data, self.peer or peer)
        except OSError as error:
            self.refused_sends += 1
            self.log.say("udp", self.label, "send", name_of(peer),
                         errno.errorcode.get(error.errno))

    def take(self, data, peer):
        words = data[:64].split()
        if self.split and peer not in self.workers:
            worker = Udp(self.loop, self.log, self.label, self.address, False, peer)
            self.workers[peer] = worker
            worker.take(data, peer)
            return
        head = ("%s %s %d " % (self.label, peer[0], peer[1])).encode()
        if words[:1] == [b"stats"]:
            self.send(head + b"seen %d failed %d" % (self.seen, self.refused_sends), peer)
            return
        self.seen += 1
        # A flood is counted, not logged.
        if words[:1] == [b"flood"]:
            return
        self.log.say("udp", self.label, "data", name_of(peer),
                     data[:40].decode("ascii", "replace").strip())
        if words[:1] == [b"park"]:
            self.parked.append(peer)
            return
        if words[:1] == [b"push"]:
            self.pushing[peer] = [int(words[1]) / 1000, time.monotonic()]
        if words[:1] == [b"release"]:
            for parked in self.parked:
                self.send(b"released", parked)
            self.parked = []
        self.send(head + data, peer)

    def tick(self, now):
        for worker in self.workers.values():
            worker.tick(now)
        for peer, (period, due) in self.pushing.items():
            if now >= due:
                self.pushing[peer][1] = now + period
                self.send(b"pushed", peer)


def main():
    arguments = sys.argv[1:]
    path = None
    if arguments[:1] == ["--log"]:
        path, arguments = arguments[1], arguments[2:]
    loop, log = selectors.DefaultSelector(), Log(path)
    datagrams = []
    for word in arguments:
        label, spec = word.split("=")
        kind, host, port = spec.split(":")
        address = (host, int(port))
        if kind == "tcp":
            TcpServer(loop, log, label, address)
        else:
            datagrams.append(Udp(loop, log, label, address, kind == "udpc"))
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    # epoll does not outlive a fork with its registrations shared; make it anew.
    old, loop = loop, selectors.DefaultSelector()
    for key in list(old.get_map().values()):
        loop.register(key.fileobj, key.events, key.data)
        key.data.__self__.loop = loop
    while True:
        for key, mask in loop.select(0.02):
            key.data(mask)
        now = time.monotonic()
        for server in datagrams:
            server.tick(now)


main()
