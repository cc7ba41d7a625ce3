# SPDX-License-Identifier: GPL-2.0-or-later
"""The program on a terminal of a width that the test chooses."""
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios


from nblab import difference, expect

COMMAND = re.compile(r" +(mend  )?(iptables-nft|nft|nat-bridge|ip|for port in) ")
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli", "golden")


class Shown:
    """What came to the terminal, what came to a standard error beside it, and the exit status."""

    def __init__(self, text, err, rc):
        self.text, self.err, self.rc = text, err, rc


def show(line, columns, env=None, both=False):
    """Run @line with a terminal as its standard output; with @both also as its standard error."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items()
                   if k not in ("NO_COLOR", "COLUMNS", "LANG", "LC_CTYPE")}
    environment.update({"TERM": "xterm", "LC_ALL": "C.UTF-8"}, **(env or {}))
    done = subprocess.Popen(line, stdout=slave, stderr=slave if both else subprocess.PIPE,
                            env=environment)
    os.close(slave)
    text = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(master)
    err = "" if both else done.stderr.read().decode()
    return Shown(text.decode().replace("\r\n", "\n"), err, done.wait())


def plain(text):
    """Without colour."""
    return re.sub(r"\033\[[0-9;]*m", "", text)


def wide(text):
    """Columns of the widest line that is no command, which is never broken; nothing that tests show
    is of another width than 1."""
    return max(len(line) for line in plain(text).splitlines() if not COMMAND.match(line))


def golden(name, text):
    """@text is what tests/cli/golden has under that name; NB_GOLDEN_UPDATE=1: from now on."""
    path = os.path.join(GOLDEN, name)
    if os.environ.get("NB_GOLDEN_UPDATE"):
        with open(path, "w") as file:
            file.write(text)
    with open(path) as file:
        want = file.read()
    expect(text == want, f"{name}: not as it was\n{difference(want, text)}")
