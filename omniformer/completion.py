"""`omniformer completion bash|zsh|fish`: the script that makes a shell complete verbs, groups, options and keys."""

import argparse
from collections.abc import Sequence

from omniformer.config import reported
from omniformer.config.arguments import command_parser

# Each script hands the line up to the cursor to `omniformer complete`, which answers with one word a line. Libraries
# that complete options of argparse alone know nothing of our keys.
_BASH = r"""# bash completion for omniformer; add to ~/.bashrc:  eval "$(omniformer completion bash)"
_omniformer() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" mark begun
    COMPREPLY=($("$1" complete bash "$line" 2>/dev/null))
    (( ${#COMPREPLY[@]} )) && compopt -o nospace  # words that are whole bring their own space
    begun="${line##*[[:space:]]}"
    for mark in : =; do  # bash completes only what follows the last of these, where they divide words
        if [[ $COMP_WORDBREAKS == *"$mark"* && $begun == *"$mark"* ]]; then
            COMPREPLY=("${COMPREPLY[@]#"${begun%"${begun##*"$mark"}"}"}")
            begun="${begun##*"$mark"}"
        fi
    done
}
complete -o default -F _omniformer omniformer
"""
_ZSH = r"""#compdef omniformer
# zsh completion for omniformer; add to ~/.zshrc, below compinit:  eval "$(omniformer completion zsh)"
_omniformer() {
    local -a found whole begun
    found=("${(@f)$("${words[1]}" complete zsh "${(j: :)words[1,CURRENT-1]} ${PREFIX}" 2>/dev/null)}")
    found=("${(@)found:#}")
    if (( ! $#found )); then
        compset -P '*='
        _files
        return
    fi
    whole=("${(@M)found:#* }")
    begun=("${(@)found:#* }")
    (( $#whole )) && compadd -- "${(@)whole% }"
    (( $#begun )) && compadd -S '' -- "${begun[@]}"
    return 0
}
compdef _omniformer omniformer
"""
_FISH = r"""# fish completion for omniformer; write it to ~/.config/fish/completions/omniformer.fish
function __omniformer_complete
    set -l words (commandline -opc)
    $words[1] complete fish (commandline -cp | string collect) 2>/dev/null
end
complete -c omniformer -f -a '(__omniformer_complete)'
complete -c omniformer -n 'not count (__omniformer_complete) >/dev/null' -F
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a shell's script; the first line of it says where it goes."""
    given = build_parser().parse_args(arguments)
    with reported():
        print(SCRIPTS[given.shell], end="")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = command_parser("completion", description=main.__doc__)
    made.add_argument("shell", choices=tuple(SCRIPTS), help="the shell that is to complete")
    return made


if __name__ == "__main__":
    main()
