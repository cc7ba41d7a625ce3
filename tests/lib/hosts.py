# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts of a Debian release with a real firewall on them, and what events do to mappings there.

    from hosts import *
    lab, host = enter_host(__file__)      # the release is the script's argument, or this machine's

The host's root is made by debootstrap, once for all tests of a build, in $NB_BUILD/roots, from
where this machine's apt gets its packages. In the lab it is seen through an overlay in memory,
so that each test has its own /etc and /run, and the firewall's programs are run in it by
chroot: their network is the lab's. nat-bridge itself is the one under test.

Each event that is tried gives a row of the table in docs/firewalls.md: with $NB_MATRIX, a
folder, it is written there.
"""

import atexit
import fcntl

from nblab import *  # noqa: F403
from nblab import bail, enter, forbid_skip, lab_is_outside
from watcher import Watcher

import nblab

__all__ = nblab.__all__ + ["enter_host", "find_root", "Host", "MAPPED", "UNMAPPED", "reached"]

PACKAGES = ("ufw,firewalld,iptables,nftables,dbus,libpam-systemd,procps,iproute2,"
            "fail2ban,ipset,redis-server,nginx-light")
# what the zoo's hosts serve, which are of this machine's release
SERVICES = ",postgresql,transmission-daemon,python3-django"
# not a package of its own before
RESOLVED = {"bullseye": ""}
MAPPED, UNMAPPED = 11434, 9090


def machine_release():
    with open("/etc/os-release") as file:
        return re.search(r"VERSION_CODENAME=(\w+)", file.read()).group(1)


def make_root(release):
    """The root of a release's host; needs the machine's network."""
    folder = os.path.join(os.environ.get("NB_BUILD") or "/tmp", "roots")
    path = os.path.join(folder, release)
    packages = (PACKAGES + RESOLVED.get(release, ",systemd-resolved") +
                (SERVICES if release == machine_release() else ""))
    os.makedirs(folder, exist_ok=True)
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # of the packages that are wanted now
        if os.path.exists(path + ".made") and open(path + ".made").read() == packages:
            return path
        shutil.rmtree(path, ignore_errors=True)
        mirror = sh("apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages'")
        # in two steps, so that packages are configured where none of them may start what it has;
        # its mounts end with the namespace
        script = ("set -e; debootstrap --foreign --variant=minbase --include=$1 $2 $3 $4\n"
                  "printf '#!/bin/sh\\nexit 101\\n' >$3/usr/sbin/policy-rc.d; chmod 755 $3/usr/sbin/policy-rc.d\n"
                  "PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $3 /debootstrap/debootstrap --second-stage")
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh",
                               packages, release, path,
                               mirror.splitlines()[0]], capture_output=True, text=True)
        if done.returncode:
            bail(f"debootstrap {release}: {done.stdout[-2000:]} {done.stderr[-500:]}")
        shutil.rmtree(path + "/var/cache/apt", ignore_errors=True)
        with open(path + ".made", "w") as file:
            file.write(packages)
    return path


def find_root():
    """The release whose host is meant; its root, made if need be, is $NB_HOST_ROOT."""
    words = [word for before, word in zip(sys.argv, sys.argv[1:])
             if not word.startswith("-") and before != "--only"]
    release = words[0] if words else machine_release()
    if lab_is_outside():
        if not shutil.which("debootstrap"):
            if forbid_skip():
                bail("no debootstrap here")
            print("1..0 # SKIP no debootstrap here")
            sys.exit(0)
        os.environ["NB_HOST_ROOT"] = make_root(release)
    return release


def enter_host(script, needs=()):
    release = find_root()
    lab = enter(script, needs=("nft", "ip", "conntrack") + tuple(needs))
    return lab, Host(lab, release, os.environ["NB_HOST_ROOT"])


def reached(lab):
    return f"tcp 127.0.0.1:{lab.mapped}"


class Host:
    """The firewall's programs in a root of their own, on the lab's network."""

    def __init__(self, lab, release, lower):
        self.lab, self.release = lab, release
        self.root = lab.dir + "/host"
        for folder in ("host", "upper", "work"):
            os.mkdir(f"{lab.dir}/{folder}")
        sh(f"mount -t overlay overlay -o lowerdir={lower},upperdir={lab.dir}/upper,"
           f"workdir={lab.dir}/work {self.root}")
        sh(f"mount -t proc proc {self.root}/proc; mount -t tmpfs tmpfs {self.root}/run;"
           f"mount --rbind /dev {self.root}/dev; mkdir -p {self.root}/run/dbus {self.root}/run/lock")
        # one nft for all: an older one crashes on what a newer one made
        os.mkdir(lab.dir + "/bin")
        with open(lab.dir + "/bin/nft", "w") as file:
            file.write(f'#!/bin/sh\nexec chroot {self.root} nft "$@"\n')
        os.chmod(lab.dir + "/bin/nft", 0o755)
        os.environ["PATH"] = lab.dir + "/bin:" + os.environ["PATH"]
        self.rows = []
        atexit.register(self.write_rows)
        self.firewall = ""
        # what a file that is restored by each case looked like
        self.etc_before = self.etc()
        self.backup = lab.dir + "/etc"
        shutil.copytree(self.root + "/etc", self.backup, symlinks=True)

    def sh(self, command, check=True, stdin=None):
        """A command of the host's."""
        return sh(["chroot", self.root, "/usr/bin/env", "-i", "LC_ALL=C",
                   "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-c", command],
                  check=check, stdin=stdin)

    def start(self, command):
        """A program of the host's that stays."""
        return subprocess.Popen(["chroot", self.root, "/usr/bin/env", "-i", "LC_ALL=C",
                                 "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-c",
                                 "exec " + command], stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def version(self, package):
        text = self.sh(f"dpkg-query -W -f '${{Version}}' {package}")
        return re.match(r"(?:\d+:)?([\d.]+)", text).group(1).rstrip(".")

    def etc(self):
        """Every file of its /etc with mode and content."""
        found = {}
        for folder, _, names in os.walk(self.root + "/etc"):
            for name in names:
                path = os.path.join(folder, name)
                info = os.lstat(path)
                content = b""
                if stat.S_ISREG(info.st_mode):
                    with open(path, "rb") as file:
                        content = file.read()
                found[path[len(self.root):]] = (info.st_mode, content)
        return found

    def reset(self):
        """An empty kernel, the host's /etc as installed."""
        self.lab.reset()
        sh("conntrack -F 2>/dev/null", check=False)
        if self.etc() != self.etc_before:
            shutil.rmtree(self.root + "/etc")
            shutil.copytree(self.backup, self.root + "/etc", symlinks=True)

    # -- what is there

    def dump(self):
        """Everybody's rules but for counters, in nft's words and in iptables'. An empty table of
        iptables is as none: who looks makes it."""
        text = self.lab.tidy_ruleset()
        saved = self.sh("iptables-save 2>/dev/null", check=False)
        saved = re.sub(r"\[\d+:\d+\]", "[0:0]", re.sub(r"(?m)^#.*\n", "", saved))
        return {"nft": text, "iptables-save": saved}

    def openers(self):
        """Openers by chain."""
        counts = {}
        chain = table = None
        for line in sh("nft list ruleset 2>/dev/null").splitlines():
            if line.startswith("table "):
                table = " ".join(line.split()[1:3])
            elif line.startswith("\tchain "):
                chain = f"{table} {line.split()[1]}"
            elif (table != "inet nat-bridge" and "127.0.0.0/8" in line and
                  re.search(r"mark .*0x10000000 == 0x10000000 .*accept", line)):
                counts[chain] = counts.get(chain, 0) + 1
        return counts

    def warnings(self, *words):
        return [w for w in self.lab.json(*words, rc=None)["warnings"] if "listens" not in w]

    # -- what a container sees

    def dial(self, port=MAPPED, timeout=1.5):
        sh("conntrack -F 2>/dev/null", check=False)
        answer = self.lab.tcp(port, timeout=timeout)
        return "reached" if answer.startswith("tcp ") else "dropped" if answer == "timeout" \
            else "rejected" if answer.startswith("error") or answer == "refused" else answer

    def plain(self):
        """What a container gets with a DNAT rule and route_localnet alone."""
        sh("nft -f -", stdin=f"""table ip plain {{
            chain prerouting {{
                type nat hook prerouting priority -110; policy accept;
                iifname "br-app" tcp dport {MAPPED} dnat to 127.0.0.1:{self.lab.mapped}
            }}
        }}""")
        self.lab.set_conf("br-app", "route_localnet", 1)
        result = self.dial()
        self.lab.set_conf("br-app", "route_localnet", 0)
        sh("nft delete table ip plain")
        return result

    def add(self, **others):
        return self.lab.good("add", "br-app", f"{MAPPED}:{self.lab.mapped}", **others)

    # -- events

    def event(self, name, work, silent=False, without=None, then=("reached",),
              warned=None):
        """Do @work() to the firewall while our mapping is live, then one apply. A row of the
        table. @silent: until then nothing arrives at all. @warned: the mapping does not work then, and a warning must match."""
        lab = self.lab
        if not silent:
            lab.closed(f"{name}: before")
        lab.flooded(work, name)
        after = self.dial()
        lab.flooded(lambda: lab.good("apply"), f"{name}: apply")
        applied = self.dial()
        row = (self.firewall, name, without or "", after, applied)
        self.rows.append(row)
        note(" | ".join(row))
        expect(applied in then, f"{name}: {applied} after one apply")
        expect(all(count == 1 for count in self.openers().values()),
               f"{name}: openers are doubled: {self.openers()}")
        expect_eq(lab.nb("check").rc, 0, f"{name}: check after apply")
        before = generation()
        lab.good("apply")
        expect_eq(generation(), before, f"{name}: a second apply changes nothing")
        found = self.warnings("check")
        if warned:
            expect_match(warned, " ".join(found), f"{name}: check says why")
        else:
            expect_eq(found, [], f"{name}: nothing to say")
        lab.closed(f"{name}: afterwards")
        expect(self.dial(UNMAPPED, 0.7) != "reached", f"{name}: the unmapped port is closed")
        return found

    def undone(self, reload, bridges=("br-app", "br-two", "br-three")):
        """Twenty mappings on three bridges, a reload in the middle, and all removed: nothing
        is left, in the kernel and in /etc."""
        lab = self.lab
        if not os.path.exists("/sys/class/net/br-three"):
            sh("ip link add br-three type bridge; ip addr add 172.32.0.1/24 dev br-three; "
               "ip link set br-three up")
        # some put their chains into another order by that
        reload()
        self.dump()
        before, etc, links = self.dump(), self.etc(), lab.links()
        for number in range(20):
            if number == 10:
                reload()
            lab.good("add", bridges[number % 3], f"{8100 + number}:{lab.mapped}")
        lab.good("apply")
        expect_eq(self.dial(8109), "reached", "one from before the reload")
        expect_eq(self.dial(8112), "reached", "one from behind it")
        for number in range(20):
            lab.good("remove", bridges[number % 3], f"{8100 + number}")
        expect_eq(lab.links(), links, "route_localnet and tags")
        after = self.dump()
        for key in before:
            expect(before[key] == after[key], f"{key}: {difference(before[key], after[key])}")
        now = self.etc()
        changed = sorted(path for path in {*etc, *now} if etc.get(path) != now.get(path))
        expect_eq(changed, [], "files of /etc")

    def watched(self, *works, rounds=4):
        """@works, again and again under a flood, beside the watcher: what they break is mended
        each time without an apply."""
        lab = self.lab

        def again():
            for number in range(rounds):
                for work in works:
                    work()
                    expect(wait_for(lambda: lab.nb("check").rc == 0, 30, 0.05),
                           f"round {number}: {lab.nb('check')}")
        with Watcher(lab) as watcher:
            lab.flooded(again, "beside the watcher")
            expect_eq(self.dial(), "reached", "afterwards")
            lab.closed("afterwards")
            expect("ended before" not in watcher.said(), watcher.said())
        expect(all(count == 1 for count in self.openers().values()),
               f"openers are doubled: {self.openers()}")

    def write_rows(self):
        folder = os.environ.get("NB_MATRIX")
        if folder and os.getpid() == 1:
            os.makedirs(folder, exist_ok=True)
            name = os.path.basename(sys.argv[0]).split(".")[0]
            with open(f"{folder}/{name}-{self.release}.json", "w") as file:
                json.dump(self.rows, file, indent=1)
