#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Ansible module: mappings of nat-bridge. It runs the program and says what it said."""
from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
---
module: nat_bridge
short_description: Let containers reach services on the host's 127.0.0.1
description:
  - Adds mappings to nat-bridge's rule files and to the kernel, or takes them back.
  - A mapping lets one network of containers reach one port of the host's 127.0.0.1.
  - Timed and runtime mappings (C(--for), C(--runtime)) are none that a second run would leave
    alone, and are not offered.
options:
  network:
    description:
      - The network, as C(nat-bridge add) takes it. An interface (C(iface:br0)), a network of
        Docker (C(docker:agents)) or Podman, a pattern (C(docker:*)), or C(container:NAME).
      - Use the qualified form. A bare name means what has it now, and must exist.
    type: str
    required: true
  port:
    description:
      - Ports as on the command line, C([LISTEN:][ADDRESS:]PORT[/tcp|/udp]), or names of services.
    type: list
    elements: str
    aliases: [ports]
  state:
    description: Whether the mappings shall be there.
    type: str
    choices: [present, absent]
    default: present
  all:
    description: With I(state=absent), every mapping of the network.
    type: bool
    default: false
  exceptions:
    description:
      - Networks, or patterns, that a pattern leaves out (C(--except)).
      - Those that a mapping has already and that are not in the list stay, with a warning, until
        I(replace=true) says that they may go. Leaving out less opens more.
    type: list
    elements: str
    default: []
  replace:
    description:
      - Change the target of a mapping that exists. Without it another target is a failure.
      - Leave out exactly the I(exceptions), also fewer than before.
    type: bool
    default: false
  allow_external:
    description: Also on a network that others than this host's containers can reach.
    type: bool
    default: false
  force:
    description: Even if it breaks somebody's own DNAT to 127.0.0.0/8.
    type: bool
    default: false
  rules:
    description: The directory of rule files, if it is not the default.
    type: path
  config:
    description: The configuration file, if it is not the default.
    type: path
  executable:
    description: The program, if it is not found as nat-bridge.
    type: str
    default: nat-bridge
attributes:
  check_mode:
    description: By C(--dry-run); changed is what it would be.
    support: full
  diff_mode:
    description: The network's mappings before and after.
    support: full
author:
  - nat-bridge maintainers
"""

EXAMPLES = r"""
- name: The agents reach Ollama and PostgreSQL
  nat_bridge:
    network: docker:agents
    port: [ollama, "15432:5432"]

- name: Every network of Docker reaches the cache, but one
  nat_bridge:
    network: docker:*
    port: redis
    exceptions: [docker:untrusted]

- name: Nothing for the old network
  nat_bridge:
    network: docker:old
    state: absent
    all: true
"""

RETURN = r"""
mappings:
  description: The mappings that the task was about, as C(nat-bridge --json) shows them.
  returned: success
  type: list
  elements: dict
pending:
  description: Those whose bridge does not exist now.
  returned: success
  type: list
  elements: dict
code:
  description: A word for what went wrong, such as conflict or usage.
  returned: failure
  type: str
file:
  description: The rule file that is wrong, or None.
  returned: failure
  type: str
line:
  description: The line in it, or None.
  returned: failure
  type: int
key:
  description: The place in it, or None.
  returned: failure
  type: str
"""

import json

from ansible.module_utils.basic import AnsibleModule


def run(module, words):
    """The program's exit status and its JSON object."""
    params = module.params
    line = [params["executable"], "--json"]
    for option in ("rules", "config"):
        if params[option]:
            line += ["--" + option, params[option]]
    rc, out, err = module.run_command(line + words)
    try:
        return rc, json.loads(out)
    except ValueError:
        module.fail_json(msg="%s: %s" % (" ".join(line + words), err.strip() or out.strip()), rc=rc)


def line_of(mapping):
    """A mapping as a diff shows it."""
    line = "%s %s/%s -> %s" % (mapping["network"], mapping["port"], mapping["protocol"],
                               mapping["target"])
    if mapping.get("except"):
        line += " except " + " ".join(mapping["except"])
    if mapping.get("state") in ("disabled", "expired"):
        line += ", " + mapping["state"]
    if mapping.get("expires"):
        line += ", until " + mapping["expires"]
    return line


def keys(mappings):
    """Mappings by key: a network that is several bridges is one line."""
    return dict(((one["network"], one["protocol"], one["port"]), line_of(one))
                for one in mappings)


def warn_of_exceptions(module, mappings):
    """What stays left out although the task does not say so."""
    wanted = [name.split(":", 1)[-1] for name in module.params["exceptions"]]
    kept = set(name for one in mappings for name in one.get("except") or []
               if name.split(":", 1)[-1] not in wanted)
    if kept:
        module.warn("%s: left out already, and not in exceptions: %s; replace: true takes that "
                    "back" % (module.params["network"], ", ".join(sorted(kept))))


def words_of(params):
    words = ["add" if params["state"] == "present" else "remove", params["network"]]
    if params["state"] == "present":
        for option in ("replace", "force"):
            if params[option]:
                words.append("--" + option)
        if params["allow_external"]:
            words.append("--allow-external")
        exceptions = list(params["exceptions"])
        if params["replace"] and "*" in params["network"] and not exceptions:
            exceptions.append("")  # none
        for network in exceptions:
            words.append("--except=" + network)
    elif params["all"]:
        words.append("--all")
    return words + ["--"] + (params["port"] or [])


def main():
    module = AnsibleModule(
        argument_spec=dict(
            network=dict(type="str", required=True),
            port=dict(type="list", elements="str", aliases=["ports"]),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            all=dict(type="bool", default=False),
            exceptions=dict(type="list", elements="str", default=[]),
            replace=dict(type="bool", default=False),
            allow_external=dict(type="bool", default=False),
            force=dict(type="bool", default=False),
            rules=dict(type="path"),
            config=dict(type="path"),
            executable=dict(type="str", default="nat-bridge"),
        ),
        required_if=[("state", "present", ["port"])],
        supports_check_mode=True,
    )
    params = module.params
    if params["state"] == "absent" and bool(params["port"]) == params["all"]:
        module.fail_json(msg="state=absent takes either port or all")
    if params["state"] == "present" and params["all"]:
        module.fail_json(msg="all goes with state=absent")
    if module.check_mode and not module.get_bin_path(params["executable"]):
        module.warn("%s is not there: this is what a first run would do" % params["executable"])
        module.exit_json(changed=params["state"] == "present", mappings=[], pending=[])
    before = {}
    # pylint: disable=protected-access # there is no other way to ask
    if module._diff:
        listed = run(module, ["list"])[1].get("mappings", [])
        before = keys(one for one in listed if one["origin"] == "file")
    words = words_of(params)
    if module.check_mode:
        words.insert(0, "--dry-run")
    rc, answer = run(module, words)
    for warning in answer.get("warnings", []):
        module.warn(warning)
    error = answer.get("error")
    if rc != 0 or error:
        error = error or {"message": "exit status %d" % rc}
        module.fail_json(msg=error["message"], rc=rc, code=error.get("code"),
                         file=error.get("file"), line=error.get("line"), key=error.get("key"),
                         changed=answer.get("changed", False))
    result = dict(changed=answer["changed"], mappings=answer["mappings"],
                  pending=answer["pending"])
    if params["state"] == "present":
        warn_of_exceptions(module, answer["mappings"] + answer["pending"])
    if module._diff:
        touched = keys(answer["mappings"] + answer["pending"])
        after = dict(before)
        if params["state"] == "present":
            after.update(touched)
        else:
            for key in touched:
                after.pop(key, None)
        result["diff"] = dict((name, "".join(line + "\n" for _, line in sorted(state.items())))
                              for name, state in (("before", before), ("after", after)))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
