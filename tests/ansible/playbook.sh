#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# contrib/ansible with the real ansible-playbook: "changed" exactly right, check mode that
# predicts it, diffs, failures in the program's words, and the role, run again and again.
set -u
# shellcheck source-path=SCRIPTDIR source=../lib/lab.sh
. "$(dirname "$0")/../lib/lab.sh"
# shellcheck source-path=SCRIPTDIR source=../lib/doc.sh
. "$(dirname "$0")/../lib/doc.sh"
: "${NB_SOURCE:?set NB_SOURCE to the checkout}"
command -v ansible-playbook >/dev/null || tap_skip_all "no ansible-playbook here"
here=$(cd "$(dirname "$0")" && pwd)
lab_enter "$@"
lab_build
serve host a=tcp:127.0.0.1:5432 b=tcp:127.0.0.1:8080

export HOME=$T/home ANSIBLE_ROLES_PATH=$NB_SOURCE/contrib/ansible/roles \
	ANSIBLE_LIBRARY=$NB_SOURCE/contrib/ansible/roles/nat_bridge/library \
	ANSIBLE_CALLBACK_PLUGINS=$here/callback ANSIBLE_STDOUT_CALLBACK=results ANSIBLE_RETRY_FILES_ENABLED=0 ANSIBLE_LOCALHOST_WARNING=0 \
	ANSIBLE_INVENTORY_UNPARSED_WARNING=0 ANSIBLE_PYTHON_INTERPRETER=$PYTHON \
	PYTHONDONTWRITEBYTECODE=1 ANSIBLE_NOCOLOR=1 LC_ALL=C.UTF-8
mkdir -p "$HOME"

# playbook NAME [OPTION...]: run $T/NAME.yml; its results are in $T/NAME.json
playbook()
{
	local name=$1

	shift
	ansible-playbook -c local -i localhost, "$@" "$T/$name.yml" >"$T/$name.json" 2>"$T/$name.err"
}

# told NAME TASK EXPRESSION: over `r`, the result of that task.
told()
{
	lab_python - "$T/$1.json" "$2" "$3" <<-'PY'
		import json, sys
		path, name, expression = sys.argv[1:]
		r = json.load(open(path))["tasks"].get(name)
		value = eval(expression)
		print(value if isinstance(value, str) else json.dumps(value))
	PY
}

# a task of the module, as the item of a list
task()
{
	cat <<-YAML
		    - name: $1
		      nat_bridge: { executable: "$NAT_BRIDGE", rules: "$RULES", config: "$T/none.json", $2 }
		      ignore_errors: true
		      ${3:-}
	YAML
}

play()
{
	echo "- hosts: localhost"
	echo "  gather_facts: false"
	echo "  tasks:"
}

# --- The module, in check mode: it predicts, and changes nothing ---

on="network: \"iface:$BR\", port: [\"15432:5432\", \"8080\"]"
{
	play
	task present "$on"
	task absent "$on, state: absent"
} >"$T/new.yml"
before=$(nft list ruleset)
playbook new --check --diff
is "check mode, nothing there: present would change" "$(told new present 'r["changed"]')" true
is "and absent would not" "$(told new absent 'r["changed"]')" false
is "nothing was changed" "$(nft list ruleset) $(ls "$RULES")" "$before "
has "the diff shows what would come" "$(told new present 'r["diff"]["after"]')" \
	"iface:$BR 15432/tcp -> 127.0.0.1:5432"
is "and that nothing is there" "$(told new present 'r["diff"]["before"]')" ""

# --- For real ---

{
	play
	task first "$on"
	task again "$on" 'loop: "{{ range(10) }}"'
} >"$T/add.yml"
playbook add --diff
is "present, the first time: changed" "$(told add first 'r["changed"]')" true
is "ten times more: never" "$(told add again '[i["changed"] for i in r["results"]]')" \
	"$(printf '[%s]' "$(yes false | head -n 10 | paste -sd, | sed 's/,/, /g')")"
is "a packet gets through" "$(reach c1 tcp:$GW:15432)" answered
is "the diff of no change is none" "$(told add again \
	'all(i["diff"]["before"] == i["diff"]["after"] for i in r["results"])')" true
generation=$(generation)
files=$(cat "$RULES"/*.json)

{
	play
	task present "$on"
	task other "network: \"iface:$BR\", port: [\"15432:8080\"]"
	task replace "network: \"iface:$BR\", port: [\"15432:8080\"], replace: true"
	task absent "$on, state: absent"
	task all "network: \"iface:$BR\", state: absent, all: true"
	task unknown "network: nowhere, port: \"80\""
	task later "network: \"iface:later\", port: \"80\""
	task wrong "network: \"iface:$BR\", port: \"99999\""
	task both "network: \"iface:$BR\", port: \"80\", state: absent, all: true"
	task neither "network: \"iface:$BR\""
} >"$T/there.yml"
playbook there --check --diff
is "check mode, there already: present would not change" "$(told there present 'r["changed"]')" false
is "another target would fail" "$(told there other 'r["failed"]')" true
has "in the program's words" "$(told there other 'r["msg"]')" "--replace changes it"
is "with the word for it, and the file" "$(told there other '[r["code"], r["file"]]')" \
	"[\"conflict\", \"$RULES/iface.$BR-15432-tcp.json\"]"
is "replaced it would change" "$(told there replace 'r["changed"]')" true
is "and the diff says how" \
	"$(told there replace '[[l for l in r["diff"][k].split("\n") if "15432" in l][0][-4:] for k in ("before", "after")]')" \
	'["5432", "8080"]'
is "absent would change" "$(told there absent 'r["changed"]')" true
is "so would all" "$(told there all 'r["changed"]')" true
is "a network that is nowhere fails" "$(told there unknown '[r["failed"], r["code"]]')" \
	'[true, "no-network"]'
is "one that comes later is pending" "$(told there later '[r["changed"], len(r["pending"])]')" \
	'[true, 1]'
has "with a warning" "$(told there later 'str(r["warnings"])')" "pending"
is "a wrong port fails" "$(told there wrong '[r["failed"], r["code"]]')" '[true, "usage"]'
is "port and all do not go together" "$(told there both 'r["failed"]')" true
is "neither does present without a port" "$(told there neither 'r["failed"]')" true
is "nothing was changed" "$(generation) $(cat "$RULES"/*.json)" "$generation $files"

# --- A broken rule file ---

echo '{ "mappings": [ { "network": "iface:'$BR'", "port": 80, "x": 1 } ] }' >"$RULES/bad.json"
{
	play
	task broken "network: \"iface:$BR\", port: \"80\""
} >"$T/bad.yml"
playbook bad
is "a broken file that holds the key: file, line and key" \
	"$(told bad broken '[r["file"], r["line"], r["key"]]')" \
	"[\"$RULES/bad.json\", 1, \"mappings[0].x\"]"
rm "$RULES/bad.json"

# --- Gone ---

{
	play
	task gone "$on, state: absent"
	task again "$on, state: absent"
} >"$T/gone.yml"
playbook gone
is "absent: changed" "$(told gone gone 'r["changed"]')" true
is "absent again: not" "$(told gone again 'r["changed"]')" false
is "it is closed" "$(probe c1 tcp:$GW:15432)" refused
is "without a trace" "$(nft list ruleset)" "$before"

# --- Exceptions, which a task may name fewer of than there are ---

every="network: \"docker:*\", port: [\"80\"]"
{
	play
	task some "$every, exceptions: [a, \"docker:b\"]"
	task again "$every, exceptions: [a, \"docker:b\"]"
	task fewer "$every, exceptions: [a]"
	task exact "$every, exceptions: [a], replace: true"
	task still "$every, exceptions: [\"docker:a\"], replace: true"
	task none "$every, exceptions: [], replace: true"
	task still_none "$every, replace: true"
	task gone "$every, state: absent"
} >"$T/except.yml"
playbook except --diff
is "with exceptions, again, with fewer" \
	"$(for t in some again fewer; do told except $t 'r["changed"]'; done | xargs)" "true false false"
has "which are said to stay" "$(told except fewer 'str(r["warnings"])')" "docker:b; replace: true"
is "replaced, again; none, again" \
	"$(for t in exact still none still_none; do told except $t 'r["changed"]'; done | xargs)" \
	"true false true false"
is "the diff shows what is left out" "$(told except exact '[r["diff"][k] for k in ("before", "after")]')" \
	'["docker:* 80/tcp -> 127.0.0.1:80 except docker:a docker:b\n", "docker:* 80/tcp -> 127.0.0.1:80 except docker:a\n"]'

# --- The role ---

# role MAPPINGS [VARIABLE]
role()
{
	cat <<-YAML
		- hosts: localhost
		  gather_facts: false
		  vars:
		    ansible_service_mgr: none
		    nat_bridge_executable: "$NAT_BRIDGE"
		    nat_bridge_rules: "$RULES"
		    nat_bridge_config: "$T/none.json"
		    ${2:-}
		    nat_bridge_mappings: $1
		  roles: [nat_bridge]
	YAML
}
changes()
{
	lab_python -c 'import json, sys
s = json.load(open(sys.argv[1]))["stats"]["localhost"]
print(s["changed"], s["failures"])' "$T/$1.json"
}
list="[{network: \"iface:$BR\", port: [postgresql, \"8080\"]}, {network: \"iface:$BR2\", port: [\"8080\"]}]"
role "$list" >"$T/role.yml"
playbook role --check
is "the role in check mode: one task would change" "$(changes role)" "1 0"
playbook role
is "the role: one task changed" "$(changes role)" "1 0"
is "reached" "$(reach c1 tcp:$GW:5432)" answered
playbook role
is "the role again: none" "$(changes role)" "0 0"

role "$list" "nat_bridge_exclusive: true" | sed "s|$NAT_BRIDGE|/nowhere/nat-bridge|" >"$T/first.yml"
playbook first --check
is "check mode on a host without the program: what would come" "$(changes first)" "1 0"
playbook first
is "without check mode that is a failure" "$(changes first | cut -d' ' -f2)" 1

ok "a mapping of somebody else's" nb -q add $BR2 5432
role "$list" "nat_bridge_exclusive: true" >"$T/only.yml"
playbook only
is "the role, exclusive: it goes" "$(changes only)" "1 0"
is "and no other" "$(nb list --json | json '[m["port"] for m in d["mappings"]]')" "[5432, 8080, 8080]"
playbook only
is "again: nothing changes" "$(changes only)" "0 0"
role "[]" "nat_bridge_exclusive: true" >"$T/empty.yml"
playbook empty
is "exclusive, and nothing wanted" "$(changes empty) $(ls "$RULES")" "1 0 "
is "without a trace" "$(nft list ruleset)" "$before"

# --- What docs/ansible.md says ---

nat-bridge()
{
	nb "$@"
}
doc_run "$NB_SOURCE/docs/ansible.md"
# its plays, on this host
lab_python - "$NB_SOURCE/docs/ansible.md" "$T" <<-'PY'
	import re, sys
	plays = re.findall(r"^```yaml\n(- hosts:.*?)^```", open(sys.argv[1]).read(), re.M | re.S)
	assert len(plays) == 2
	for number, play in enumerate(plays):
	    with open(f"{sys.argv[2]}/doc{number}.yml", "w") as file:
	        file.write(play.replace("docker_hosts", "localhost"))
PY
must mkdir -p "$T/bin"
printf '#!/bin/sh\nexec %s --rules %s --config %s "$@"\n' "$NAT_BRIDGE" "$RULES" "$T/none" \
	>"$T/bin/nat-bridge"
chmod +x "$T/bin/nat-bridge"
PATH=$T/bin:$PATH
for play in doc0 doc1; do
	playbook $play -e ansible_become=false -e nat_bridge_units=false
	is "$play of ansible.md: no failure" "$(changes $play | cut -d' ' -f2)" 0
	playbook $play -e ansible_become=false -e nat_bridge_units=false
	is "$play of ansible.md again: no change" "$(changes $play)" "0 0"
done
tap_end
