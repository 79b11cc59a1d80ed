"""Which files a command line chooses, told without Hydra: within milliseconds, to offer keys; nothing runs from it.

It follows Hydra's rules for what the shipped files use: `_self_`, groups inside groups, `override`, `optional`,
`group@package`, and `# @package` headers.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from omniformer.config.composing import Layer

FAST_OR_SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where libyaml is there
_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)", re.MULTILINE)
_ENTRY = re.compile(r"(?P<words>(?:(?:override|optional)\s+)*)(?P<group>[^@\s]+)(?:@(?P<package>\S+))?")


@dataclass(frozen=True, slots=True)
class _Choice:
    """An entry of a defaults list, placed: the key by which others override it, its group and package."""

    key: str
    group: str
    package: str
    option: Any
    overrides: bool = False


@dataclass(slots=True)
class _Sketch:
    folders: Sequence[Path]
    chosen: dict[str, Any] = field(default_factory=dict)  # by key; whoever comes first decides

    def layers(self, config: str, package: str) -> list[Layer]:
        """The files of one config and of its defaults list, in the order in which they are laid over each other."""
        path = next((file for folder in self.folders if (file := folder / f"{config}.yaml").is_file()), None)
        if path is None:
            return []
        text = path.read_text(encoding="utf-8")
        package = _placed(text, package)
        entries = list(_entries(text, config.rpartition("/")[0], package))
        for entry in entries:
            if isinstance(entry, _Choice) and entry.overrides:
                self.chosen.setdefault(entry.key, entry.option)
        found: list[list[Layer]] = []
        # From the last entry on, as Hydra does: what an experiment overrides is known before the groups are read.
        for entry in reversed(entries):
            if entry == "_self_":
                found.append([Layer(path, package)])
            elif isinstance(entry, _Choice) and not entry.overrides:
                found.append(self._chosen(entry))
        return [layer for layers in reversed(found) for layer in layers]

    def _chosen(self, entry: _Choice) -> list[Layer]:
        option = self.chosen.get(entry.key, entry.option)
        if isinstance(option, str) and (reference := re.fullmatch(r"\$\{(.+)\}", option)):
            option = self.chosen.get(reference[1])
        self.chosen.setdefault(entry.key, option)
        options = option if isinstance(option, list) else [option]
        return [
            layer
            for each in options
            if each not in (None, "null")
            for layer in self.layers(f"{entry.group}/{each}".lstrip("/"), entry.package)
        ]


def layers(folders: Sequence[Path], config_name: str, choices: Mapping[str, str]) -> list[Layer]:
    """The files that make up a configuration, in the order in which they are laid over each other.

    Args:
        folders: where config files are, the first that has one decides.
        config_name: the primary config file, without its ending.
        choices: options by group, from the command line.

    Example:
        >>> from omniformer.config.folder import conf_dir
        >>> [each.path.name for each in layers([conf_dir()], "train", {"core": "wide_as_the_sea"})][:2]
        ['train.yaml', 'default.yaml']
    """
    return _Sketch(folders, dict(choices)).layers(config_name, "")


def merged(found: Iterable[Layer]) -> dict[str, Any]:
    """The content of all files, later ones over earlier ones; references stay as they are written."""
    config: dict[str, Any] = {}
    for layer in found:
        content = _read(layer.path.read_text(encoding="utf-8"))
        own = {key: value for key, value in content.items() if key != "defaults"}
        for part in reversed(layer.package.split(".") if layer.package else []):
            own = {part: own}
        lay_over(config, own)
    return config


def lay_over(config: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lays one mapping over another, key by key, as Hydra merges files."""
    for key, value in over.items():
        if isinstance(value, Mapping):
            below = config.get(key)
            config[key] = below if isinstance(below, dict) else {}
            lay_over(config[key], value)
        else:
            config[key] = value


@cache
def _read(text: str) -> dict[str, Any]:
    content = yaml.load(text, Loader=FAST_OR_SAFE)
    return content if isinstance(content, dict) else {}


def _placed(text: str, package: str) -> str:
    """The package of a file: what its header says, or the one that its group gives."""
    header = _PACKAGE.search(text)
    if header is None:
        return package
    return "" if header[1] == "_global_" else header[1]


def _entries(text: str, group: str, package: str) -> Iterator["_Choice | str"]:
    """The defaults list of a file, `_self_` first where it does not stand in it."""
    entries = _read(text).get("defaults") or []
    if "_self_" not in entries:
        yield "_self_"
    for entry in entries:
        if entry == "_self_":
            yield "_self_"
        elif isinstance(entry, str):
            yield _Choice(entry, group, package, entry)
        elif isinstance(entry, dict):
            yield from (_choice(str(name), option, group, package) for name, option in entry.items())


def _choice(name: str, option: Any, group: str, package: str) -> _Choice:
    match = _ENTRY.fullmatch(name.strip())
    if match is None:
        return _Choice(name, "", package, None)
    absolute = match["group"].startswith("/")
    inner = match["group"].lstrip("/")
    of = inner if absolute or not group else f"{group}/{inner}"
    relative = match["package"] or inner.replace("/", ".")
    place = relative if not package else f"{package}.{relative}"
    if "override" in match["words"]:  # it names a group as the command line does
        return _Choice(of if match["package"] is None else f"{of}@{match['package']}", of, place, option, True)
    return _Choice(of if place == of.replace("/", ".") else f"{of}@{place}", of, place, option)
