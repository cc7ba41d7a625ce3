# SPDX-License-Identifier: GPL-2.0-or-later
"""What the Python tests share: TAP, a private lab of namespaces, and probes.

A test file reads:

    from nblab import *
    lab = enter(__file__)          # runs itself again in fresh namespaces

    @case("a second add changes nothing")
    def _():
        expect_eq(lab.nb("add", "br-app", "8080").rc, 0, "exit status")

    run()

The lab:

    agent "ctr"             host side (the namespace of the test itself)
    eth0 172.30.0.2/24 ---- vapp --- br-app 172.30.0.1/24
    eth0 172.31.0.2/24 ---- vtwo --- br-two 172.31.0.1/24      (agent "two")

Everything lives in namespaces and on a tmpfs that end with the test.
$NAT_BRIDGE names the program. With $CI or $NB_FORBID_SKIP a missing tool fails.
"""

import atexit
import ctypes
import difflib
import json
import os
import pickle
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
import traceback

__all__ = [
    "enter", "case", "run", "expect", "expect_eq", "expect_match", "note", "skip", "arguments",
    "wait_for", "generation", "struct", "os", "re", "json", "subprocess", "time", "sys", "socket",
    "shutil", "signal", "Skip", "table_cases", "difference", "stat", "sh",
    "build_is_sanitized",
]

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)

# ---------------------------------------------------------------- TAP


class Skip(Exception):
    """Raised in a case: a tool or a right is missing."""

    kernel = False


class Arguments:
    full = False
    only = None
    verbose = False


arguments = Arguments()
_cases = []
_failures = []


def forbid_skip():
    return bool(os.environ.get("CI") or os.environ.get("NB_FORBID_SKIP"))


def skip(reason, kernel=False):
    """@kernel: this kernel was built without it, which no installation mends."""
    skipped = Skip(reason)
    skipped.kernel = kernel
    raise skipped


def case(name, full=False):
    """Register a test; @full ones run with --full alone."""
    def register(function):
        _cases.append((name, function, full))
        return function
    return register


def table_cases(rows, function):
    """One case a row; row[0] is its name."""
    for row in rows:
        _cases.append((row[0], (lambda row=row: function(*row[1:])), False))


def note(text):
    for line in str(text).splitlines() or [""]:
        print("# " + line, flush=True)


def expect(condition, message):
    if not condition:
        _failures.append(message)
    return bool(condition)


def expect_eq(got, want, what):
    return expect(got == want, f"{what}: expected {want!r}, got {got!r}")


def expect_match(pattern, text, what):
    return expect(re.search(pattern, text or "", re.S | re.I),
                  f"{what}: {text!r} does not match /{pattern}/")


def run(before=None):
    """Run the registered cases, print TAP, and exit."""
    chosen = [c for c in _cases
              if (arguments.full or not c[2])
              and (not arguments.only or re.search(arguments.only, c[0]))]
    print(f"1..{len(chosen)}", flush=True)
    bad = 0
    for number, (name, function, _) in enumerate(chosen, 1):
        _failures.clear()
        started = time.monotonic()
        skipped = None
        try:
            if before:
                before()
            function()
        except Skip as reason:
            skipped = str(reason)
            if forbid_skip() and not reason.kernel:
                _failures.append(f"skipping is forbidden here: {reason}")
        except Exception:
            _failures.append(traceback.format_exc())
        took = time.monotonic() - started
        name = name.replace("#", "\\#")
        if _failures:
            bad += 1
            print(f"not ok {number} - {name}")
            for failure in _failures[:12]:
                note(failure)
        elif skipped:
            print(f"ok {number} - {name} # SKIP {skipped}")
        else:
            print(f"ok {number} - {name}")
        if arguments.verbose:
            note(f"{took:.2f} s")
        sys.stdout.flush()
    sys.exit(1 if bad else 0)


def wait_for(condition, seconds=5.0, every=0.01):
    """Poll @condition until it is true; its last value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(every)


def bail(reason):
    print(f"Bail out! {reason}", flush=True)
    sys.exit(1)


# ---------------------------------------------------------------- entering the lab


def lab_is_outside():
    """Has enter() still to begin?"""
    return not os.environ.get("NB_LAB_OUTER_NETNS")


def enter(script, containers=True, needs=("nft", "ip")):
    """Run @script again in fresh namespaces and return the Lab made there."""
    words = sys.argv[1:]
    arguments.full = "--full" in words or bool(os.environ.get("NB_FULL"))
    arguments.verbose = "--verbose" in words
    if "--only" in words:
        arguments.only = words[words.index("--only") + 1]
    program = os.environ.get("NAT_BRIDGE")
    if not program or not os.access(program, os.X_OK):
        bail("NAT_BRIDGE must name the program under test")
    missing = [tool for tool in ("unshare", "tc") + tuple(needs) if not shutil.which(tool)]
    reason = None
    if missing:
        reason = "missing: " + " ".join(missing)
    elif os.geteuid() != 0:
        reason = "needs root to make namespaces"
    if reason:
        if forbid_skip():
            bail(reason)
        print(f"1..0 # SKIP {reason}")
        sys.exit(0)
    own = os.readlink("/proc/self/ns/net")
    outer = os.environ.get("NB_LAB_OUTER_NETNS")
    if lab_is_outside():
        environment = dict(os.environ, NB_LAB_OUTER_NETNS=own, NAT_BRIDGE=os.path.abspath(program))
        os.execvpe("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
                               "--mount-proc", "--propagation", "private",
                               sys.executable, os.path.abspath(script)] + words, environment)
    if outer == own or os.getpid() != 1:
        bail("refusing to run outside of private namespaces")
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        bail("refusing to run where there are devices already")
    return Lab(containers)


def sh(command, check=True, stdin=None):
    done = subprocess.run(command, shell=isinstance(command, str), text=True, input=stdin,
                          capture_output=True)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr or done.stdout}")
    return done.stdout


def build_is_sanitized(program):
    with open(program, "rb") as file:
        return b"__asan_init" in file.read()


# ---------------------------------------------------------------- the program's results


class Result:
    def __init__(self, words, rc, out, err, seconds):
        self.words, self.rc, self.out, self.err, self.seconds = words, rc, out, err, seconds

    @property
    def json(self):
        """The one JSON object on standard output."""
        def pairs(items):
            keys = [key for key, _ in items]
            if len(keys) != len(set(keys)):
                raise ValueError(f"duplicate key among {keys}")
            return dict(items)
        value = json.loads(self.out, object_pairs_hook=pairs)
        if not isinstance(value, dict):
            raise ValueError(f"not an object: {self.out!r}")
        return value

    def __str__(self):
        return (f"{' '.join(map(repr, self.words))}\nexit {self.rc} after {self.seconds:.2f} s\n"
                f"stdout: {self.out[-1500:]}\nstderr: {self.err[-1500:]}")


# ---------------------------------------------------------------- netlink: the generation


def generation():
    """The nf_tables generation id of this namespace (NFT_MSG_GETGEN)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:
        sock.bind((0, 0))
        # nlmsghdr, nfgenmsg; subsystem 10 = nftables, message 16 = GETGEN
        sock.send(struct.pack("=IHHII", 20, (10 << 8) | 16, 1, 1, 0) + b"\0\0\0\0")
        data = sock.recv(4096)
    offset = 20
    while offset + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, offset)
        if kind & 0x3FFF == 1:
            return struct.unpack_from(">I", data, offset + 4)[0]
        offset += (size + 3) & ~3
    raise RuntimeError("the kernel named no generation")


# ---------------------------------------------------------------- containers


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source, destination, protocol, payload):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(destination))
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + payload


def udp(source, destination, sport, dport, data):
    return ip_packet(source, destination, 17,
                     struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data)


def tcp_packet(source, destination, sport, dport, flags=2, sequence=12345):
    head = struct.pack("!HHIIBBHHH", sport, dport, sequence, 0, 0x50, flags, 8192, 0, 0)
    pseudo = (socket.inet_aton(source) + socket.inet_aton(destination)
              + struct.pack("!BBH", 0, 6, len(head)))
    head = head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:]
    return ip_packet(source, destination, 6, head)


class Agent:
    """A process in a network namespace of its own, which does what it is told."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            try:
                if libc.unshare(CLONE_NEWNET):
                    os._exit(1)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                self._serve(theirs)
            finally:
                os._exit(0)
        theirs.close()
        self.stream = ours.makefile("rwb")
        self.call("hello")

    def _serve(self, sock):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stream = sock.makefile("rwb")
        self.open = {}
        while True:
            try:
                name, words = pickle.load(stream)
            except EOFError:
                return
            try:
                answer = (True, getattr(self, "do_" + name)(*words))
            except Exception as error:
                answer = (False, repr(error))
            pickle.dump(answer, stream)
            stream.flush()

    def call(self, name, *words):
        pickle.dump((name, words), self.stream)
        self.stream.flush()
        good, value = pickle.load(self.stream)
        if not good:
            raise RuntimeError(f"agent: {name}{words}: {value}")
        return value

    # -- what follows runs in the container

    def do_hello(self):
        return os.getpid()

    def do_sh(self, command):
        return sh(command)

    def do_start(self, line):
        """A process that goes on; its number."""
        return subprocess.Popen(line).pid

    def do_tcp(self, host, port, timeout):
        """'refused', 'timeout', or the greeting."""
        try:
            with socket.create_connection((host, port), timeout) as sock:
                sock.settimeout(timeout)
                return sock.recv(100).decode().strip()
        except ConnectionRefusedError:
            return "refused"
        except ConnectionResetError:
            return "reset"
        except (TimeoutError, socket.timeout):
            return "timeout"
        except OSError as error:
            return f"error {error.errno}"

    def do_udp(self, host, port, timeout, sport=0):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("", sport))
            sock.connect((host, port))
            sock.settimeout(timeout)
            try:
                sock.send(b"ping")
                return sock.recv(100).decode()
            except ConnectionRefusedError:
                return "refused"
            except (TimeoutError, socket.timeout):
                return "timeout"

    def do_raw(self, own, gateway, mac, tcp_ports, udp_ports, syn_ports, sentinel, token):
        """Frames straight to 127.0.0.1, and SYNs to the gateway's @syn_ports; then an
        allowed frame, whose echo ends the wait.

        Returns what came back from 127/8, which SYN was answered, or 'no echo'.
        """
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        sock.bind(("eth0", 0x0800))
        source_mac = sock.getsockname()[4]
        head = bytes.fromhex(mac.replace(":", "")) + source_mac + b"\x08\x00"
        sport = 20000 + token % 20000
        for port in tcp_ports:
            sock.send(head + tcp_packet(own, "127.0.0.1", sport, port))
        for port in udp_ports:
            sock.send(head + udp(own, "127.0.0.1", sport, port, b"raw %d" % token))
        for port in syn_ports:
            sock.send(head + tcp_packet(own, gateway, sport, port))
        sock.send(head + udp(own, gateway, sport + 1, sentinel, b"echo %d" % token))
        seen = []
        end = time.monotonic() + 10
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([sock], [], [], left)[0]:
                seen.append("no echo")
                break
            frame = sock.recv(2000)
            if len(frame) < 42:
                continue
            source = socket.inet_ntoa(frame[26:30])
            if source.startswith("127."):
                seen.append(f"protocol {frame[23]} from {source}")
            elif frame[23] == 6 and source == gateway and frame[47] & 0x12 == 0x12:
                seen.append(f"port {struct.unpack_from('!H', frame, 34)[0]} of the gateway answered")
            elif frame[23] == 17 and source == gateway and b"echo %d" % token in frame:
                break
        sock.close()
        return seen

    def do_flood(self, own, mac, port, token):
        """From now on a raw UDP frame to 127.0.0.1:PORT every half millisecond."""
        self.flooder = os.fork()
        if self.flooder == 0:
            try:
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                sock.bind(("eth0", 0x0800))
                frame = (bytes.fromhex(mac.replace(":", "")) + sock.getsockname()[4]
                         + b"\x08\x00" + udp(own, "127.0.0.1", 33333, port, b"raw %d" % token))
                while True:
                    try:
                        sock.send(frame)
                    except OSError:
                        pass
                    time.sleep(0.0005)
            finally:
                os._exit(1)

    def do_calm(self):
        os.kill(self.flooder, signal.SIGKILL)
        os.waitpid(self.flooder, 0)

    def do_connect(self, name, host, port):
        """Keep a TCP connection open under @name; its greeting."""
        sock = socket.create_connection((host, port), 3)
        self.open[name] = sock
        return sock.recv(100).decode().strip()

    def do_dial(self, name, host, port):
        """The same without a greeting."""
        self.open[name] = socket.create_connection((host, port), 3)

    def do_false_reset(self, name):
        """Close our half, then send a reset that is in the window, but not what the peer expects
        (RFC 5961): it answers with an acknowledgement and goes on."""
        sock = self.open[name]
        (own, sport), (host, port) = sock.getsockname(), sock.getpeername()
        sock.shutdown(socket.SHUT_WR)
        sock.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR
        sock.setsockopt(socket.IPPROTO_TCP, 20, 2)  # TCP_REPAIR_QUEUE: TCP_SEND_QUEUE
        sequence = sock.getsockopt(socket.IPPROTO_TCP, 21) & 0xffffffff  # TCP_QUEUE_SEQ
        sock.setsockopt(socket.IPPROTO_TCP, 19, 0)
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        raw.sendto(tcp_packet(own, host, sport, port, 4, sequence + 100), (host, 0))
        raw.close()

    def do_hang_up(self, *names):
        """Those connections, or all."""
        for name in names or list(self.open):
            self.open.pop(name).close()

    def do_load(self, host, port, count):
        """So many connections, one after the other, each of them reset."""
        for _ in range(count):
            with socket.create_connection((host, port), 5) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def do_exchange(self, name, timeout):
        sock = self.open[name]
        sock.settimeout(timeout)
        try:
            sock.send(b"more\n")
            return sock.recv(100).decode() or "closed"
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        except (TimeoutError, socket.timeout):
            return "timeout"


class Services:
    """TCP and UDP servers of the host side, in a process of their own."""

    def __init__(self, tcp_at, udp_at):
        self.log_read, log_write = os.pipe()
        ready_read, ready_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                self._serve(tcp_at, udp_at, log_write, ready_write)
            finally:
                os._exit(0)
        os.close(log_write)
        os.close(ready_write)
        if os.read(ready_read, 1) != b"+":
            raise RuntimeError("the test services did not start")
        os.close(ready_read)
        os.set_blocking(self.log_read, False)
        self.pending = b""

    @staticmethod
    def _serve(tcp_at, udp_at, log, ready):
        listeners, servers, clients = {}, {}, {}
        for address in tcp_at:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(64)
            listeners[sock] = address
        for address in udp_at:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(address)
            servers[sock] = address
        os.write(ready, b"+")
        while True:
            for sock in select.select([*listeners, *servers, *clients], [], [])[0]:
                if sock in listeners:
                    address = listeners[sock]
                    try:
                        client, _ = sock.accept()
                    except OSError:
                        continue
                    os.write(log, f"tcp {address[0]}:{address[1]}\n".encode())
                    try:
                        client.send(f"tcp {address[0]}:{address[1]}\n".encode())
                    except OSError:  # reset already, as by a probe
                        client.close()
                        continue
                    clients[client] = address
                elif sock in servers:
                    address = servers[sock]
                    try:
                        data, peer = sock.recvfrom(65535)
                        os.write(log, f"udp {address[0]}:{address[1]} {data[:40]!r}\n".encode())
                        sock.sendto(data if data.startswith(b"echo") else
                                    f"udp {address[0]}:{address[1]}".encode(), peer)
                    except OSError:
                        pass
                else:
                    try:
                        data = sock.recv(100)
                        if data:
                            sock.send(data)
                    except OSError:
                        data = b""
                    if not data:
                        sock.close()
                        del clients[sock]

    def log(self):
        """Lines of what arrived since the last call."""
        while True:
            try:
                data = os.read(self.log_read, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self.pending += data
        text, self.pending = self.pending.decode(), b""
        return text.splitlines()


def difference(before, after):
    """What changed, in few lines."""
    if isinstance(before, dict) and isinstance(after, dict):
        return "\n".join(f"{key}: was {str(before.get(key))[:600]}\nis {str(after.get(key))[:600]}"
                         for key in sorted({*before, *after}, key=str)
                         if before.get(key) != after.get(key))
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), "before",
                                          "after", "", "", 0, ""))
        return "\n".join(lines[:30])
    return f"was {before}\nis {after}"


# ---------------------------------------------------------------- the lab


class Lab:
    macs = {"br-app": "02:00:00:00:30:01", "br-two": "02:00:00:00:31:01"}
    gateway, container = "172.30.0.1", "172.30.0.2"
    gateway_two, container_two = "172.31.0.1", "172.31.0.2"
    mapped, unmapped, sentinel = 8088, 9090, 7007

    def __init__(self, containers=True):
        # The first process of a PID namespace ignores what it does not handle.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
        sh("mount -t tmpfs -o mode=755 lab /run")
        sh("mount -t sysfs lab-sys /sys", check=False)
        self.dir = "/run/lab"
        os.mkdir(self.dir, 0o755)
        self.source = os.environ.get("NB_SOURCE") or os.path.abspath(
            os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
        self.program = self.dir + "/nat-bridge"
        shutil.copy(os.environ["NAT_BRIDGE"], self.program)
        os.chmod(self.program, 0o755)
        self.sanitized = build_is_sanitized(self.program)
        self.rules = self.dir + "/rules.d"
        self.config = self.dir + "/config.json"
        os.umask(0o022)
        sh("ip link set lo up")
        self.agents = {}
        if containers:
            self._bridge("br-app", self.gateway, "vapp", "ctr", self.container)
            self._bridge("br-two", self.gateway_two, "vtwo", "two", self.container_two)
            host = "127.0.0.1"
            self.services = Services(
                [(host, self.mapped), (host, self.unmapped)],
                [(host, self.mapped), (host, self.unmapped), ("0.0.0.0", self.sentinel)])
        else:
            for name, address in (("br-app", self.gateway), ("br-two", self.gateway_two)):
                sh(f"ip link add {name} type bridge && ip addr add {address}/24 dev {name} && "
                   f"ip link set {name} up")
        self.token = 0
        atexit.register(self._end)

    def _end(self):
        if os.getpid() == 1:
            for pid in [a.pid for a in self.agents.values()] + (
                    [self.services.pid] if hasattr(self, "services") else []):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def _bridge(self, bridge, gateway, port, name, address):
        agent = Agent()
        self.agents[name] = agent
        mac = self.macs[bridge]
        sh(f"ip link add {bridge} address {mac} type bridge && "
           f"ip addr add {gateway}/24 dev {bridge} && ip link set {bridge} up && "
           f"ip link add {port} type veth peer name eth0 netns {agent.pid} && "
           f"ip link set {port} master {bridge} up")
        agent.call("sh", f"ip link set lo up; ip addr add {address}/24 dev eth0; "
                         f"ip link set eth0 up; ip route add default via {gateway}; "
                         f"ip neigh replace {gateway} lladdr {mac} dev eth0 nud permanent")
        peer = agent.call("sh", "cat /proc/net/dev >/dev/null; ip -br link show eth0").split()[2]
        sh(f"ip neigh replace {address} lladdr {peer} dev {bridge} nud permanent")

    # -- running the program

    def command(self, *words, rules=None, config=None):
        line = [self.program, *map(str, words)]
        if rules is not False:
            line += ["--rules", rules or self.rules]
        if config is not False:
            line += ["--config", config or self.config]
        return line

    def nb(self, *words, rules=None, config=None, prefix=(), stdin="", timeout=60, env=None,
           bare=False, **others):
        line = [*prefix, *([self.program, *words] if bare
                           else self.command(*words, rules=rules, config=config))]
        return self.execute(line, stdin, timeout, env, **others)

    def execute(self, line, stdin="", timeout=60, env=None, **others):
        started = time.monotonic()
        environment = dict(os.environ, LC_ALL="C")
        environment.update(env or {})
        try:
            done = subprocess.run(line, input=stdin.encode(), capture_output=True,
                                  timeout=timeout, env=environment, **others)
        except subprocess.TimeoutExpired as late:
            return Result(line, "timeout", str(late.stdout), str(late.stderr),
                          time.monotonic() - started)
        out = done.stdout.decode("utf-8", "backslashreplace")
        err = done.stderr.decode("utf-8", "backslashreplace")
        result = Result(line, done.returncode, out, err, time.monotonic() - started)
        if done.returncode in (-11, -6, 139, 134) or "ERROR: AddressSanitizer" in err \
                or "runtime error:" in err:
            expect(False, f"the program crashed: {result}")
        return result

    def good(self, *words, **others):
        """Run it; anything but exit 0 fails the case."""
        result = self.nb(*words, **others)
        expect(result.rc == 0, f"expected exit 0 of {result}")
        return result

    def json(self, *words, rc=0, **others):
        """Run it with --json; the object."""
        result = self.nb(*words, "--json", **others)
        if rc is not None:
            expect(result.rc == rc, f"expected exit {rc} of {result}")
        try:
            return result.json
        except ValueError as error:
            expect(False, f"no single JSON object ({error}) from {result}")
            return {}

    # -- state

    def write_rules(self, files, directory=None):
        """A fresh rules directory: {name: text, bytes or object}."""
        directory = directory or self.rules
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory, 0o755)
        for name, content in files.items():
            if isinstance(content, (dict, list)):
                content = json.dumps(content)
            if isinstance(content, str):
                content = content.encode()
            with open(f"{directory}/{name}", "wb") as file:
                file.write(content)

    @staticmethod
    def conf(device, name):
        with open(f"/proc/sys/net/ipv4/conf/{device}/{name}") as file:
            return int(file.read())

    @staticmethod
    def set_conf(device, name, value):
        with open(f"/proc/sys/net/ipv4/conf/{device}/{name}", "w") as file:
            file.write(f"{value}\n")

    def devices(self):
        return sorted(os.listdir("/proc/sys/net/ipv4/conf"))

    def ruleset(self, counters=True):
        text = re.sub(r"expires \w+", "expires N", sh("nft list ruleset"))
        if not counters:
            text = re.sub(r"packets \d+ bytes \d+", "packets N bytes N", text)
        return text

    def files(self, directory=None):
        """Every file of the rules directory with its mode, owner and content."""
        directory = directory or self.rules
        found = {}
        if not os.path.lexists(directory):
            return None
        for root, folders, names in os.walk(directory):
            for name in folders + names:
                path = os.path.join(root, name)
                info = os.lstat(path)
                content = None
                if stat.S_ISREG(info.st_mode):
                    with open(path, "rb") as file:
                        content = file.read()
                found[path] = (info.st_mode, info.st_uid, info.st_gid, info.st_ino, content)
        info = os.lstat(directory)
        found["."] = (info.st_mode, info.st_uid, info.st_gid)
        return found

    def tidy_ruleset(self):
        """The ruleset without counters, and with the elements of each set in order."""
        def order(match):
            items = re.split(r",\s*", match.group(1).strip())
            items = [re.sub(r"\s+", " ", re.sub(r" (timeout|expires) \S+", r" \1 N", item))
                     for item in items]
            return "elements = { " + ",\n".join(sorted(items)) + " }"
        return re.sub(r"elements = \{(.*?)\}", order, self.ruleset(counters=False), flags=re.S)

    def links(self):
        return {d: (self.conf(d, "route_localnet"), self.conf(d, "tag")) for d in self.devices()}

    @staticmethod
    def ingress():
        """Devices with qdisc clsact, and the names of the filters and chains at their ingress."""
        devices = [qdisc["dev"] for qdisc in json.loads(sh("tc -j qdisc show") or "[]")
                   if qdisc["kind"] == "clsact"]
        return {device: [item["options"].get("bpf_name")
                         for item in json.loads(sh(f"tc -j filter show dev {device} ingress"))
                         if "options" in item]
                + re.findall(r"chain [1-9]\d*", sh(f"tc chain show dev {device} ingress"))
                for device in devices}

    def snapshot(self, directory=None):
        return {"ruleset": self.ruleset(), "generation": generation(),
                "files": self.files(directory), "links": self.links(), "ingress": self.ingress()}

    @staticmethod
    def same(before, after, what="state", but=()):
        for key in before:
            if key in but:
                continue
            expect(before[key] == after[key],
                   f"{what}: {key} changed\n{difference(before[key], after[key])}")

    def reset(self):
        """An empty kernel and no rule files, by other means than the program's."""
        sh("nft flush ruleset")
        for device in self.devices():
            if device in ("all", "default"):
                continue
            if self.conf(device, "route_localnet"):
                self.set_conf(device, "route_localnet", 0)
            if self.conf(device, "tag"):
                self.set_conf(device, "tag", 0)
        for device in self.ingress():
            sh(f"tc qdisc del dev {device} clsact")
        shutil.rmtree(self.rules, ignore_errors=True)
        try:
            os.unlink(self.config)
        except FileNotFoundError:
            pass

    # -- probes

    def agent(self, name="ctr"):
        return self.agents[name]

    def tcp(self, port, host=None, name="ctr", timeout=3):
        return self.agents[name].call(
            "tcp", host or (self.gateway if name == "ctr" else self.gateway_two), port, timeout)

    def raw(self, name="ctr"):
        """Raw frames to 127.0.0.1, mapped and unmapped ports, and a SYN to the unmapped port
        of the gateway. What got through: [] is right."""
        self.token += 1
        own, gateway, bridge = ((self.container, self.gateway, "br-app") if name == "ctr" else
                                (self.container_two, self.gateway_two, "br-two"))
        self.services.log()
        ports = [self.unmapped, self.mapped]
        seen = self.agents[name].call("raw", own, gateway, self.macs[bridge], ports, ports,
                                      [self.unmapped], self.sentinel, self.token)
        arrived = [line for line in self.services.log() if f"raw {self.token}'" in line
                   or line.startswith("tcp ")]
        return seen + arrived

    def flooded(self, work, what):
        """Do @work() under a flood of raw frames; none of them may be delivered."""
        self.token += 1
        self.services.log()
        agent = self.agents["ctr"]
        agent.call("flood", self.container, self.macs["br-app"], self.unmapped, self.token)
        try:
            result = work()
        finally:
            agent.call("calm")
        arrived = [line for line in self.services.log() if f"raw {self.token}'" in line]
        expect(not arrived, f"{what}: {len(arrived)} frames reached the unmapped port")
        return result

    def closed(self, what="nothing unmapped is reachable"):
        """No frame to 127/8, and no SYN to the unmapped port, gets anywhere."""
        got = self.raw()
        expect(got == [], f"{what}: reached: {got}")

    def guarded(self):
        """Static: each of our devices with route_localnet stands in @bridges under a guard."""
        for device, (localnet, _) in self.links().items():
            if device in ("all", "default", "lo") or not localnet:
                continue
            text = sh("nft list table inet nat-bridge", check=False)
            members = re.search(r"set bridges \{.*?elements = \{(.*?)\}", text, re.S)
            if not members or f'"{device}"' not in members.group(1):
                return f"{device} has route_localnet=1 and is not in @bridges"
            guard = re.search(r"chain guard \{(.*?)\n\t\}", text, re.S)
            if not guard or "ip daddr 127.0.0.0/8 iifname @bridges" not in guard.group(1) \
                    or "drop" not in guard.group(1):
                return f"{device} has route_localnet=1 and there is no guard"
        return ""
