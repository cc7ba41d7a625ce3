# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints what a playbook did as one JSON object: each task's last result, and the sums."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = """
name: results
type: stdout
short_description: results of a playbook as JSON
description: For tests.
"""

import json

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "results"

    def __init__(self):
        super(CallbackModule, self).__init__()
        self.tasks = {}

    def note(self, result, failed=False):
        self.tasks[result._task.get_name().split(" : ")[-1]] = dict(result._result, failed=failed)

    def v2_runner_on_ok(self, result):
        self.note(result)

    def v2_runner_on_skipped(self, result):
        self.note(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.note(result, True)

    def v2_playbook_on_stats(self, stats):
        print(json.dumps({"tasks": self.tasks, "stats": {
            host: stats.summarize(host) for host in stats.processed}}, default=str))
