"""Plug-ins: installed packages that bring groups of configuration, and the parts that these name."""

import functools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

GROUP = "omniformer.plugins"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A package that declares an entry point of the group `omniformer.plugins`, whose value is the package's name.

    Args:
        name: of the entry point.
        package: whose classes configurations may name, as if its user had typed `allow_targets`.
        release: the distribution it came with, and which version.
        conf: its folder of configuration groups, `conf` within the package; None where it has none.
    """

    name: str
    package: str
    release: str
    conf: Path | None


def installed() -> list[Plugin]:
    """The plug-ins of this environment, by name. None of their code runs; who installs a package trusts it.

    A declaration that names no package is passed over with one line on stderr, so that it does not stop what has
    nothing to do with it.

    Example:
        >>> [plugin.name for plugin in installed() if plugin.package == "omniformer"]
        []
    """
    return list(_declared(tuple(sys.path)))


@functools.lru_cache(maxsize=1)  # a command asks several times, and each search reads every distribution there is
def _declared(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """The plug-ins of the distributions on a search path, which is that of this process."""
    found = [_read(entry) for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)]
    for fault in (each for each in found if isinstance(each, str)):
        print(f"plug-in passed over: {fault}", file=sys.stderr)
    return tuple(each for each in found if isinstance(each, Plugin))


def searched(own: Path, config_dir: Path | None, plugins: Iterable[Plugin] | None = None) -> list[Path]:
    """The folders in which configuration is looked for, in order: ours, the user's, those of plug-ins.

    Args:
        own: the folder of the program.
        config_dir: what the user named.
        plugins: None for those that are installed.
    """
    found = installed() if plugins is None else plugins
    return [own, *([config_dir] if config_dir else []), *(each.conf for each in found if each.conf)]


def named(config: Any, plugins: Iterable[Plugin]) -> list[str]:
    """The packages of plug-ins of which a configuration names a class: what its run will ask others to trust.

    Example:
        >>> named({"task": {"_target_": "tilt.Task"}}, [Plugin("tilt", "tilt", "tilt 1.0", None)])
        ['tilt']
    """
    targets = set(_targets(config))
    return [each.package for each in plugins if any(target.startswith(f"{each.package}.") for target in targets)]


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_":
                yield str(value)
            yield from _targets(value)
    elif isinstance(node, list):
        for each in node:
            yield from _targets(each)


def _read(entry: EntryPoint) -> Plugin | str:
    """The plug-in that an entry point declares, or what is wrong with it."""
    release = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
    spec = find_spec(entry.value) if entry.value.isidentifier() else None  # of a name without dots, nothing is imported
    if spec is None or not spec.submodule_search_locations:
        return f"{entry.name} of {release} declares {entry.value!r}, accepted: the name of a package that it installs"
    places = (Path(place) / "conf" for place in spec.submodule_search_locations)
    return Plugin(entry.name, entry.value, release, next((place for place in places if place.is_dir()), None))
