"""`omniformer help KEY|GROUP|GROUP=OPTION ...`: what a key or group of a configuration means, and where it stands."""

import os
import sys
from collections.abc import Sequence

from omniformer.config import ConfigError, reported
from omniformer.config.called import called, program, versions
from omniformer.config.cli import STAMP, run_stamp
from omniformer.config.composing import compose, layers, resolved, written
from omniformer.config.explain import Composition, explain
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import CommandLine, default_groups, group_options, read, repair
from omniformer.config.plugins import searched
from omniformer.config.validate import ROOT
from omniformer.inspect import ROOT as INSPECT_ROOT

# Primary configurations, and the classes that describe their keys.
ROOTS = {"train": ROOT, "inspect": INSPECT_ROOT}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what a key, a group or an option means: meaning, type, range, default, value, choices, files."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with reported():
        line = read(given)
        if line.version:
            print(versions())
        elif line.help or not given:
            print(_usage())
        else:
            print(_answer(line, given))


def _answer(line: CommandLine, given: Sequence[str]) -> str:
    asked, overrides = _split(line, given)
    name, folder = line.config_name or "train", conf_dir()
    if name not in ROOTS:
        raise ConfigError([f"--config-name {name}: accepted: {', '.join(ROOTS)}"])
    folders = searched(folder, line.config_dir)
    options = group_options(folders)
    defaults = default_groups(folder / f"{name}.yaml")
    repaired = repair(overrides, options, defaults)
    typed = [each.lstrip("+").split("=", 1) for each in overrides]
    os.environ.setdefault(STAMP, run_stamp(os.environ))  # the name of a folder that a run would have
    composed = compose(line, name, folder, repaired, options)
    return explain(
        asked,
        Composition(
            config=written(composed),
            resolved=lambda key: resolved(composed, key),
            layers=layers(line, name, folder, repaired, options),
            overrides={key: value for key, value in typed if key.partition("@")[0] not in options},
            options={group: names for group, names in options.items() if group.split("/")[0] in defaults},
            folders=folders,
            root=ROOTS[name],
        ),
    )


def _split(line: CommandLine, given: Sequence[str]) -> tuple[str, list[str]]:
    """What is asked for, and the overrides beside it: the word without `=`, or else the first with one.

    Raises:
        ConfigError: nothing is asked for, or two things are.
    """
    values = {str(each) for each in (line.config_dir, line.config_name, line.cfg) if each is not None}
    words = [each for each in given if not each.startswith("-") and each not in values]
    asked = [each for each in words if "=" not in each]
    if len(asked) > 1 or not words:
        found = f"received {' and '.join(asked)}" if asked else "received none"
        raise ConfigError([f"one key or group at a time; {found}; accepted: as in {program()} help optim.lr"])
    first = asked[0] if asked else words[0]
    rest = list(words)
    rest.remove(first)
    return first, rest


def _usage() -> str:
    command = called("help")
    return "\n".join(
        [
            "Says what a key or a group of a configuration means: type, range, default, choices, and in which file.",
            "",
            f"usage: {command} KEY|GROUP|GROUP=OPTION [group=option ...] [key=value ...]",
            "",
            "options:",
            "  --config-dir DIR      look at groups and options of your own as well",
            "  --config-name NAME    the keys of train (default) or of inspect",
            "",
            "examples:",
            f"  {command} optim.lr",
            f"  {command} core.attention core=small",
            f"  {command} tokenizer.patch_size modality=vision",
            f"  {command} experiment=vqa",
        ]
    )


if __name__ == "__main__":
    main()
