#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An engine that is silent, answers nonsense, or is somebody else's: it is named, what is live
stays live, what needs it is pending, and everything else goes on."""
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402
from fakesystemd import FakeSystemd  # noqa: E402

lab = enter(__file__, containers=False)
docker = FakeEngine(lab.dir + "/docker.sock")
for variable in ("DOCKER_HOST", "CONTAINER_HOST"):
    os.environ.pop(variable, None)
OK = b"HTTP/1.1 200 OK\r\n"
SOMEBODY = 1234


def configure(**more):
    with open(lab.config, "w") as file:
        json.dump({"docker": docker.path, "podman": lab.dir + "/podman.sock",
                   "podman_networks": lab.dir + "/no-networks", **more}, file)


def fresh(**more):
    """One mapping by a name that Docker knows, one that waits for it, one without it."""
    lab.reset()
    configure(**more)
    docker.raw = None
    docker.networks = [network("agents", bridge="br-app")]
    lab.write_rules({})
    lab.good("add", "docker:agents", "80")
    lab.good("add", "docker:later", "80")
    lab.good("add", "iface:br-two", "80")


def state(name):
    return {m["network"]: m["state"] for m in lab.json("list")["mappings"]}.get(name)


def goes_on(reason, **others):
    """What must hold while Docker is as it is."""
    before = lab.ruleset(counters=False)
    began = time.monotonic()
    result = lab.good("apply", **others)
    took = time.monotonic() - began
    expect_match(reason, result.err, "the reason")
    expect(took < 15, f"it waited for {took:.1f} s")
    expect_eq(lab.ruleset(counters=False), before, "what is live stays")
    expect_eq(lab.nb("check", **others).rc, 0, "check: no drift")
    result = lab.good("add", "docker:fresh", "80", **others)
    expect_match("^pending docker:fresh", result.out, "a network that cannot be asked for")
    expect_eq(lab.json("add", "iface:br-two", "81", **others)["changed"], True, "the others go on")
    lab.good("remove", "docker:agents", "80", **others)
    expect(" . 80 counter" in lab.ruleset() and "br-app" not in lab.ruleset(), "remove by name")


def drip(connection):
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.05)


def hundred_megabytes(connection):
    connection.sendall(OK + b"Content-Length: 104857602\r\n\r\n[")
    for _ in range(100):
        connection.sendall(b" " * (1 << 20))
    connection.sendall(b"]")


def hundred_megabytes_in_chunks(connection):
    connection.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n")
    for _ in range(100):
        connection.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
    connection.sendall(b"1\r\n]\r\n0\r\n\r\n")


def says(text):
    return lambda connection: connection.sendall(text)


def chunked(text):
    return says(OK + b"Transfer-Encoding: chunked\r\n\r\n" + text)


ROWS = [
    ("says nothing", lambda connection: connection.recv(1), "did not answer"),
    ("says one byte after another", drip, "did not answer|gave an answer"),
    ("hangs up", lambda connection: None, "no HTTP"),
    ("sends 100 MB", hundred_megabytes, "16 MiB"),
    ("sends 100 MB in chunks", hundred_megabytes_in_chunks, "16 MiB"),
    ("sends half a JSON text", says(OK + b'\r\n[{"Name":"agents",'), "gave an answer"),
    ("sends another JSON text", says(OK + b'\r\n{"Name":"agents"}'), "gave an answer"),
    ("sends bytes that are no UTF-8", says(OK + b'\r\n[{"Name":"\xff\xfe"'), "gave an answer"),
    ("sends half of what it announced", says(OK + b"Content-Length: 99\r\n\r\n[]"),
     "no HTTP"),
    ("announces a negative length", says(OK + b"Content-Length: -2\r\n\r\n[]"),
     "no HTTP"),
    ("sends a chunk without a size", chunked(b"zz\r\n[]\r\n0\r\n\r\n"), "no HTTP"),
    ("sends a chunk of 2^64 bytes", chunked(b"10000000000000000\r\n[]"), "no HTTP"),
    ("sends a chunk of nearly 2^64 bytes", chunked(b"ffffffffffffffff\r\n[]"),
     "16 MiB|no HTTP"),
    ("ends in the middle of its chunks", chunked(b"2\r\n[]\r\n"), "no HTTP"),
    ("is no HTTP server", says(b"220 mail ready\r\n"), "no HTTP"),
    ("is too old to know networks", says(b"HTTP/1.1 404 Not Found\r\n\r\n404 page not found"),
     "404"),
    ("is not well", says(b"HTTP/1.1 500 Oops\r\n\r\n{}"), "500"),
]


def hostile(manner, reason):
    fresh()
    docker.raw = manner
    goes_on(reason)


table_cases(ROWS, hostile)


@case("it is somebody else's")
def _():
    fresh()
    other = FakeEngine(lab.dir + "/other.sock", SOMEBODY)
    other.networks = [network("agents", bridge="br-two")]
    configure(docker=other.path)
    goes_on("belongs to another user")
    expect_eq(other.asked, [], "it was not even asked")
    other.stop()


@case("it is rootless, or Docker Desktop's: each with a sentence of its own")
def _():
    for place, sentence in (("run/user/1234", "a rootless engine's bridges"),
                            ("home/alice/.docker/desktop", "Docker Desktop keeps")):
        fresh()
        os.makedirs(f"{lab.dir}/{place}", exist_ok=True)
        other = FakeEngine(f"{lab.dir}/{place}/docker.sock", SOMEBODY)
        goes_on(sentence, env={"DOCKER_HOST": "unix://" + other.path})
        fresh()
        configure(docker=other.path)
        goes_on(sentence)
        other.stop()


@case("it is the snap's: how to say so")
def _():
    fresh()
    os.unlink(lab.config)
    os.makedirs("/run/snap.docker")
    snap = FakeEngine("/run/snap.docker/docker.sock")
    goes_on('write "docker": "unix:///run/snap.docker/docker.sock"')
    fresh()
    configure(docker="unix:///run/snap.docker/docker.sock")
    snap.networks = docker.networks
    lab.good("apply")
    expect_eq(state("docker:agents"), "active", "as it says")
    snap.stop()


@case("systemd would start it because it is asked: it is not asked")
def _():
    systemd = FakeSystemd()
    engine = FakeEngine("/run/docker.sock")
    engine.networks = docker.networks
    for service, reason in (("inactive", "Docker is stopped"), ("failed", "Docker is stopped"),
                            ("deactivating", "Docker is stopped"),
                            ("activating", "Docker is starting")):
        systemd.states = {"docker.socket": "active", "docker.service": "active"}
        engine.asked.clear()
        fresh(docker="unix:///var/run/docker.sock")
        expect(engine.asked, "one that runs is asked")
        engine.asked.clear()
        systemd.states["docker.service"] = service
        goes_on(reason)
        expect_eq(engine.asked, [], f"{service}: asked")
    expect_match("Docker is starting", lab.nb("add", "nowhere", "80").err, "a bare name")
    # nobody but itself listens there
    systemd.states = {"docker.socket": "inactive", "docker.service": "inactive"}
    engine.networks = [network("agents", bridge="br-two")]
    lab.good("apply")
    expect(engine.asked, "not systemd's: it is asked")
    # PID 1 says nothing that makes sense: then what /run says
    for raw in (lambda connection: connection.sendall(b"REJECTED\r\n"),
                lambda connection: connection.sendall(b"OK 0\r\n" + b"\xff" * 64),
                lambda connection: connection.sendall(b"OK 0\r\nl\x02\0\x01" + b"\xff" * 64),
                lambda connection: connection.sendall(b"O" * 300), lambda connection: None):
        systemd.raw = raw
        engine.asked.clear()
        expect_match("Docker is stopped", lab.good("apply").err, "no link")
        expect_eq(engine.asked, [], "asked")
        os.symlink("0123", "/run/systemd/units/invocation:docker.service")
        lab.good("apply")
        os.unlink("/run/systemd/units/invocation:docker.service")
        expect(engine.asked, "a link: it runs")
    systemd.stop()
    engine.stop()


@case("Podman's service sleeps: its files are read, and a container is looked up by add alone")
def _():
    systemd = FakeSystemd()
    os.makedirs("/run/podman", exist_ok=True)
    podman = FakeEngine("/run/podman/podman.sock")
    systemd.states = {"podman.socket": "active", "podman.service": "inactive"}
    container = {"NetworkSettings": {"Networks": {"podman": {}}}, "HostConfig": {}}
    networks = [{"name": "podman", "driver": "bridge", "network_interface": "podman0"}]
    podman.others = {"containers/web/json": container, "networks/json": networks}
    fresh(podman="/run/podman/podman.sock")
    sh("ip link add podman0 type bridge")
    lab.good("add", "podman:podman", "90")
    expect_eq((podman.asked, state("podman:podman")), ([], "active"), "files say it")
    lab.good("add", "container:web", "91")
    expect_eq((len(podman.asked), state("container:web")), (1, "active"), "add wakes it")
    lab.good("apply")
    expect_eq((len(podman.asked), state("container:web")), (1, "active"), "apply does not")
    systemd.states["podman.service"] = "active"
    container["NetworkSettings"]["Networks"] = {}
    lab.good("apply")
    expect_eq(state("container:web"), "pending", "one that runs is asked")
    lab.good("remove", "--all-networks")
    sh("ip link delete podman0")
    systemd.stop()
    podman.stop()


@case("it is on another host: never asked, by whatever variable")
def _():
    for address in ("tcp://127.0.0.1:2375", "ssh://root@example.org", "http://127.0.0.1:2375"):
        fresh()
        goes_on("DOCKER_HOST", env={"DOCKER_HOST": address})


run(fresh)
