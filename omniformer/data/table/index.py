"""What a long look at files found, kept between runs: arrays in the cache folder, for as long as the files stay."""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

import omniformer
from omniformer.data.sets.arrays import array_names, read_arrays
from omniformer.files.durable import sha256_of

Arrays = Mapping[str, NDArray]

LEAST = 16_000_000  # bytes of files: fewer are looked at as fast as they are hashed
_KEPT = 200  # indexes in the folder; those used last stay
_TOLD = "told"  # the array of all that is no array


class Index:
    """What was found of some files with some settings: kept where the files together are large.

    It counts for the content of the files alone: one that is for other content, or damaged, is made anew, which is
    said. It lies in the folder `tables` of `OMNIFORMER_CACHE`, or else of the user's cache folder, and holds numbers
    and JSON: nothing in it can run.

    Args:
        what: is kept, for messages: `rows of table.csv`.
        files: on whose content it depends; None where more decides, so that nothing is kept.
        settings: all else on which it depends, as JSON can say it.

    Example:
        >>> index = Index("rows of a small table", [Path(__file__)], {})
        >>> index.save({"starts": np.arange(3)}), index.load()  # which is not worth it
        (None, None)
    """

    def __init__(self, what: str, files: Sequence[Path] | None, settings: Mapping[str, Any]) -> None:
        self.what, self.files = what, list(files or ())
        self.worth = sum(file.stat().st_size for file in self.files) >= LEAST
        named = json.dumps([what, [str(file.resolve()) for file in self.files], settings], sort_keys=True, default=str)
        self.name = hashlib.sha256(f"{omniformer.__version__} {_code()} {named}".encode()).hexdigest()[:32] + ".npz"

    def load(self, *, of: Sequence[str] = ()) -> dict[str, Any] | None:
        """What was kept, by name; None where there is nothing that counts.

        Args:
            of: names that it must have.
        """
        if not self.worth or (path := self._path()) is None or not path.is_file():
            return None
        try:
            arrays = read_arrays(path, array_names(path))
            told = json.loads(arrays.pop(_TOLD).tobytes())
            if missing := set(of) - {*arrays, *told["values"]}:
                raise ValueError(f"it lacks {sorted(missing)[0]!r}")
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{path} is damaged, so that {self.what} are looked at anew: {error}", stacklevel=2)
            return None
        if told["contents"] != self._contents:
            rank_zero_info(f"{self.what}: the file has changed since it was looked at; it is looked at anew")
            return None
        os.utime(path)  # one that is used stays
        return {**told["values"], **arrays}

    def save(self, found: Mapping[str, Any]) -> None:
        """Keeps what was found: arrays, and what JSON can say; where that is not possible, it is said.

        Args:
            found: by name.
        """
        if not self.worth or (path := self._path()) is None:
            return
        arrays = {name: each for name, each in found.items() if isinstance(each, np.ndarray)}
        values = {name: each for name, each in found.items() if name not in arrays}
        told = json.dumps({"contents": self._contents, "values": values}).encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as stream:
                np.savez(stream, **{**arrays, _TOLD: np.frombuffer(told, np.uint8)})
            Path(stream.name).replace(path)  # whole, or not there
            for old in sorted(path.parent.iterdir(), key=lambda each: -each.stat().st_mtime)[_KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(f"what was found of {self.what} cannot be kept for the next run: {error}", stacklevel=2)

    @cached_property
    def _contents(self) -> list[str]:
        """The hashes of the files before they are looked at: one that changes meanwhile is another one."""
        stats = [(file, file.stat()) for file in self.files]
        return [_hash(file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats]

    def _path(self) -> Path | None:
        """Where it lies; None where a user has no such folder."""
        own = os.environ.get("OMNIFORMER_CACHE") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/omniformer"
        try:
            return Path(own).expanduser() / "tables" / self.name
        except RuntimeError:
            return None


@lru_cache(maxsize=256)
def _hash(file: Path, *stat: int) -> str:
    """The hash of a file's content, once for each state of it."""
    return sha256_of(file)


@lru_cache(maxsize=1)
def _code() -> str:
    """The hash of what looks at files: after a change of it, they are looked at anew."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
