#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion: what the program offers, and what bash, zsh and fish make of it."""
import os
import pty
import select
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from fakeengine import FakeEngine, network  # noqa: E402

lab = enter(__file__, containers=False)
docker = FakeEngine(lab.dir + "/docker.sock")
SCRIPTS = lab.source + "/contrib/completions/"
# the default places, so that the shells' command lines are those of a person
subprocess.run("mkdir -p /run/etc /run/work && mount -t overlay overlay "
               "-o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work /etc && "
               "rm -rf /etc/nat-bridge && mkdir -p /etc/nat-bridge/rules.d",
               shell=True, check=True)
os.environ["PATH"] = lab.dir + ":" + os.environ["PATH"]
for variable in ("DOCKER_HOST", "CONTAINER_HOST"):
    os.environ.pop(variable, None)
lab.rules, lab.config = "/etc/nat-bridge/rules.d", "/etc/nat-bridge/config.json"


def fresh():
    lab.reset()
    lab.write_rules({})
    with open(lab.config, "w") as file:
        json.dump({"docker": docker.path, "podman": lab.dir + "/none.sock",
                   "podman_networks": lab.dir + "/none"}, file)
    docker.networks = [network("agents", bridge="br-app"), network("proj_a", bridge="br-a"),
                       network("host", driver="host")]


def offered(*words, program=None, prefix=(), **others):
    """{candidate: description}"""
    done = subprocess.run([*prefix, program or lab.program, "complete", "--", *words],
                          capture_output=True, text=True, **others)
    expect_eq((done.returncode, done.stderr), (0, ""), f"complete {words}")
    return dict(line.split("\t") if "\t" in line else (line, "")
                for line in done.stdout.splitlines())


@case("commands and options are those of the tables")
def _():
    fresh()
    got = offered("")
    expect_eq(set(got), {"add", "remove", "list", "apply", "check", "doctor", "flush", "status",
                         "verify", "watch"},
              "commands")
    expect(all(got.values()), f"each with its summary: {got}")
    expect_eq(set(offered("r")), {"remove", "rm"}, "an alias that is being typed")
    for command in got:
        text = lab.nb(command, "--help", bare=True).out
        expect_eq(set(offered(command, "-")), set(re.findall(r"--[a-z-]+", text.split(
            "Options:")[1].split("Services")[0])), f"options of {command}")
    expect("--json" not in offered("add", "--json", "-"), "one that is given is not offered")
    expect("--except" in offered("add", "--except", "a", "-"), "one that repeats is")
    expect_eq(offered("add", "--", "-"), {}, "behind -- there are none")
    expect_eq(offered("nonsense", "x", ""), {}, "an unknown command")
    expect("complete" not in lab.nb("--help", bare=True).out, "itself it does not show")


@case("arguments of options")
def _():
    fresh()
    expect_eq(list(offered("list", "--rules", "")), [":directories"], "--rules")
    expect_eq(list(offered("list", "--config=")), [":files"], "--config=")
    expect("2h" in offered("add", "--for", ""), "--for")
    expect("--for=2h" in offered("add", "--for="), "--for=")
    expect("agents" in offered("add", "docker:*", "80", "--except", ""), "--except")
    expect("br-app" in offered("add", "--for", "2h", ""), "behind one comes the next word")


@case("networks, services, and what is mapped")
def _():
    fresh()
    got = offered("add", "")
    expect({"agents", "proj_a", "br-app", "br-two"} <= set(got), f"networks: {got}")
    expect("host" not in got and "docker:agents" not in got, f"not these: {got}")
    expect({"docker:agents", "docker:*", "docker:proj_a"} <= set(offered("add", "docker:")),
           "with a prefix")
    expect("iface:br-two" in offered("add", "iface:"), "interfaces with a prefix")
    got = offered("add", "agents", "")
    expect("ollama" in got and "11434/tcp" in got["ollama"], f"services: {got}")
    expect("postgres" in offered("add", "agents", "postgres"), "also their other names")
    expect("ollama" not in offered("add", "agents", "ollama", ""), "none twice")
    lab.good("add", "agents", "80", "53:127.0.0.54:53/udp")
    lab.good("add", "br-two", "81", "--runtime")
    expect_eq(set(offered("remove", "")), {"agents", "br-two"}, "stored networks")
    expect_eq(set(offered("list", "docker:")), {"docker:agents"}, "with a prefix")
    expect_eq(set(offered("status", "docker:")), {"docker:agents"}, "the same of status")
    expect_eq(offered("rm", "agents", ""), {"80/tcp": "leads to 127.0.0.1:80",
                                            "53/udp": "leads to 127.0.0.54:53"}, "its ports")
    expect_eq(set(offered("doctor", "")), {"agents", "br-two"}, "networks for doctor")
    expect_eq(set(offered("doctor", "agents", "")), {"80/tcp", "53/udp"}, "and ports of one")
    expect_eq(offered("doctor", "agents", "80/tcp", ""), {}, "it takes one")
    expect_eq(set(offered("remove", "docker:agents", "80/tcp", "")), {"53/udp"}, "none twice")
    expect_eq(set(offered("remove", "br-two", "")), {"81/tcp"}, "a runtime mapping's")
    expect_eq(offered("remove", "agents", "--all", ""), {}, "behind --all nothing is missing")
    expect_eq(offered("apply", ""), {}, "apply takes nothing")


@case("it changes nothing, takes no lock, and fails at nothing")
def _():
    fresh()
    lab.good("add", "agents", "80")
    before = lab.snapshot()
    user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    expect("agents" in offered("remove", "", prefix=user), "an ordinary user")
    expect_eq(set(offered("remove", "agents", "", prefix=user)), {"80/tcp"}, "what is in files")
    with open(lab.rules + "/bad.json", "w") as file:
        file.write("{")
    with open(lab.config, "w") as file:
        file.write("{")
    expect("agents" in offered("remove", ""), "a bad file, a bad configuration")
    os.unlink(lab.rules + "/bad.json")
    expect_eq(offered("--rules", "/nowhere", "remove", ""), {}, "no rules directory")
    offered()
    offered("add", "\x1b[31m", "\xff", "")
    offered(*["x"] * 200)
    lab.same(before, lab.snapshot(), "afterwards", but=("files",))
    with open(lab.config, "w") as file:
        json.dump({"docker": docker.path}, file)
    docker.stop()
    expect("br-app" in offered("add", ""), "no engine")
    docker.start()


# ---------------------------------------------------------------- the shells


def need(tool):
    if not shutil.which(tool):
        skip(f"no {tool} here")


BASH = r"""
source "$SCRIPT"
COMP_LINE=$1 COMP_POINT=${#1}
compopt() { echo "compopt $*"; }
_nat_bridge
printf '%s\n' "${COMPREPLY[@]}"
"""

ZSH = r"""
zmodload zsh/zpty
fpath=("$SCRIPTS" $fpath)
autoload -Uz compinit; compinit -u -d "$DUMP"
# what would be shown, instead of a menu
compadd() {
	local -a hits; local -i described
	[[ ${@[(I)-O|-A|-D]} -gt 0 ]] && { builtin compadd "$@"; return }
	builtin compadd -O hits "$@"
	print -rl -- $hits >> "$OUT"
	builtin compadd "$@"
}
"""


def bash(line):
    need("bash")
    done = subprocess.run(["bash", "--norc", "-c", BASH, "bash", line], capture_output=True,
                          text=True, env={**os.environ, "SCRIPT": SCRIPTS + "nat-bridge.bash"})
    expect_eq(done.stderr, "", f"bash: {line}")
    return done.stdout.split("\n")[:-1]


def fish(line):
    need("fish")
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {SCRIPTS}nat-bridge.fish; complete -C $argv[1]",
         line], capture_output=True, text=True,
        env={**os.environ, "HOME": lab.dir, "TERM": "dumb"})
    expect_eq(done.stderr, "", f"fish: {line}")
    return [one.split("\t")[0] for one in done.stdout.splitlines()]


def zsh(line):
    """zsh in a terminal of its own: what its completion adds."""
    need("zsh")
    out = lab.dir + "/zsh.out"
    with open(out, "w"):
        pass
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(SCRIPTS=SCRIPTS, OUT=out, DUMP=lab.dir + "/zcompdump", HOME=lab.dir,
                          TERM="dumb", ZDOTDIR=lab.dir, PS1="ready ")
        os.execvp("zsh", ["zsh", "-f", "-i"])
    seen = b""

    def until(text):
        nonlocal seen
        end = time.monotonic() + 20
        while text not in seen:
            if time.monotonic() > end:
                raise TimeoutError(f"zsh: no {text} in {seen}")
            if select.select([fd], [], [], 0.1)[0]:
                seen += os.read(fd, 65536)
        seen = b""
    with open(lab.dir + "/setup.zsh", "w") as file:
        file.write(ZSH + "PS1='prompt''ed '\n")
    until(b"ready")
    os.write(fd, f"source {lab.dir}/setup.zsh\n".encode())
    until(b"prompted")
    os.write(fd, line.encode() + b"\t")
    wait_for(lambda: os.path.getsize(out) > 0, 10)
    previous = -1
    while os.path.getsize(out) != previous:
        previous = os.path.getsize(out)
        select.select([], [], [], 0.1)
    os.close(fd)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with open(out) as file:
        return file.read().split()


@case("bash")
def _():
    fresh()
    lab.good("add", "agents", "80")
    for line, want in (("nat-bridge ", {"add", "remove"}), ("nat-bridge rem", {"remove"}),
                       ("nat-bridge add ag", {"agents"}), ("nat-bridge add docker:ag", {"agents"}),
                       ("nat-bridge add docker:", {"agents", "proj_a", r"\*"}),
                       ("nat-bridge add 'docker:", {"docker:agents", "docker:*"}),
                       ("nat-bridge add agents oll", {"ollama"}),
                       ("nat-bridge add --for=", {"2h"}), ("nat-bridge add --r", {"--runtime"}),
                       ("nat-bridge remove agents ", {"80/tcp"}),
                       ("nat-bridge --json remove agents 8", {"80/tcp"})):
        got = bash(line)
        expect(want <= set(got), f"bash: {line}: {got}")
        if line.endswith("rem"):
            expect_eq(got, ["remove"], line)
    expect("compopt -o filenames -o dirnames" in bash("nat-bridge list --rules /"), "directories")


@case("fish")
def _():
    fresh()
    lab.good("add", "agents", "80")
    for line, want in (("nat-bridge ", {"add", "remove"}), ("nat-bridge rem", {"remove"}),
                       ("nat-bridge add ag", {"agents"}),
                       ("nat-bridge add docker:", {"docker:agents"}),
                       ("nat-bridge add agents oll", {"ollama"}),
                       ("nat-bridge add --for=", {"--for=2h"}),
                       ("nat-bridge remove agents ", {"80/tcp"}),
                       ("nat-bridge list --rules /et", {"/etc/"}),
                       ("nat-bridge list --rules=/et", {"--rules=/etc/"})):
        got = fish(line)
        expect(want <= set(got), f"fish: {line}: {got}")


@case("zsh")
def _():
    fresh()
    lab.good("add", "agents", "80")
    for line, want in (("nat-bridge ", {"add", "remove"}), ("nat-bridge add ", {"agents"}),
                       ("nat-bridge add docker:", {"docker:agents"}),
                       ("nat-bridge add agents o", {"ollama", "openclaw"}),
                       ("nat-bridge remove agents ", {"80/tcp"}),
                       ("nat-bridge list --rules /et", {"etc"})):
        got = zsh(line)
        expect(want <= {one.rstrip("/") for one in got}, f"zsh: {line}: {got}")


run()
