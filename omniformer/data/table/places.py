"""Where the files that a table names lie."""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PureWindowsPath

from omniformer.data.remote import Remote

_REMOTE = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "hf")


class Places:
    """Finds the files that the cells of a table name, which may be a stranger's: only in some folders, by default.

    Args:
        folders: where a relative path is looked for, in order, after the folder of the table.
        outside: whether a path may lead out of these folders: an absolute one, one with `..`, a link.
        download: whether addresses may be fetched.
        ask: how a user says `outside`, for messages.
    """

    def __init__(
        self, folders: Sequence[Path], *, outside: bool = False, download: bool = False, ask: str = "set outside=true"
    ) -> None:
        self.folders = [_real(folder) for folder in dict.fromkeys(folders)]
        self.outside, self.download, self.ask = outside, download, ask
        self.asked = False  # whether a file was looked for

    def find(self, name: str, beside: Path | None) -> Path | Remote:
        """The file of a cell, or what lies at its address.

        Args:
            name: what the cell says.
            beside: the folder of the table; None where it lies in none.

        Raises:
            ValueError: there is no such file, it lies outside of the folders, or it is an address and `download` is
                off; says what to do.
        """
        self.asked = True
        if (scheme := name.partition("://")[0]) != name:
            return self._address(name, scheme)
        away = os.path.isabs(name) or ((name[1:2] == ":" or name[:1] == "\\") and bool(PureWindowsPath(name).drive))
        folders = [*([] if beside is None else [_real(beside)]), *self.folders]
        for folder in folders:
            path = os.path.join(folder, os.path.expanduser(name) if self.outside else name)
            if not os.path.isfile(path):
                continue
            if self.outside or (not away and leads_within(path, folder)):
                return Path(path)
            raise ValueError(f"{name!r} leads out of {folder}; {self.ask} where the table is your own")
        if away and not self.outside:
            raise ValueError(f"{name!r} is no path beside the table; {self.ask} where the table is your own")
        raise ValueError(f"there is no file {name!r} in {', '.join(dict.fromkeys(folders))}")

    def _address(self, name: str, scheme: str) -> Remote:
        if scheme not in _REMOTE or "::" in name:
            raise ValueError(f"{name!r} is no address that is fetched; accepted are {', '.join(_REMOTE)}")
        if not self.download:
            raise ValueError(f"{name!r} is not fetched unasked; set download=true, or fetch it and give its path")
        return Remote(name)


def leads_within(path: str | Path, folder: str | Path) -> bool:
    """Whether a file lies in a folder, links followed; of each folder these are followed once.

    Example:
        >>> leads_within(__file__, Path(__file__).parent)
        True
    """
    above, name = os.path.split(path)
    real = os.path.realpath(path) if os.path.islink(path) or name == ".." else os.path.join(_real(above), name)
    return real.startswith(os.path.join(_real(folder), ""))


def _real(folder: str | Path) -> str:
    name = os.fspath(folder)
    return _followed(name if os.path.isabs(name) else os.path.abspath(name))


@lru_cache(maxsize=4096)
def _followed(folder: str) -> str:
    return os.path.realpath(folder)
