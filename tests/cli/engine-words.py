#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `add` says of an engine's networks and containers: the nearest names, where another engine
is, what a bridge is called, and what will bite there."""
import os
import pwd
import socket
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402

lab = enter(__file__, containers=False)
docker = FakeEngine(lab.dir + "/docker.sock")
for variable in ("DOCKER_HOST", "CONTAINER_HOST", "SUDO_USER"):
    os.environ.pop(variable, None)
INTERNAL = "is internal: dial that network's own gateway there"


def fresh(**more):
    lab.reset()
    lab.write_rules({})
    with open(lab.config, "w") as file:
        json.dump({"docker": docker.path, "podman": lab.dir + "/podman.sock",
                   "podman_networks": lab.dir + "/networks", **more}, file)
    docker.networks = [network("agents", bridge="br-app", Internal=True),
                       network("web", bridge="br-two")]
    docker.others = {}


def container(name, **more):
    return {"Names": ["/" + name], "Ports": [], **more}


def warnings(*words, rc=0):
    return "\n".join(lab.json(*words, rc=rc)["warnings"])


@case("a container that no engine has: the nearest name, and who could not be asked")
def _():
    fresh()
    docker.others = {r"containers/json\?all": [container("web-server"), container("other")]}
    text = warnings("add", "container:web-serve", "80")
    expect_match("Docker has no container web-serve; there is web-server", text, "nearest")
    expect("Podman" not in text, f"there is no trace of Podman: {text}")
    docker.asked.clear()
    lab.good("apply")
    expect(not any("all=" in path for path in docker.asked), "nobody reads it: not asked")
    fresh()
    os.mkdir(lab.dir + "/networks")
    text = warnings("add", "container:nobody", "80")
    expect_match("Docker has no container nobody; Podman does not answer at", text, "Podman")
    expect_match("podman.socket", text, "and the cure")
    os.rmdir(lab.dir + "/networks")


@case("a bare word, and a Docker that is not root's: where it is, and what to do")
def _():
    fresh(docker="unix:///run/docker.sock")
    result = lab.nb("add", "agents", "80")
    expect_match("; Docker is not running", result.err, "no trace of another")
    rows = [("/run/snap.docker/docker.sock", 'write "docker": "unix:///run/snap.docker', {}),
            ("/run/user/1234/docker.sock", "a rootless engine's bridges", {})]
    home = pwd.getpwnam("nobody").pw_dir
    for path, sentence, env in rows:
        os.makedirs(os.path.dirname(path))
        other = FakeEngine(path)
        result = lab.nb("add", "agents", "80", env=env)
        expect_eq(result.rc, 1, "refused")
        expect_match(sentence, result.err, path)
        expect_match(re.escape(path), result.err, "where")
        expect_eq(other.asked, [], "not asked")
        other.stop()
        os.rmdir(os.path.dirname(path))
    desktop = lab.dir + "/home/.docker/desktop"
    os.makedirs(desktop)
    other = FakeEngine(desktop + "/docker.sock")
    result = lab.nb("add", "agents", "80", env={"HOME": lab.dir + "/home"})
    expect_match("Docker Desktop keeps its containers in a virtual machine", result.err, "Desktop")
    # behind sudo it is the home of who called it
    result = lab.nb("add", "agents", "80", env={"HOME": lab.dir + "/home", "SUDO_USER": "nobody"})
    expect("Desktop" not in result.err, f"{home}: {result}")
    other.stop()


@case("an engine's bridge by its interface: its name, and what is known of it")
def _():
    for word in ("br-app", "iface:br-app"):
        fresh()
        docker.others = {"containers/json$": [container("shop", Ports=[
            {"IP": "0.0.0.0", "PublicPort": 8088, "PrivatePort": 80, "Type": "tcp"}])]}
        text = warnings("add", word, "8088")
        expect_match("br-app is Docker's network agents: name it docker:agents", text, "hint")
        expect_match("docker:agents " + INTERNAL, text, "internal")
        expect_match("container shop publishes 8088/tcp: what iface:br-app dials", text, "port")
    expect("agents" not in warnings("add", "iface:br-two", "90"), "another")


@case("a pattern: each internal network that it matches, and no other")
def _():
    fresh()
    docker.networks.append(network("back", bridge="br-back", Internal=True))
    text = warnings("add", "docker:*", "80", "--except", "back")
    expect_eq(text.count(INTERNAL), 1, text)
    expect_match("docker:agents " + INTERNAL, text, "which")


@case("what a container publishes on the target's port is no service of the host")
def _():
    fresh()
    proxy = socket.create_server(("0.0.0.0", 8099))
    text = warnings("add", "docker:web", "8099")
    expect_match("the service on port 8099/tcp listens on every address", text, "a service")
    fresh()
    docker.others = {"containers/json$": [container("shop", Ports=[
        {"IP": "0.0.0.0", "PublicPort": 8099, "PrivatePort": 80, "Type": "tcp"}])]}
    text = warnings("add", "docker:web", "8099")
    expect_match("port 8099/tcp of this host is what container shop publishes", text, "a container")
    expect("the service on port" not in text and "now goes to" not in text, text)
    proxy.close()


@case("a pattern that meets a bridge which leads outside: the network, and how to leave it out")
def _():
    fresh()
    sh("ip link add br-lan type bridge && ip address add 192.0.2.1/24 dev br-lan && "
       "ip link set br-lan up && ip route add default via 192.0.2.2")
    docker.networks.append(network("lan", bridge="br-lan"))
    error = lab.json("add", "docker:*", "80", rc=1)["error"]
    expect_eq(error["code"], "external", "code")
    expect_match(r"docker:\* matches lan, but .*; --except lan .*leaves it out", error["message"],
                 "add")
    expect("--allow-external" not in error["message"], "opening the host is no cure for that")
    lab.good("add", "docker:*", "80", "--except", "lan")
    lab.write_rules({"a.json": {"mappings": [{"network": "docker:*", "port": 81}]}})
    error = lab.json("apply", rc=1)["error"]
    expect_match(r'docker:\* matches lan, .*"except": \["docker:lan"\]', error["message"], "apply")
    error = lab.json("add", "docker:lan", "80", rc=1)["error"]
    expect_match("--allow-external", error["message"], "by its own name")
    sh("ip link delete br-lan")


run(fresh)
