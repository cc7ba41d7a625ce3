# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bash completion for nat-bridge(8). The program itself says what a word can become.

_nat_bridge()
{
	local line=${COMP_LINE:0:COMP_POINT} words word value cut quote=

	COMPREPLY=()
	# COMP_WORDS are cut at colons and equal signs; the program wants them whole
	read -ra words <<<"$line"
	[[ $line != *[[:space:]] ]] || words+=("")
	word=${words[-1]}
	[[ $word != [\'\"]* ]] || quote=${word:0:1}
	words=("${words[@]//[\'\"\\]/}")
	word=${words[-1]}
	# what of the word is on the line already, and not to be repeated
	cut=
	[[ $quote || $COMP_WORDBREAKS != *:* || $word != *:* ]] || cut=${word%:*}:
	[[ $quote || $COMP_WORDBREAKS != *=* || $word != *=* || $cut == *=* ]] || cut=${word%%=*}=
	while IFS=$'\t' read -r value _; do
		case $value in
		:directories) compopt -o filenames -o dirnames 2>/dev/null ;;
		:files) compopt -o filenames -o default 2>/dev/null ;;
		*)
			value=${value#"$cut"}
			[[ $quote ]] || printf -v value '%q' "$value"
			COMPREPLY+=("$value")
			;;
		esac
	done < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
}

complete -F _nat_bridge nat-bridge
