#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the system's log hears of changes: what was done, and by whom."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402

lab = enter(__file__, containers=False)
# a /dev of the command's own, with a socket of ours for its log
PREFIX = ("unshare", "--mount", "sh", "-c",
          "mount -t tmpfs dev /dev && mknod -m 666 /dev/null c 1 3 && "
          f"ln -s {lab.dir}/log /dev/log && exec \"$@\"", "sh")
# who logs waits for its reader, who comes when it is done
with open("/proc/sys/net/unix/max_dgram_qlen", "w", encoding="ascii") as setting:
    setting.write("100")
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind(f"{lab.dir}/log")
log.setblocking(False)


def heard():
    """What was logged since the last time: (priority, text without the date)."""
    found = []
    while True:
        try:
            text = log.recv(4096).decode("utf-8", "backslashreplace")
        except BlockingIOError:
            return found
        match = re.match(r"<(\d+)>.*? (nat-bridge\[\d+\]: )(.*)", text.rstrip("\0\n"))
        expect(match, f"an odd line: {text!r}")
        found.append((int(match.group(1)) & 7, match.group(3)))


def logged(*words, **others):
    lab.good(*words, prefix=PREFIX, **others)
    return heard()


@case("each change is told, with its target and who made it")
def _():
    lab.reset()
    lines = logged("add", "br-app", "8080", "53:127.0.0.54:53/udp",
                   env={"SUDO_USER": "alice", "SUDO_UID": "1000"})
    expect_eq([priority for priority, _ in lines], [5, 5], "notices")
    texts = "\n".join(text for _, text in lines)
    for part in ("added iface:br-app 8080/tcp -> 127.0.0.1:8080",
                 "added iface:br-app 53/udp -> 127.0.0.54:53", "uid 0, sudo by alice (1000)"):
        expect(part in texts, f"{part} in {texts}")
    lines = logged("add", "br-app", "8081", "--runtime", "--for", "1h")
    expect(", runtime" in lines[0][1] and " until 2" in lines[0][1], f"{lines}")
    expect("sudo" not in lines[0][1] and "uid 0" in lines[0][1], f"{lines}")
    lines = logged("remove", "br-app", "8080")
    expect(len(lines) == 1 and "removed iface:br-app 8080/tcp" in lines[0][1], f"{lines}")
    lines = logged("flush")
    expect_eq(len(lines), 3, f"{lines}")
    for text, part in zip(sorted(text for _, text in lines),
                          ("flushed", "removed iface:br-app 53/udp -> 127.0.0.54:53",
                           "removed iface:br-app 8081/tcp -> 127.0.0.1:8081, runtime")):
        expect(text.startswith(part), f"{part}: {lines}")
    lines = logged("apply")
    expect_eq(len(lines), 2, f"{lines}")
    expect("applied iface:br-app 53/udp" in lines[0][1], f"{lines}")
    expect("restored table inet nat-bridge" in lines[1][1], f"{lines}")
    lines = logged("add", "br-app", "53:127.0.0.53:53/udp", "--replace")
    expect(["added iface:br-app 53/udp -> 127.0.0.53:53", "removed iface:br-app 53/udp -> 127.0.0.54:53"]
           == [text.split(" (")[0] for _, text in lines], f"{lines}")


@case("apply tells the difference, and what is put back")
def _():
    lab.reset()
    sh("nft -f -", stdin="""table inet site {
	chain input { type filter hook input priority 0; policy drop; }
}""")
    lab.good("add", "br-app", "8080", "8081")
    with open(f"{lab.rules}/more.json", "w", encoding="ascii") as file:
        json.dump({"version": 1, "mappings": [{"network": "iface:br-app", "port": 9000}]}, file)

    def starts(*words):
        return [text.split(" (")[0] for _, text in logged(*words)]
    expect_eq(starts("apply"), ["applied iface:br-app 9000/tcp -> 127.0.0.1:9000"], "one more")
    os.unlink(f"{lab.rules}/more.json")
    expect_eq(starts("apply"), ["removed iface:br-app 9000/tcp -> 127.0.0.1:9000"], "one less")
    sh("nft flush chain inet site input")
    expect_eq(starts("apply"), ["restored the opener in inet site input"], "an opener")
    sh("tc filter del dev br-app ingress")
    expect_eq(starts("apply"), ["restored the filter at the ingress of br-app"], "a filter")
    sh("nft flush set inet nat-bridge bridges")
    guard = starts("apply")
    expect("restored the guard of br-app" in guard[-1] and len(guard) == 1, f"{guard}")
    sh("nft flush set inet nat-bridge accepted")
    expect_eq(starts("apply"), [f"applied iface:br-app {port}/tcp -> 127.0.0.1:{port}"
                                for port in (8080, 8081)], "elements")
    sh("nft delete table inet nat-bridge")
    lines = starts("apply")
    expect_eq(len(lines), 3, f"{lines}")
    expect(lines[-1].startswith("restored table inet nat-bridge"), f"{lines}")
    sh("nft delete table inet site")


@case("what changes nothing is not told")
def _():
    lab.reset()
    lab.good("add", "br-app", "8080")
    for words in (("add", "br-app", "8080"), ("apply",), ("check",), ("list",),
                  ("remove", "br-app", "9"), ("add", "br-app", "81", "--dry-run"),
                  ("flush", "--dry-run")):
        expect_eq(logged(*words), [], f"{words}")


@case("many are counted, and what the environment says is cleaned")
def _():
    lab.reset()
    lines = logged("add", "br-app", *map(str, range(1000, 1030)),
                   env={"SUDO_USER": "eve\n<0>forged: yes", "SUDO_UID": "1\n2"})
    expect_eq(len(lines), 21, "lines")
    for i in range(20):
        expect(f"added iface:br-app {1000 + i}/tcp -> " in lines[i][1], f"{lines[i]}")
    expect("added 10 more mappings, 30 in all" in lines[20][1] and "\n" not in lines[20][1], f"{lines}")


run(lab.reset)
