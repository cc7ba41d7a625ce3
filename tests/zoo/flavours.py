#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Engines that are not root's at its usual socket: a user's, Docker Desktop's, the snap's.

These are stand-ins: what each puts where people have it, a process that listens there as whoever
does, in a network namespace of its own where the real one has one, with the API's answers. The
real ones need a login session, a virtual machine, or snapd.
"""
import os
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zoo import *  # noqa: E402
from zoo import libc, CLONE_NEWNET  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402
from fakesystemd import FakeSystemd  # noqa: E402

ALICE, HOME = 4711, "/home/alice"
MAGIC = "192.168.65.254"  # host.docker.internal in Docker Desktop's machine


def prepare(lab):
    """A user with a home, and places that are this host's alone."""
    sh(f"mount -t tmpfs tmpfs /home; mount -t tmpfs tmpfs /var; mkdir -p {HOME}\n"
       f"(cat /etc/passwd; echo 'alice:x:{ALICE}:{ALICE}::{HOME}:/bin/sh') >/run/passwd\n"
       "mount --bind /run/passwd /etc/passwd")
    for name in ("DOCKER_HOST", "CONTAINER_HOST", "SUDO_USER"):
        os.environ.pop(name, None)


def agents():
    return [network("agents", "br-app")]


def engine_of_alice(path, name, networks):
    """A process of hers in a network namespace of its own, that answers at @path."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            libc.unshare(CLONE_NEWNET)
            sh("ip link add br-0123456789ab type bridge")
            with open("/proc/self/comm", "w", encoding="ascii") as file:
                file.write(name)
            engine = FakeEngine(path, ALICE)
            engine.networks = networks
            os.write(writing, b"+")
            threading.Event().wait()
        finally:
            os._exit(0)
    os.close(writing)
    expect_eq(os.read(reading, 1), b"+", "the stand-in listens")


def rootless(lab):
    prepare(lab)
    engine_of_alice(f"/run/user/{ALICE}/docker.sock", "dockerd", [network("agents", "br-0123456789ab")])


def rootless_podman(lab):
    prepare(lab)
    engine_of_alice(f"/run/user/{ALICE}/podman/podman.sock", "podman", [])
    folder = f"{HOME}/.local/share/containers/storage/networks"
    os.makedirs(folder)
    with open(folder + "/web.json", "w", encoding="utf-8") as file:
        json.dump({"name": "web", "network_interface": "podman1", "driver": "bridge"}, file)


def desktop(lab):
    prepare(lab)
    engine_of_alice(f"{HOME}/.docker/desktop/docker.sock", "com.docker.back", agents())
    relay(lab)


def relay(lab):
    """What Desktop does for its machine: connections to one address of it become the host's own."""
    lab.dials = (GATEWAY, PORT)
    container = lab.agents["ctr"]
    container.call("sh", f"ip link set lo up; ip addr add {MAGIC}/32 dev lo")
    if os.fork():
        return
    try:
        host = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/proc/{container.pid}/ns/net", os.O_RDONLY)
        libc.setns(there, CLONE_NEWNET)
        listener = socket.create_server((MAGIC, lab.mapped))
        libc.setns(host, CLONE_NEWNET)
        while True:
            client = listener.accept()[0]
            with client, socket.create_connection(("127.0.0.1", lab.mapped)) as service:
                client.sendall(service.recv(100))
    finally:
        os._exit(0)


def desktop_cured(lab):
    lab.good("remove", "docker:agents", str(PORT))
    lab.dials = (MAGIC, lab.mapped)


def configure(lab, **values):
    with open(lab.config, "w", encoding="utf-8") as file:
        json.dump(values, file)
    lab.good("apply")


def roots(lab):
    """The same network with root's own engine."""
    lab.engine = FakeEngine("/run/docker.sock")
    lab.engine.networks = agents()
    lab.good("apply")


def roots_podman(lab):
    os.makedirs("/run/networks")
    with open("/run/networks/web.json", "w", encoding="utf-8") as file:
        json.dump({"name": "web", "network_interface": "br-app", "driver": "bridge"}, file)
    configure(lab, podman_networks="/run/networks")


def snap(lab):
    prepare(lab)
    os.makedirs("/var/snap/docker/common/var-lib-docker")
    os.makedirs("/run/snap.docker")
    lab.engine = FakeEngine("/run/snap.docker/docker.sock")
    lab.engine.networks = agents()


def snap_cured(lab):
    configure(lab, docker="unix:///run/snap.docker/docker.sock")


def snap_stopped(lab):
    snap(lab)
    lab.engine.stop()


def stale(lab):
    """A user's engine that ran once: its socket is left."""
    rootless(lab)
    sh(f"rm /run/user/{ALICE}/docker.sock")
    left = socket.socket(socket.AF_UNIX)
    left.bind(f"/run/user/{ALICE}/docker.sock")
    left.close()


def stopped(lab):
    """Root's own is installed and stopped, and a user's socket is there as well."""
    rootless(lab)
    lab.systemd = FakeSystemd()
    lab.systemd.states = {"docker.socket": "active", "docker.service": "inactive"}


def started(lab):
    lab.systemd.states["docker.service"] = "active"
    roots(lab)


def mapped(name="docker:agents"):
    return lambda lab: lab.good("add", name, f"{PORT}:{lab.mapped}")


def as_told(lab):
    return lab.agents["ctr"].call("tcp", *lab.dials, 3)


def beside(lab):
    rootless(lab)
    lab.engine = FakeEngine("/run/docker.sock")
    lab.engine.networks = agents()
    mapped()(lab)


keep([
    Sick("rootless Docker (a stand-in)", "dockerd-rootless-setuptool.sh", "refused", "engine-rootless",
         mapped(), before=rootless, mapping=None, cure=roots,
         evidence=f"dockerd listens at /run/user/{ALICE}/docker.sock .*alice.*; its network namespace is not"),
    Sick("rootless Docker that does not run (a stand-in)", "a session that has ended", "refused",
         "engine-rootless", mapped(), before=stale, mapping=None, cure=roots, evidence="nobody listens"),
    Sick("rootless Podman (a stand-in)", "podman without sudo", "refused", "engine-rootless",
         mapped("podman:web"), before=rootless_podman, mapping=None, cure=roots_podman,
         evidence=f"podman listens at /run/user/{ALICE}/podman/podman.sock"),
    Sick("Docker Desktop (a stand-in)", "Linux, by its .deb", "refused", "engine-desktop", mapped(),
         before=desktop, mapping=None, cure=desktop_cured, dial=as_told,
         evidence=r"\.docker/desktop/docker\.sock .*alice"),
    Sick("the snap's Docker (a stand-in)", "snap install docker", "refused", "engine-snap", mapped(),
         before=snap, mapping=None, cure=snap_cured, evidence=r"/run/snap\.docker/docker\.sock"),
    Sick("the snap's Docker, stopped (a stand-in)", "snap stop docker", "refused", "engine-snap", mapped(),
         before=snap_stopped, mapping=None, cure=roots, evidence="/var/snap/docker"),
    Sick("root's Docker is stopped, beside a user's (a stand-in)", "systemctl stop docker", "refused", "engine",
         mapped(), before=stopped, mapping=None, cure=started, evidence="Docker is stopped"),
    Well("a user's rootless Docker beside root's (a stand-in)", beside, mapping=None),
])

run_zoo(__file__)
