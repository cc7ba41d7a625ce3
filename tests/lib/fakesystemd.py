# SPDX-License-Identifier: GPL-2.0-or-later
"""PID 1's own socket, with the states of units that a test wants. The real one is in tests/boot.

    systemd = FakeSystemd()
    systemd.states = {"docker.socket": "active", "docker.service": "inactive"}
    ...
    systemd.stop()
"""
import os
import re
import socket
import struct
import sys
import threading

PATH = "/run/systemd/private"
MARK = b"l" if sys.byteorder == "little" else b"B"


def message(kind, body, fields=b""):
    head = MARK + bytes((kind, 0, 1)) + struct.pack("=III", len(body), 1, len(fields))
    return head + fields + b"\0" * (-len(fields) % 8) + body


def answer(text):
    """A variant that holds a text."""
    return message(2, b"\1s\0\0" + struct.pack("=I", len(text)) + text.encode() + b"\0")


class FakeSystemd:
    def __init__(self):
        self.states = {}
        self.asked = []
        self.raw = None  # what it does instead: a function of the connection
        os.makedirs(os.path.dirname(PATH), exist_ok=True)
        os.makedirs("/run/systemd/units", exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(PATH)
        self.socket.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        os.unlink(PATH)
        os.rmdir("/run/systemd/units")

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                try:
                    (self.raw or self._answer)(connection)
                except OSError:
                    pass  # enough, says who asked

    def _answer(self, connection):
        data = connection.recv(4096)
        while b"BEGIN\r\n" not in data:
            data += connection.recv(4096)
        if not data.startswith(b"\0AUTH EXTERNAL 30\r\n"):
            connection.sendall(b"REJECTED EXTERNAL\r\n")
            return
        connection.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
        data = data[data.index(b"BEGIN\r\n") + 7:]
        while True:
            found = re.search(rb"/systemd1/unit/(\w+)\0.*\0\0\0ActiveState\0", data, re.S)
            if found:
                unit = found[1].decode().replace("_2e", ".")
                self.asked.append(unit)
                # a signal that everyone hears goes before it
                connection.sendall(message(4, b"\0" * 100, b"x" * 13) +
                                   answer(self.states.get(unit, "inactive")))
                data = data[found.end():]
                continue
            more = connection.recv(4096)
            if not more:
                return
            data += more
