"""The source code of the standard library of the running Python."""

import sysconfig
import tokenize
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from omniformer.core.ranges import Count
from omniformer.data.compression import bz2_baseline
from omniformer.data.source import Raw, Source, Split
from omniformer.data.splitting import hashed_split

# Not written by hand, not part of the library proper, or (pydoc_data) the text of the other corpus.
_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "dist-packages", "pydoc_data", "encodings", "__pycache__"}


class StdlibCode(Source):
    """Python's standard library as text: one document a module, tests and generated tables left out.

    Files with the same text are kept once, before the split. Files are split by the hash of their names into 80 %
    train, 10 % validation and 10 % test of the characters. The text belongs to the running version of Python.

    Args:
        max_bytes: the most text to take in all, files in the order of their hashes; None takes everything, about 12 MB.

    Raises:
        ValueError: `max_bytes` is below 1.
        FileNotFoundError: this Python was installed without the sources of its library.

    Example:
        >>> StdlibCode(max_bytes=200_000).split("train")[0].id.endswith(".py")
        True
    """

    modalities = ("text",)

    def __init__(self, *, max_bytes: Count | None = None) -> None:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes={max_bytes} must be at least 1, or null for everything")
        self.max_bytes = max_bytes

    def split(self, name: Split) -> Sequence[Raw]:
        """The raw samples of one split, in a fixed order."""
        return self._splits[name]

    def baselines(self) -> Mapping[str, float]:
        """What the compressor bz2 makes of the test split once it has seen the training split."""
        return bz2_baseline(self)

    @cached_property
    def _splits(self) -> dict[Split, list[Raw]]:
        from omniformer.data.random import fraction

        folder = Path(sysconfig.get_path("stdlib"))
        files = [p for p in folder.rglob("*.py") if not _LEFT_OUT & set(p.relative_to(folder).parts)]
        if not files:
            raise FileNotFoundError(f"this Python has no library sources in {folder}; use another data set")
        paths = {path.relative_to(folder).as_posix(): path for path in files}
        texts: dict[str, str] = {}
        room = self.max_bytes
        for name in sorted(paths, key=lambda name: (fraction(name, "stdlib"), name)):
            text = _read(paths[name])
            if room is not None:
                room -= len(text.encode())
                if room < 0:
                    break
            texts[name] = text
        return _split_texts(texts)


def _read(path: Path) -> str:
    with tokenize.open(path) as file:
        return file.read()


def _split_texts(texts: dict[str, str]) -> dict[Split, list[Raw]]:
    first = {text: name for name, text in sorted(texts.items(), reverse=True) if text.strip()}
    names = sorted(first.values())
    split = hashed_split(names, val=0.1, test=0.1, weights=[len(texts[name]) for name in names])
    return {
        part: [Raw(id=f"stdlib_code/{names[i]}", contents={"text": texts[names[i]]}) for i in items]
        for part, items in split.items()
    }
