# SPDX-License-Identifier: GPL-2.0-or-later
#
# fish completion for nat-bridge(8). The program itself says what a word can become.

function __nat_bridge_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct | string unescape)
    set -l path (string replace -r -- '^--\w+=' '' "$word")
    set -l before (string replace -r -- '^(--\w+=)?.*$' '$1' "$word")
    for line in ($words[1] complete -- $words[2..-1] "$word" 2>/dev/null)
        switch $line
            case ':directories'
                __fish_complete_directories "$path" | string replace -r -- '^' "$before"
            case ':files'
                __fish_complete_path "$path" | string replace -r -- '^' "$before"
            case '*'
                echo $line
        end
    end
end

complete -c nat-bridge -f -a '(__nat_bridge_complete)'
