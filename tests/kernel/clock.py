#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""nat-bridge watch when somebody sets the clock. There is one clock for the whole machine: it is
set two hours ahead and two hours back, for a second or two each, and set right again. So this runs
only where that is allowed: with NB_SET_CLOCK=1, in the suite "nightly".
"""
import contextlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from nblab import *  # noqa: E402
from watcher import Watcher  # noqa: E402

lab = enter(__file__)
HOURS = 3600


@contextlib.contextmanager
def jumped(seconds):
    if os.environ.get("NB_SET_CLOCK") != "1":
        skip("it sets the machine's clock: NB_SET_CLOCK=1 allows that")
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() - seconds)


def row():
    found = lab.json("list")["mappings"]
    return found[0] if found else None


def left():
    """Seconds that the kernel gives the mapping, or None."""
    text = sh("nft list map inet nat-bridge targets 2>/dev/null", check=False)
    found = re.search(r"expires (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?", text)
    return found and sum(int(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1)))


def in_sync():
    return lab.nb("check").rc == 0


@case("ahead: a mapping whose time is over by that clock ends, at once")
def _():
    lab.good("add", "br-app", lab.mapped, "--for", "1h")
    lab.good("add", "br-app", lab.unmapped)
    with Watcher(lab):
        expect(3500 < left() <= 3601, f"left: {left()}")
        with jumped(2 * HOURS):
            expect(wait_for(lambda: left() is None, 10), f"it is still there: {left()}")
            expect(in_sync(), "not in sync")
        expect(wait_for(in_sync, 10), f"set right: {lab.nb('check')}")
        expect_eq(lab.tcp(lab.unmapped)[:4], "tcp ", "the other one")


@case("back: it lasts until its moment by that clock; set right, until that by this one")
def _():
    lab.good("add", "br-app", lab.mapped, "--for", "1h")
    with Watcher(lab):
        with jumped(-2 * HOURS):
            expect(wait_for(lambda: (left() or 0) > 2.9 * HOURS, 10), f"left: {left()}")
            expect_eq(lab.tcp(lab.mapped)[:4], "tcp ", "meanwhile")
        expect(wait_for(lambda: 3400 < (left() or 0) <= 3601, 10), f"left: {left()}")
        expect(in_sync(), "not in sync")
        expect_eq(row()["state"], "active", "state")


@case("the log tells no negative times")
def _():
    lab.good("add", "br-app", lab.mapped)
    path = f"{lab.dir}/flows.log"
    with Watcher(lab, f"--log={path}"):
        lab.agent().call("connect", "one", lab.gateway, lab.mapped)
        with jumped(-2 * HOURS):
            lab.agent().call("hang_up", "one")

            def ends():
                with open(path, encoding="utf-8") as file:
                    return [line for line in map(json.loads, file) if line["event"] == "end"]
            expect(wait_for(ends, 10), "no end")
        expect(ends()[0]["duration"] >= 0, f"{ends()}")


run(lab.reset)
