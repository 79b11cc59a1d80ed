"""The words that may stand next on the line of a command that composes a configuration."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from omniformer.config.accepts import is_node, kind
from omniformer.config.overrides import default_groups, group_options, read
from omniformer.config.plugins import searched
from omniformer.config.signature import Signature, signature
from omniformer.config.sketch import lay_over, layers, merged
from omniformer.config.validate import META, described_by

FLAGS = ("--help", "--version", "--cfg", "--config-dir", "--multirun", "--hydra-help")
_AFTER = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all")}


def offers(words: Sequence[str], begun: str, *, name: str, root: str, folder: Path, keys_alone: bool) -> list[str]:
    """Words that begin as the last one does; one that is whole ends with a space.

    Args:
        words: the arguments before it.
        begun: the last word, as far as it was typed.
        name: the primary config file, without its ending, where the words name none.
        root: the class that describes its keys.
        folder: the folder of the configuration.
        keys_alone: whether a key stands by itself, as in `omniformer help optim.lr`, rather than before a `=`.

    Example:
        >>> from omniformer.config.folder import conf_dir
        >>> from omniformer.config.validate import ROOT
        >>> offers([], "core=ti", name="train", root=ROOT, folder=conf_dir(), keys_alone=False)
        ['core=tiny ']
    """
    if words and words[-1] in _AFTER:
        return _starting(begun, (f"{each} " for each in _AFTER[words[-1]]))
    if words and words[-1] in ("--config-dir", "-cd"):
        return []
    if begun.startswith("-"):
        return _starting(begun, (f"{flag} " for flag in FLAGS))
    plus = begun[: len(begun) - len(begun.lstrip("+"))]
    line = read(words)
    folders = searched(folder, line.config_dir)
    name = line.config_name or name
    primary = folder / f"{name}.yaml"
    named = default_groups(primary) if primary.is_file() else set()
    groups = {group: all_ for group, all_ in group_options(folders).items() if group.split("/")[0] in named}
    line_of = _Line(words, groups, folders, name, root)
    found = line_of.values(begun.lstrip("+")) if "=" in begun else line_of.names(begun.lstrip("+"), keys_alone)
    return [plus + each for each in found]


class _Line:
    """A line's configuration, sketched when a key is asked for."""

    def __init__(
        self, words: Sequence[str], groups: Mapping[str, Sequence[str]], folders: Sequence[Path], name: str, root: str
    ) -> None:
        self.given = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word and not word.startswith("-"))
        self.groups, self.folders, self.name, self.root = groups, folders, name, root

    def values(self, begun: str) -> list[str]:
        """What may follow a `=`: options of a group, one after another in a sweep, or the values of a key's type."""
        key, _, value = begun.partition("=")
        before, comma, last = value.rpartition(",")
        if key in self.groups:
            options: Iterable[str] = self.groups[key]
        else:
            options, before, comma, last = self._kinds(key), "", "", value
        return [f"{key}={before}{comma}{option} " for option in options if option.startswith(last)]

    def names(self, begun: str, keys_alone: bool) -> list[str]:
        """What may stand before a `=`, or by itself: groups, and keys as far as the next dot."""
        end = " " if keys_alone else "="
        if "/" in begun:
            return _starting(begun, (f"{group}{end}" for group in self.groups if "/" in group))
        above, _, _ = begun.rpartition(".")
        found = list(self._keys(above, end))
        if not above:
            found += [f"{group}{end}" for group in self.groups if "/" not in group]
        # Where one word is left, what can follow it is offered at once: its keys, and the groups inside it.
        inner = [f"{begun}/"] if any(group.startswith(f"{begun}/") for group in self.groups) else []
        return _starting(begun, dict.fromkeys([*found, *inner]))

    def _kinds(self, key: str) -> list[str]:
        above, _, name = key.rpartition(".")
        described = self._describing(above, self._value(above))
        parameter = None if described is None else described.parameters.get(name)
        if parameter is None:
            return []
        words = kind(parameter.annotation, parameter.module).options
        fixed = {"true or false": ["true", "false"], "null": ["null"]}
        return [each for word in words for each in fixed.get(word, [word[1:-1]] if word.startswith("'") else [])]

    def _keys(self, above: str, end: str) -> Iterator[str]:
        value = self._value(above)
        described = self._describing(above, value)
        names = dict.fromkeys([*value, *(described.parameters if described else ())])
        for name in names:
            if name in META or (name == "defaults" and not above):
                continue
            full = f"{above}.{name}" if above else str(name)
            inside = isinstance(value.get(name), Mapping) or described_by(full, self.root) is not None
            yield f"{full}." if inside else f"{full}{end}"
            if inside and end == " ":
                yield f"{full}{end}"

    def _value(self, key: str) -> Mapping[str, Any]:
        value: Any = self._config()
        for part in key.split(".") if key else ():
            value = value.get(part) if isinstance(value, Mapping) else None
        return value if isinstance(value, Mapping) else {}

    def _config(self) -> dict[str, Any]:
        chosen = {key: value for key, value in self.given.items() if key.partition("@")[0] in self.groups}
        config = merged(layers(self.folders, self.name, chosen))
        for key, value in self.given.items():
            if key not in chosen:
                over: Any = yaml.safe_load(value)
                for part in reversed(key.split(".")):
                    over = {part: over}
                lay_over(config, over)
        return config

    def _describing(self, key: str, value: Mapping[str, Any]) -> Signature | None:
        target = value["_target_"] if is_node(value) else described_by(key, self.root)
        try:
            return None if target is None else signature(str(target))
        except LookupError:
            return None


def _starting(begun: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(begun)]
