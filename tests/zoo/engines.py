#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks of a real dockerd and a real Podman, and what people do to them."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from zoo import *  # noqa: E402

COMPOSE = """version: "2"
services:
  one:
    image: box:1
    command: sleep 100000
"""


def engine(lab, command):
    """A function of tests/lib/engines.sh."""
    return sh(["bash", "-c", f". {lab.source}/tests/lib/engines.sh; tap_ended=1; T=/run/lab; {command}"])


def make_lab():
    """No containers but the engines'; they keep more than files in /run, /var and /etc."""
    lab = Lab(containers=False)
    # a /sys of the lab hides the control groups, of which there are two above each other
    sh("""umount /sys; umount /sys; sysctl -qw net.ipv4.ip_forward=1; mount -t tmpfs tmpfs /var/lib
        mkdir -p /run/netns /run/lab/etc /run/lab/work
        mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/lab/etc,workdir=/run/lab/work /etc""")
    for name in ("DOCKER_HOST", "CONTAINER_HOST"):
        os.environ.pop(name, None)
    lab.service = Listener("127.0.0.1", lab.mapped)
    return lab


def docker(*options):
    def work(lab):
        engine(lab, f"docker_start {' '.join(options)} </dev/null >/dev/null 2>&1")
        sh("docker network create agents; docker network create other")
        box("web", "agents")
    return work


def box(name, network, *options):
    sh(f"docker run -d --name {name} --network {network} {' '.join(options)} box:1 sleep 100000")


def address(name):
    return sh(f"docker inspect -f '{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}}{{{{end}}}}' {name}").strip()


def gateway(network="agents"):
    return sh(f"docker network inspect -f '{{{{(index .IPAM.Config 0).Gateway}}}}' {network}").strip()


def docker_dial(address=None, name="web", port=PORT):
    """From a container that stays."""
    def work(lab):
        where = address or gateway()
        done = subprocess.run(["docker", "exec", name, "/bin/sh", "-c",
                               f"busybox timeout 4 nc -w 2 {where} {port} </dev/null"], text=True, capture_output=True)
        said = done.stdout.strip() + done.stderr
        return (done.stdout.strip() or
                ("refused" if "refused" in said else "timeout" if "timed out" in said else
                 "error 113" if "unreachable" in said or "No route" in said else
                 "timeout" if not said else said))
    return work


def mapped(network="docker:agents", words=None):
    return lambda lab: lab.good("add", network, words or f"{PORT}:{lab.mapped}")


def both(*works):
    def work(lab):
        for one in works:
            one(lab)
    return work


def published_without_proxy(lab):
    """What one sees on the host at 127.0.0.1:6000 is the container, by a translation of the engine's."""
    box("pub", "other", "-p", "127.0.0.1:6000:80")
    lab.good("add", "docker:agents", f"{PORT}:6000")


def recreated(network):
    """As the mend says: with the address of the network that is mapped."""
    sh("docker rm -f lost")
    box("lost", network, "--add-host", f"host.docker.internal:{gateway(network)}")


def compose(lab, *words):
    os.makedirs(lab.dir + "/proj", exist_ok=True)
    with open(lab.dir + "/proj/docker-compose.yml", "w", encoding="utf-8") as file:
        file.write(COMPOSE)
    sh(["docker-compose", "--project-directory", lab.dir + "/proj", "-f",
        lab.dir + "/proj/docker-compose.yml", *words])


def proj_dial(lab):
    name = sh("docker ps --format '{{.Names}}' --filter name=proj").split()[0]
    return docker_dial(gateway("proj_default"), name)(lab)


def podman(lab, command):
    return engine(lab, "lab_podman " + command)


def podman_networks(lab):
    engine(lab, "podman_prepare")
    podman(lab, "network create web")
    podman_box(lab)


def podman_box(lab):
    podman(lab, "run -d --name box --network web --ulimit nofile=512:512 --ulimit nproc=512:512 "
           "localhost/box:1 sleep 100000 </dev/null >/dev/null 2>&1")


def podman_dial(lab):
    address = re.search(r'"gateway": "([\d.]+)"', podman(lab, "network inspect web")).group(1)
    pid = podman(lab, "inspect -f '{{.State.Pid}}' box").strip()
    said = subprocess.run(["nsenter", "-t", pid, "-n", "timeout", "4", "busybox", "nc", "-w", "2", address, str(PORT)],
                          stdin=subprocess.DEVNULL, text=True, capture_output=True)
    return said.stdout.strip() or ("refused" if "refused" in said.stderr else "timeout")


def podman_anew(lab):
    podman(lab, "rm -f -t 0 box")
    podman(lab, "network rm web")
    podman(lab, "network create first")  # which takes the name of the old one's bridge
    podman(lab, "network create web")
    podman_box(lab)


keep([
    Sick("a container on another network of Docker's", "depends_on is no network",
         "refused", ("wrong-network", "not-mapped"), lambda lab: box("stray", "other"),
         before=both(docker(), mapped()), mapping=None, ask=("container:stray", str(PORT)),
         dial=lambda lab: docker_dial(gateway("other"), "stray")(lab)),
    Sick("`docker compose down`, `up`", "the bridge has another name", "refused",
         "not-applied", lambda lab: (compose(lab, "down"), compose(lab, "up", "-d")),
         before=both(docker(), lambda lab: compose(lab, "up", "-d"), mapped("docker:proj_default")),
         mapping=None, dial=proj_dial, also=("route-localnet", "guard")),
    Sick("host.docker.internal that is another host's address", "extra_hosts by hand", "no route",
         "resolves", lambda lab: box("lost", "agents", "--add-host",
                                     "host.docker.internal:172.31.255.9"),
         before=both(docker(), mapped()), mapping=None,
         dial=docker_dial("host.docker.internal", "lost"), evidence="172.31.255.9",
         cure=lambda _: sh("docker rm -f lost") and box("lost", "agents", "--add-host",
                                                        "host.docker.internal:host-gateway")),
    Sick("host.docker.internal by way of another network of the container", "compose: frontend and backend, of "
         "which one is mapped", "refused", "resolves",
         lambda _: (box("lost", "other", "--add-host", "host.docker.internal:host-gateway"),
                    sh("docker network connect zone lost")),
         before=lambda lab: (docker()(lab), sh("docker network create zone"), mapped("docker:zone")(lab)),
         mapping=None, works=False, dial=docker_dial("host.docker.internal", "lost"),
         evidence="in container lost host.docker.internal is .* through br-.*, where 11434/tcp is not mapped",
         cure=lambda _: recreated("zone")),
    Sick("one container of two is dropped", "an address that somebody else had when it was banned", "timeout",
         "firewall", lambda _: sh(f"iptables-nft -t mangle -A PREROUTING -s {address('second')} -j DROP"),
         before=both(docker(), mapped(), lambda _: box("second", "agents")), mapping=None,
         dial=lambda lab: docker_dial(name="second")(lab), evidence="mangle.*from container second"),
    Sick("Docker publishes the same port", "two who want one number", "reached", "published",
         lambda _: box("twin", "other", "-p", f"{PORT}:80"), before=both(docker(), mapped()),
         mapping=None, dial=docker_dial(), warns=True, cure=lambda _: sh("docker rm -f twin")),
    Sick("a port that a container publishes, without the proxy", "dockerd --userland-proxy=false", "timeout",
         "service-hangs", published_without_proxy, before=both(docker("--userland-proxy=false")), mapping=None,
         dial=docker_dial(), evidence="dockerd .*only keeps port 6000.*not taken",
         cure=lambda lab: lab.good("add", "--replace", "docker:agents", f"{PORT}:{lab.mapped}")),
    Sick("`podman network rm`, `create`", "another bridge", "refused", "not-applied",
         podman_anew, before=both(podman_networks, mapped("podman:web")), mapping=None,
         dial=podman_dial, also=("route-localnet", "guard")),
    Well("Docker, a network of its own", both(docker(), mapped()), mapping=None, dial=docker_dial()),
    Well("Docker, by host.docker.internal", both(docker(), mapped(), lambda _: box(
        "inner", "agents", "--add-host", "host.docker.internal:host-gateway")), mapping=None,
        dial=docker_dial("host.docker.internal", "inner")),
    Well("Podman", both(podman_networks, mapped("podman:web")), mapping=None, dial=podman_dial),
])

run_zoo(__file__, needs=("dockerd", "docker", "docker-compose", "podman", "busybox", "runc"),
        make_lab=make_lab, together=1)
