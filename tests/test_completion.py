"""The scripts, in the shells that they are for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omniformer.completion import SCRIPTS, main

# bash hands a function the line, and its words cut at `=`.
BASH = r"""
eval "$(omniformer completion bash)"
compopt() { said="$1 $2"; }
COMP_LINE="$1" COMP_POINT=${#1}
read -ra COMP_WORDS <<<"${1//=/ = }"
[[ $1 == *[[:space:]=] ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_omniformer omniformer
printf '%s|' "${COMPREPLY[@]}" "$said"
"""
# zsh completes in an editor alone: `compadd` and `_files` say what they were asked to add.
ZSH = r"""
compdef() { :; }
eval "$(omniformer completion zsh)"
compadd() { local a; for a in "$@"; do [[ $a == -* || -z $a ]] || print -n "$a|"; done; }
compset() { :; }
_files() { print -n "files|"; }
words=(${(z)1}); [[ $1 == *' ' ]] && words+=("")
CURRENT=$#words PREFIX=$words[-1]
_omniformer
"""
FISH = "omniformer completion fish | source; complete -C $argv[1]"


def shell(name, *arguments):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([name, *arguments], capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert not done.stderr
    return done.stdout


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("omniformer tra", "train |-o nospace|"),
        ("omniformer train core=ti", "tiny |-o nospace|"),
        ("omniformer train modality=vision,te", "vision,text |-o nospace|"),
        ("omniformer train optim.warm", "optim.warmup_steps=|-o nospace|"),
        ("omniformer predict run --dev", "--device |-o nospace|"),
        ("omniformer predict ", "|"),  # bash falls back on files
    ],
)
def test_bash_completes(line, reply):
    assert shell("bash", "--norc", "-c", BASH, "bash", line) == reply


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("omniformer tra", "train|"),
        ("omniformer train core=ti", "core=tiny|"),
        ("omniformer train optim.warm", "optim.warmup_steps=|"),
        ("omniformer predict ", "files|"),
    ],
)
def test_zsh_completes(line, reply):
    assert shell("zsh", "-f", "-c", ZSH, "zsh", line) == reply


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("omniformer tra", "train\n"),
        ("omniformer train core=ti", "core=tiny\n"),
        ("omniformer train optim.warm", "optim.warmup_steps=\n"),
    ],
)
def test_fish_completes(line, reply):
    assert shell("fish", "--no-config", "-c", FISH, line) == reply


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_printed_and_says_where_it_goes(name, capsys):
    main([name])
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert f"{name} completion for omniformer" in first + second
    assert "~/." in first + second


def test_a_shell_that_we_have_no_script_for_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["csh"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "invalid choice: 'csh'" in said
    assert all(name in said for name in SCRIPTS)
