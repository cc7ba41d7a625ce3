# SPDX-License-Identifier: GPL-2.0-or-later
"""nat-bridge watch, as systemd runs it."""
from nblab import *  # noqa: F403


def last_pid():
    """Of this PID namespace: each look is a process."""
    with open("/proc/sys/kernel/ns_last_pid", encoding="ascii") as file:
        return int(file.read())


def spawned(seconds):
    """How many processes begin in that time?"""
    before = last_pid()
    time.sleep(seconds)
    return last_pid() - before


def comes_to_rest(what, seconds=20):
    """A look is due a second after the last one, at the latest."""
    expect(wait_for(lambda: spawned(1.5) == 0, seconds), f"{what}: it looks again and again")


class Watcher:
    """The program, from READY=1 on."""

    def __init__(self, lab, *words, env=None, out=None):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = f"{lab.dir}/notify-{os.urandom(4).hex()}"
        self.socket.bind(self.path)
        self.socket.settimeout(20)
        self.log = open(f"{lab.dir}/watch.log", "w+", encoding="utf-8")
        self.out = out
        output = open(out, "w", encoding="utf-8") if out else self.log
        self.process = subprocess.Popen(
            lab.command("watch", *words), stdin=subprocess.DEVNULL, stdout=output, stderr=self.log,
            env={**os.environ, "NOTIFY_SOCKET": self.path, "ASAN_OPTIONS": "detect_leaks=0",
                 **(env or {})})
        first = self.socket.recv(200).decode()
        expect(first.startswith("READY=1"), f"notified {first!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.socket.close()
        status = self.process.wait(20)
        said = self.said()
        expect("AddressSanitizer" not in said and "runtime error:" not in said, said[-3000:])
        return status

    def said(self):
        with open(self.log.name, encoding="utf-8") as file:
            return file.read()

    def status(self, key):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(rf"^{key}:\s*(\d+)", file.read(), re.M).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def is_quiet(self, seconds):
        """Did it sleep all that time?"""
        before = self.status("voluntary_ctxt_switches")
        time.sleep(seconds)
        return self.status("voluntary_ctxt_switches") == before
