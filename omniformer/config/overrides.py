"""Reads the command line before Hydra does: every spelling of an override works, and every mistake is ours to tell."""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from omniformer.config.errors import ConfigError

_OWN = "allow_targets"
_OVERRIDE = re.compile(r"(?P<prefix>\+{0,2})(?P<key>[\w.$/-]+)=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The options that we must know before Hydra starts; all others are Hydra's own affair."""

    help: bool
    version: bool
    cfg: str | None
    whole: bool  # what --cfg shows: neither a part nor with references followed, which Hydra does
    sweep: bool
    config_dir: Path | None
    config_name: str | None
    rest: tuple[str, ...]  # all other arguments, options and values of these left out


def read(arguments: Sequence[str]) -> CommandLine:
    """The options among the arguments.

    Example:
        >>> read(["seed=1", "-m", "--cfg", "job"]).cfg
        'job'
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--cfg", "-c")
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd", type=Path)
    parser.add_argument("--config-name", "-cn")
    known, rest = parser.parse_known_args(arguments)
    whole = known.package is None and not known.resolve
    places = known.config_dir, known.config_name
    return CommandLine(known.help, known.version, known.cfg, whole, known.multirun, *places, tuple(rest))


def group_options(folders: Iterable[Path]) -> dict[str, list[str]]:
    """The config groups in some folders, and the options of each, by name.

    Example:
        >>> from omniformer.config.folder import conf_dir
        >>> group_options([conf_dir()])["debug"]
        ['fast', 'overfit', 'profile']
    """
    options: dict[str, set[str]] = {}
    for folder in folders:
        for path in folder.rglob("*.yaml"):
            relative = path.relative_to(folder)
            if relative.parent.parts:
                options.setdefault(relative.parent.as_posix(), set()).add(relative.stem)
    return {group: sorted(names) for group, names in sorted(options.items())}


def default_groups(primary: Path) -> set[str]:
    """The groups that the defaults list of a primary config names: they are chosen without a `+`."""
    entries = yaml.safe_load(primary.read_text(encoding="utf-8")).get("defaults", [])
    names = [str(key) for entry in entries if isinstance(entry, dict) for key in entry]
    return {name.removeprefix("optional ").removeprefix("override ").strip() for name in names}


def own_packages(arguments: Iterable[str], primary: Path) -> object:
    """What the user allows: `allow_targets` as typed, else as the program's own primary config has it.

    Files of the user's or of somebody else's are not asked: one that names a class could allow it to itself.

    Args:
        arguments: as typed.
        primary: the primary config of the program.

    Raises:
        ConfigError: what was typed cannot be read, such as several lists to sweep over.

    Example:
        >>> from omniformer.config.folder import conf_dir
        >>> own_packages(["seed=1", "allow_targets=[mypackage]"], conf_dir() / "train.yaml")
        ['mypackage']
    """
    typed = [match["value"] for each in arguments if (match := _OVERRIDE.fullmatch(each)) and match["key"] == _OWN]
    try:
        if typed:
            return yaml.safe_load(typed[-1]) or []
    except yaml.YAMLError:
        raise ConfigError([f"{_OWN}: received {typed[-1]!r}, accepted: one list, as in {_OWN}=[mypackage]"]) from None
    return yaml.safe_load(primary.read_text(encoding="utf-8")).get(_OWN) or []


def repair(arguments: Iterable[str], groups: Iterable[str], defaults: Iterable[str]) -> list[str]:
    """The arguments as Hydra wants them.

    A group of the defaults list is chosen without the `+` that many projects teach. Any other key is set whether a file
    mentions it or not: constructors have more parameters than files list, and our own check tells the real ones.

    Args:
        arguments: as typed.
        groups: all config groups.
        defaults: those that the defaults list names.

    Raises:
        ConfigError: a group of the defaults list has no options yet.

    Example:
        >>> repair(["+experiment=x", "optim.lr=1", "sed=3", "-m"], ["experiment"], ["experiment"])
        ['-m', 'experiment=x', '++optim.lr=1', '++sed=3']
    """
    groups, defaults = set(groups), set(defaults)

    def repaired(argument: str) -> str:
        match = _OVERRIDE.fullmatch(argument)
        if match is None or argument.startswith("-") or match["key"].startswith(("hydra.", "hydra/")):
            return argument
        plain = f"{match['key']}={match['value']}"
        if match["key"] in defaults:
            if match["key"] not in groups:
                file = f"{plain.replace('=', '/')}.yaml"
                raise ConfigError([f"{plain}: there is no {file} yet; write one, and name its root with --config-dir"])
            return plain
        return argument if match["key"] in groups or "/" in match["key"] else f"++{plain}"

    # Hydra's own parser wants the overrides together: options that stand between them go before them.
    return sorted(map(repaired, arguments), key=_is_override)


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))


def naming(key: str, arguments: Sequence[str]) -> list[str]:
    """The arguments, of which a first one that is a plain word sets a key.

    Example:
        >>> naming("model.pretrained", ["runs/a b", "data=mnist"])
        ["model.pretrained='runs/a b'", 'data=mnist']
    """
    word, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if not word or word.startswith("-") or "=" in word:
        return list(arguments)
    quoted = word.replace("\\", "\\\\").replace("'", "\\'")
    return [f"{key}='{quoted}'", *rest]
