#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The man page and the command table say the same: every command, alias and
# option of --help is in docs/nat-bridge.8, and the other way round. The same for
# services, and for the words of error codes in the source.
set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
# shellcheck source-path=SCRIPTDIR source=../lib/tap.sh
. "$here/../lib/tap.sh"

: "${NAT_BRIDGE:?set NAT_BRIDGE to the path of the program to test}"
top=$here/../..
page=$top/docs/nat-bridge.8

# section NAME: the source of one section of the page.
section() {
	awk -v name="$1" '/^\.Sh / { on = substr($0, 5) == name; next } on' "$page"
}

# words of .Ic at the head of a command's entry, and behind "Alias:"
page_commands() {
	section COMMANDS | sed -n 's/^\.It Ic \([a-z-]*\).*/\1/p' | sort -u
}

page_aliases() {
	section COMMANDS | awk '
		/^\.It Ic / { command = $3 }
		/^Alias:/ { on = 1; next }
		on && /^\.Ic / { print command, $2; next }
		{ on = 0 }' | sort -u
}

# "json", "n dry-run": .Fl with one more dash is a long option
page_options() {
	section OPTIONS | grep '^\.It Fl' | grep -oE 'Fl -[a-z-]+' | sed 's/Fl -//' | sort -u
}

page_letters() {
	section OPTIONS | sed -n 's/^\.It Fl \([A-Za-z]\) , Fl -\([a-z-]*\).*/\1 \2/p' | sort -u
}

# Which commands take an option: "for: add"; none are named for those of every command.
page_takers() {
	section OPTIONS | awk '
		/^\.It Fl/ { name = $0; sub(/.*Fl -/, "", name); sub(/ .*/, "", name); next }
		/^\.Pq Ic / && name {
			gsub(/^\.Pq Ic | ,/, "")
			for (i = 1; i <= NF; i++)
				print name, $i
		}
		{ name = "" }' | sort -u
}

help_commands() {
	"$NAT_BRIDGE" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }' |
		sort -u
}

help_aliases() {
	local command

	for command in $(help_commands); do
		"$NAT_BRIDGE" "$command" --help | sed -n 's/^Also: //p' | tr -d ',' | tr ' ' '\n' |
			sed "s/^/$command /"
	done | sort -u
}

options_of() {
	"$NAT_BRIDGE" "$@" --help | sed -nE 's/^  (-., |    )--([a-z-]+).*/\2/p' | sort -u
}

help_options() {
	local command

	{
		options_of
		for command in $(help_commands); do
			options_of "$command"
		done
	} | sort -u
}

help_letters() {
	local command

	for command in '' $(help_commands); do
		# shellcheck disable=SC2086 # no command is no word
		"$NAT_BRIDGE" $command --help |
			sed -nE 's/^  -(.), --([a-z-]+).*/\1 \2/p'
	done | sort -u
}

# What a command takes beyond the options of every command.
help_takers() {
	local command

	for command in $(help_commands); do
		comm -13 <(options_of) <(options_of "$command") | sed "s/\$/ $command/"
	done | sort -u
}

services() {
	find "$top/rules/presets" -name '*.json' -printf '%f\n' | sed 's/\.json$//' | sort -u
}

page_services() {
	section PORT | awk '/^Services:/ { on = 1; next } on && /^\.Li / { print $2 } ' | sort -u
}

aliases_of_services() {
	/usr/bin/python3 -c '
import json, sys
for path in sys.argv[1:]:
	with open(path) as file:
		preset = json.load(file)
	for alias in preset.get("aliases", []):
		print(preset["name"], alias)' "$top"/rules/presets/*.json | sort -u
}

page_aliases_of_services() {
	section PORT | awk '
		/^Other names:/ { on = 1; next }
		on && /^\.Cm / { alias[++n] = $2 }
		on && /^\.Li / { for (; n > 0; n--) print $2, alias[n] }' | sort -u
}

# Every screen of --help fits a terminal.
wide_help() {
	local command

	for command in '' $(help_commands); do
		# shellcheck disable=SC2086 # no command is no word
		"$NAT_BRIDGE" $command --help | awk 'length($0) > 80'
	done
}

page_codes() {
	section DIAGNOSTICS | sed -n 's/^\.It Li \([a-z-]*\).*/\1/p' | sort -u
}

# The word of each error in the source: the first text of nb_error_set(), of what wraps it.
source_codes() {
	find "$top/src" -name '*.[ch]' -print0 | xargs -0 cat | tr '\n\t' '  ' | {
		local text

		text=$(cat)
		grep -oE 'nb_error_set\([^"()]*(\([^()]*\)[^"()]*)*"[a-z-]+",' <<<"$text"
		grep -oE '(ret_code = |NB_STATUS_[A-Z]+, )"[a-z-]+"' <<<"$text"
		grep -oE 'nb_scan_begin\([^"]*"[a-z-]+",' <<<"$text"
		grep -oE '\? "[a-z-]+" : "[a-z-]+", *"cannot' <<<"$text" | sed 's/, *"cannot//'
	} | grep -oE '"[a-z-]+"' | tr -d '"' | sort -u
}

[ -n "$(help_commands)" ] || tap_bail "no commands in the output of --help"
[ -n "$(help_options)" ] || tap_bail "no options in the output of --help"

is "commands" "$(page_commands)" "$(help_commands)"
is "aliases" "$(page_aliases)" "$(help_aliases)"
is "long options" "$(page_options)" "$(help_options)"
is "short options" "$(page_letters)" "$(help_letters)"
is "which command takes which option" "$(page_takers)" "$(help_takers)"
is "services" "$(page_services)" "$(services)"
is "other names of services" "$(page_aliases_of_services)" "$(aliases_of_services)"
is "--help within 80 columns" "$(wide_help)" ""

# An alias does what its command does.
while read -r command alias; do
	is "$alias --help is that of $command" "$("$NAT_BRIDGE" "$alias" --help)" \
		"$("$NAT_BRIDGE" "$command" --help)"
done < <(help_aliases)

is "error codes" "$(page_codes)" "$(source_codes)"

if command -v mandoc >/dev/null; then
	# Which other pages are installed is the machine's affair.
	is "mandoc -Tlint" "$(mandoc -Tlint "$page" | grep -v -e 'mandoc\.db' -e 'manual not found')" ""
else
	skip "mandoc -Tlint" "no mandoc here"
fi
tap_end
