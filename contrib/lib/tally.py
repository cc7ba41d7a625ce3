# SPDX-License-Identifier: GPL-2.0-or-later
"""Add up what the tests of meson runs said: tally.py [--parts PASSED FAILED] TESTLOG.json...

Prints each failure with the end of its output, then the closing line
"N passed, N failed" (", N skipped" where there are any). A TAP line counts as
one, so does a check of a unit test program; a program that counts nothing is one. Exit
status 1 if anything failed, or if nothing ran.
"""

import json
import re
import sys

CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
TAP = re.compile(r"^(not )?ok\b(?:.*?(#\s*SKIP\b))?", re.M | re.I)
LEFT_OUT = re.compile(r"^1\.\.0\s*#\s*SKIP\s*(.*)", re.M | re.I)


def count(test):
    """(passed, failed, skipped) of one test program."""
    output = test.get("stdout", "") or ""
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    if test["result"] == "SKIP" or LEFT_OUT.search(output):
        return 0, 0, 1
    passed = failed = skipped = 0
    for checks, failures, errors in CHECK.findall(output):
        failed += int(failures) + int(errors)
        passed += int(checks) - int(failures) - int(errors)
    if not passed + failed:
        for negated, skip in TAP.findall(output):
            if negated:
                failed += 1
            elif skip:
                skipped += 1
            else:
                passed += 1
    if good and not passed + skipped:
        passed = 1
    if not good and not failed:
        failed = 1
    return passed, failed, skipped


def what_failed(output):
    """The failed tests of TAP, each with the diagnostics behind it."""
    lines, shown = [], False
    for line in output.splitlines():
        if line.startswith(("not ok", "Bail")):
            shown = True
        elif not line.startswith("#"):
            shown = False
        if shown:
            lines.append(line[:1000])
    return lines[:100]


def main():
    total = [0, 0, 0]
    paths = sys.argv[1:]
    if paths[:1] == ["--parts"]:
        total[0], total[1] = int(paths[1]), int(paths[2])
        paths = paths[3:]
    for path in paths:
        with open(path, encoding="utf-8") as log:
            for line in log:
                test = json.loads(line)
                counts = count(test)
                total = [a + b for a, b in zip(total, counts)]
                if counts[1]:
                    output = (test.get("stdout", "") or "") + (test.get("stderr", "") or "")
                    print(f"--- {test['name']}: {test['result']}")
                    print("\n".join(what_failed(output) + ["..."] + output.splitlines()[-20:]))
    skipped = f", {total[2]} skipped" if total[2] else ""
    print(f"{total[0]} passed, {total[1]} failed{skipped}")
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
