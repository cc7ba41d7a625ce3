# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A small TAP producer. The plan comes last (tap_end), so that a script need
# not count its own tests, and a script that dies half-way has no plan.
#
#   ok NAME COMMAND...     passes if COMMAND succeeds
#   fails NAME COMMAND...  passes if COMMAND fails (any exit code but a missing command)
#   is NAME GOT WANT       passes if the two strings are equal
#   has NAME TEXT PATTERN  passes if TEXT matches the glob *PATTERN*
#   hasnt NAME TEXT PATTERN
#   skip NAME REASON       a single test; where skipping is forbidden it fails
#   must COMMAND...        set-up that is no test: ends the script if it fails

tap_count=0
tap_failed=0
tap_ended=

tap_say()
{
	local sign=$1 name=$2

	tap_count=$((tap_count + 1))
	echo "$sign $tap_count - $name"
	[ "$sign" = ok ] || tap_failed=$((tap_failed + 1))
}

# Explanations go to standard error as comments: every harness shows them.
tap_note()
{
	printf '%s\n' "$*" | sed 's/^/# /' >&2
}

# Skipping is for laptops. Where the suite is a promise, it is a failure.
tap_skip_forbidden()
{
	[ -n "${CI:-}${NB_FORBID_SKIP:-}" ]
}

tap_bail()
{
	echo "Bail out! $*"
	tap_ended=1
	exit 1
}

tap_skip_all()
{
	if tap_skip_forbidden; then
		tap_bail "$*, and skipping is forbidden here"
	fi
	echo "1..0 # SKIP $*"
	tap_ended=1
	exit 0
}

ok()
{
	local name=$1 output status=0

	shift
	output=$("$@" 2>&1) || status=$?
	if [ "$status" -eq 0 ]; then
		tap_say ok "$name"
		return 0
	fi
	tap_say 'not ok' "$name"
	tap_note "exit $status of: $*" $'\n'"$output"
	return 0
}

fails()
{
	local name=$1 output status=0

	shift
	output=$("$@" 2>&1) || status=$?
	if [ "$status" -ne 0 ] && [ "$status" -lt 126 ]; then
		tap_say ok "$name"
		return 0
	fi
	tap_say 'not ok' "$name"
	tap_note "exit $status, where a failure was wanted, of: $*" $'\n'"$output"
	return 0
}

is()
{
	local name=$1 got=$2 want=$3

	if [ "$got" = "$want" ]; then
		tap_say ok "$name"
		return 0
	fi
	tap_say 'not ok' "$name"
	if [[ $got$want == *$'\n'* ]]; then
		tap_note "$(diff -u --label want --label got <(echo "$want") <(echo "$got"))"
	else
		tap_note "got:  $got"$'\n'"want: $want"
	fi
	return 0
}

has()
{
	local name=$1 text=$2 pattern=$3

	# The pattern is meant as one.
	# shellcheck disable=SC2053
	if [[ $text == *$pattern* ]]; then
		tap_say ok "$name"
		return 0
	fi
	tap_say 'not ok' "$name"
	tap_note "no \"$pattern\" in: $text"
	return 0
}

hasnt()
{
	local name=$1 text=$2 pattern=$3

	# shellcheck disable=SC2053
	if [[ $text != *$pattern* ]]; then
		tap_say ok "$name"
		return 0
	fi
	tap_say 'not ok' "$name"
	tap_note "\"$pattern\" in: $text"
	return 0
}

skip()
{
	if tap_skip_forbidden; then
		tap_say 'not ok' "$1"
		tap_note "skipped ($2), and skipping is forbidden here"
		return 0
	fi
	tap_say ok "$1 # SKIP $2"
}

must()
{
	"$@" || tap_bail "set-up failed: $*"
}

tap_end()
{
	echo "1..$tap_count"
	tap_ended=1
	[ "$tap_failed" -eq 0 ]
}

# Called on every exit: one that nobody meant must not look like a short success.
tap_exit()
{
	local status=$?

	if [ -z "$tap_ended" ]; then
		echo "Bail out! ended early with exit code $status near line ${tap_line:-?}"
		[ "$status" -ne 0 ] || status=1
	fi
	exit "$status"
}
trap 'tap_line=$LINENO' ERR
trap tap_exit EXIT
