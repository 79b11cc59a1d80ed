"""Files that are either whole or absent: written aside, forced to disk, renamed; and the hash that tells a change."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

TEMPORARY = ".writing"
"""How the name of a file ends that is being written."""


def write_durably(path: Path, text: str | Iterable[str]) -> None:
    """Replaces a text file atomically: readers see the old content or the new, never a part.

    Args:
        path: the file.
        text: all of it, or piece by piece.

    Raises:
        OSError: the file cannot be written; what stood there before is untouched.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_durably(Path(folder) / "metrics.json", "{}")
        ...     (Path(folder) / "metrics.json").read_text()
        '{}'
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines([text] if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Forces the names in a folder to disk, such as that of a file that was renamed; Windows cannot open folders and
    needs no such call.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The SHA-256 of what a file holds, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
