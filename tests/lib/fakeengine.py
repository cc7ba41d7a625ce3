# SPDX-License-Identifier: GPL-2.0-or-later
"""An engine's API socket with answers of the test. The real engines are in tests/engines.

    docker = FakeEngine(lab.dir + "/docker.sock")
    docker.networks = [network("agents", bridge="br-app")]
    ...
    docker.stop()          # as if the engine had been stopped
"""
import json
import os
import re
import socket
import threading


def network(name, bridge=None, driver="bridge", **more):
    """What GET /networks of Docker says of one network."""
    options = {} if bridge is None else {"com.docker.network.bridge.name": bridge}
    return {"Name": name, "Id": (name.encode().hex() + "0" * 64)[:64], "Driver": driver,
            "Scope": "local", "Options": options, **more}


class FakeEngine:
    def __init__(self, path, owner=0):
        self.path = path
        self.owner = owner  # whose process listens
        self.networks = []
        # regular expression of a request's path -> what is answered, or a function of the connection
        self.others = {}
        self.asked = []
        self.raw = None  # what it does instead: a function of the connection
        self.socket = None
        self.start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        os.seteuid(self.owner)
        self.socket.listen(64)
        os.seteuid(0)
        threading.Thread(target=self._serve, args=(self.socket,), daemon=True).start()

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        os.unlink(self.path)

    def _serve(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection):
        with connection:
            self._answer(connection)

    def _answer(self, connection):
        request = b""
        while b"\r\n\r\n" not in request:
            piece = connection.recv(4096)
            if not piece:
                return
            request += piece
        path = request.split(b" ")[1].decode()
        self.asked.append(path)
        answer = self.raw
        for pattern, value in self.others.items():
            if not answer and re.search(pattern, path):
                answer = value
        if callable(answer):
            try:
                answer(connection)
            except OSError:
                pass  # enough, says who asked
            return
        if answer is None and path.endswith("/networks"):
            answer = self.networks
        status = "404 Not Found" if answer is None else "200 OK"
        body = json.dumps({"message": "no such thing"} if answer is None else answer).encode()
        connection.sendall(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
