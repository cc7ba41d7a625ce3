#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients for the packet tests; each prints one word a target:

  answered   an answer of the right kind came
  refused    connection refused (a reset to a SYN, or ICMP port unreachable)
  reset      an established connection was reset
  timeout    nothing came
  unreachable, denied   the kernel said so

probe.py [OPTION...] KIND:ADDRESS:PORT...           dial them all at the same time;
                                                  the words come in the order of the targets
  --timeout S (0.4)   --tries N (2)   --source ADDRESS:PORT   --show (the answer, too)
  --send TEXT         --size N (pad the request to N bytes; wants it back, or its length)
  --bytes N (TCP: ask for N bytes and count them)   --no-wait (UDP: send and exit)
  --mark N (SO_MARK)
probe.py hold SOCKET [--source A:P] KIND:ADDRESS:PORT   dial, then stay in the background;
                                                  prints the pid once the first answer is here
probe.py ask SOCKET ping | state | count           what that connection does now
probe.py ask SOCKET until WORD SECONDS             wait for a state without sending anything
"""
import os
import select
import signal
import socket
import sys
import threading
import time

SO_MARK = 36

WORDS = {
    ConnectionRefusedError: "refused",
    ConnectionResetError: "reset",
    ConnectionAbortedError: "reset",
    BrokenPipeError: "reset",
    TimeoutError: "timeout",
    PermissionError: "denied",
}


def word_of(error):
    return WORDS.get(type(error), "unreachable")


def parse_address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


class Options:
    timeout, tries, source, show, send = 0.4, 2, None, False, "hello"
    size, bytes, wait, mark = 0, 0, True, 0


def dial(kind, address, options):
    tcp = kind == "tcp"
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    sock.settimeout(options.timeout)
    if options.mark:
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, options.mark)
    if options.source:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(parse_address(options.source))
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def tcp_once(address, options):
    with dial("tcp", address, options) as sock:
        if options.bytes:
            sock.sendall(b"big %d\n" % options.bytes)
            left = options.bytes
            deadline = time.monotonic() + options.timeout
            while left:
                sock.settimeout(max(0.01, deadline - time.monotonic()))
                data = sock.recv(65536)
                if not data:
                    raise ConnectionResetError
                left -= len(data)
            return b""
        line = options.send.encode().ljust(options.size, b".")
        sock.sendall(line + b"\n")
        answer = b""
        while b"\n" not in answer:
            data = sock.recv(65536)
            if not data:
                raise ConnectionResetError
            answer += data
        return answer


def udp_once(address, options):
    with dial("udp", address, options) as sock:
        sock.send(options.send.encode().ljust(options.size, b"."))
        if not options.wait:
            return b""
        answer = sock.recv(65536)
        if len(answer) < options.size:
            raise ValueError("short answer")
        return answer


def probe(spec, options):
    kind, rest = spec.split(":", 1)
    address = parse_address(rest)
    once = tcp_once if kind == "tcp" else udp_once
    word = "timeout"
    for _ in range(options.tries):
        try:
            answer = once(address, options)
        except OSError as error:
            word = word_of(error)
            if word == "timeout":
                continue
            return word
        except ValueError as error:
            return str(error).replace(" ", "-")
        if options.show:
            return " ".join(["answered", answer[:200].decode().strip()])
        return "answered"
    return word


class Held:
    """A connection in the background, asked through a Unix socket."""

    def __init__(self, path, kind, address, options):
        self.path, self.tcp = path, kind == "tcp"
        self.state, self.count = "answered", 0
        self.sock = dial(kind, address, options)
        self.sock.setblocking(False)
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.control.bind(path)

    def read(self):
        try:
            data = self.sock.recv(65536)
            if not data and self.tcp:
                self.state = "closed"
            elif data:
                self.count += 1
                self.state = "answered"
        except BlockingIOError:
            return
        except OSError as error:
            self.state = word_of(error)

    def alive(self):
        return not self.tcp or self.state in ("answered", "timeout")

    def wait(self, done, seconds):
        deadline = time.monotonic() + seconds
        while not done() and time.monotonic() < deadline and self.alive():
            left = max(0, deadline - time.monotonic())
            if select.select([self.sock], [], [], left)[0]:
                self.read()
        return done()

    def ping(self, seconds):
        if not self.alive():
            return self.state
        before, self.state = self.count, "timeout"
        try:
            self.sock.send(b"ping\n")
        except OSError as error:
            self.state = word_of(error)
            return self.state
        self.wait(lambda: self.count > before or self.state != "timeout", seconds)
        return self.state

    def obey(self):
        text, back = self.control.recvfrom(256)
        words = text.decode().split()
        if words[0] == "ping":
            answer = self.ping(float(words[1]) if len(words) > 1 else 0.8)
        elif words[0] == "send":
            self.sock.send(" ".join(words[1:]).encode() + b"\n")
            answer = "sent"
        elif words[0] == "count":
            answer = str(self.count)
        elif words[0] == "until":
            self.wait(lambda: self.state == words[1], float(words[2]))
            answer = self.state
        else:
            answer = self.state
        self.control.sendto(answer.encode(), back)

    def run(self):
        while True:
            watched = [self.control] + ([self.sock] if self.alive() else [])
            ready = select.select(watched, [], [])[0]
            if self.sock in ready:
                self.read()
            if self.control in ready:
                self.obey()


def hold(arguments):
    options = Options()
    options.timeout = 5
    path, arguments = arguments[0], arguments[1:]
    if arguments[0] == "--source":
        options.source, arguments = arguments[1], arguments[2:]
    kind, rest = arguments[0].split(":", 1)
    try:
        held = Held(path, kind, parse_address(rest), options)
        word = held.ping(5)
    except OSError as error:
        word = word_of(error)
    if word != "answered":
        sys.exit("hold %s: %s" % (arguments[0], word))
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    held.run()


def ask(arguments):
    path = arguments[0]
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    mine = "%s.%d" % (path, os.getpid())
    sock.bind(mine)
    try:
        sock.settimeout(15)
        sock.sendto(" ".join(arguments[1:]).encode(), path)
        print(sock.recv(256).decode())
    finally:
        os.unlink(mine)


def main():
    arguments = sys.argv[1:]
    if arguments[0] == "hold":
        hold(arguments[1:])
        return
    if arguments[0] == "ask":
        ask(arguments[1:])
        return
    options, words = Options(), []
    while arguments:
        word = arguments.pop(0)
        if word == "--show":
            options.show = True
        elif word == "--no-wait":
            options.wait = False
        elif word == "--timeout":
            options.timeout = float(arguments.pop(0))
        elif word == "--tries":
            options.tries = int(arguments.pop(0))
        elif word == "--source":
            options.source = arguments.pop(0)
        elif word == "--send":
            options.send = arguments.pop(0)
        elif word == "--mark":
            options.mark = int(arguments.pop(0), 0)
        elif word == "--size":
            options.size = int(arguments.pop(0))
        elif word == "--bytes":
            options.bytes = int(arguments.pop(0))
        else:
            words.append(word)
    # All at once, because silence takes its time.
    answers = [None] * len(words)

    def work(number):
        answers[number] = probe(words[number], options)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(words))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(" ".join(answers))


main()
