# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Runs what the documentation says: the commands of a file's console blocks, in order, with
# their output compared. Source it behind tap.sh.
#
#   doc_run FILE   one test a command
#
# A line behind "# " is root's command, one behind "$ " an ordinary user's, with the lines that a
# backslash continues; the lines up to the next one are what it prints, and where they are missing
# anything may be printed, but it must succeed. "..." stands for any text in a line, or alone for
# any lines. What differs from run to run counts as the same. <!-- test: COMMAND --> is what
# nobody but the test has to do.

doc_lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Bridges of engines, times and time left, processes, counts.
doc_normal()
{
	sed -E -e 's/br-[0-9a-f]{12}/BRIDGE/g' -e 's/podman[0-9]+/podmanN/g' -e 's/[ \t]+$//' \
		-e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z/TIME/g' \
		-e 's/ [0-9]+[dhm][0-9]{2}[hms] / LEFT /g' \
		-e 's/[a-z0-9.-]+\[[0-9]+\] +[0-9]+ +[0-9]+ +[0-9.]+[KMG]?/PROCESS N N N/g' \
		-e 's/ active +[0-9]+ +[0-9.]+[KMG]? / active N N /' \
		-e 's/"(connections|packets|bytes)":\t[0-9]+/"\1":\tN/'
}

doc_run()
{
	local file=$1 who command want out status=0 count=0

	while IFS= read -r -d '' who && IFS= read -r -d '' command && IFS= read -r -d '' want; do
		if [ "$who" = "!" ]; then
			must eval "$command"
			continue
		fi
		count=$((count + 1))
		if [ "$command" = "echo \$?" ]; then
			is "${file##*/}: that gives $want" "$status" "$want"
			continue
		fi
		if [ "$who" = "$" ]; then
			out=$(setpriv --reuid 65534 --regid 65534 --clear-groups \
				/bin/sh -c "$command" 2>&1 </dev/null)
		else
			out=$(eval "$command" 2>&1 </dev/null)
		fi
		status=$?
		doc_judge "${file##*/}: $command" "$(doc_normal <<<"$out")" "$(doc_normal <<<"$want")" "$status"
	done < <("${PYTHON:-python3}" -I -S "$doc_lib/doc_commands.py" "$file")
	[ $count -gt 0 ] || tap_bail "no command in $file"
}

doc_judge()
{
	local name=$1 out=$2 want=$3 status=$4

	if [ -z "$want" ]; then
		ok "$name" test "$status" -eq 0
		[ "$status" -eq 0 ] || tap_note "$out"
		return
	fi
	if "${PYTHON:-python3}" -I -S "$doc_lib/doc_commands.py" --same "$out" "$want"; then
		tap_say ok "$name"
	else
		tap_say 'not ok' "$name"
		tap_note "$(diff -u --label documented --label printed <(echo "$want") <(echo "$out"))"
	fi
}
