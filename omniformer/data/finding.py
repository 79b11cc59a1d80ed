"""Which files a user's paths and patterns name."""

import glob
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from omniformer.data.source import own, resolve


def matching_files(patterns: str | Sequence[str], data_root: str | None, suffixes: Sequence[str]) -> list[Path]:
    """The files of paths and patterns, each once, in order.

    Args:
        patterns: paths or patterns such as `books/*.txt`; relative ones are looked for where one stands, then under
            `data_root`.
        data_root: where data lies on this machine; None means the current folder alone.
        suffixes: the kinds of files that are read; others that a pattern matches are passed over with a warning.

    Raises:
        FileNotFoundError: a path or pattern matches no file.
        ValueError: it matches none of a known kind.
    """
    found: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        paths = _named(pattern, data_root)
        if not paths:
            raise FileNotFoundError(
                f"no file matches {pattern!r} here, nor {str(resolve(pattern, data_root))!r} (data_root={data_root})"
            )
        known: list[Path] = []
        others: list[str] = []
        for path in paths:
            if path.name.lower().endswith(tuple(suffixes)):
                known.append(path)
            else:
                others.append(path.name)
        kinds = ", ".join(suffixes)
        if not known:
            raise ValueError(f"{paths[0]} is not one of {kinds}; rename or convert it")
        if others:
            warnings.warn(
                f"{pattern}: passed over {len(others)} of {len(paths)} files, which are not one of {kinds}: "
                f"{', '.join(others[:8])}{', ...' if len(others) > 8 else ''}",
                stacklevel=2,
            )
        found += known
    return list(dict.fromkeys(found))


def _named(pattern: str, data_root: str | None) -> list[Path]:
    """The files of one path or pattern; a file of that very name, with brackets in it, comes before the pattern."""
    pattern = str(Path(pattern).expanduser())
    literal = own(pattern, data_root)
    if literal.is_file():
        return [literal]
    roots = dict.fromkeys((Path(), Path() if os.path.isabs(pattern) else Path(data_root or ".").expanduser()))
    here, *elsewhere = (
        [
            root / name
            for name in sorted(glob.glob(pattern, root_dir=root, recursive=True))
            if os.path.isfile(os.path.join(root, name))
        ]
        for root in roots
    )
    there = elsewhere[0] if elsewhere else here
    if here and there and not here[0].samefile(there[0]):
        warnings.warn(
            f"{pattern!r} matches files here and under data_root={data_root}; those here are taken, give the whole "
            "path of the others to have those",
            stacklevel=2,
        )
    return here or there
