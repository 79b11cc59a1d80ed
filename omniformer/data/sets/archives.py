"""Small files inside one zip archive, as public data sets come."""

import zipfile
import zlib
from pathlib import Path

from omniformer.data.sets.reading import read_member


def members(file: Path, suffix: str) -> dict[str, bytes]:
    """The files of an archive whose names end in `suffix`: their contents by their whole names, sorted.

    Raises:
        ValueError: the archive or one of the files cannot be read; names both.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with zipfile.ZipFile(file := Path(folder) / "a.zip", "w") as archive:
        ...         archive.writestr("x/one.txt", "1")
        ...     members(file, ".txt")
        {'x/one.txt': b'1'}
    """
    contents = {}
    name = None
    try:
        with zipfile.ZipFile(file) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(suffix):
                    contents[name] = read_member(archive, name)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        member = f" at {name!r}" if name else ""
        raise ValueError(f"{file} cannot be read{member}: {error}; fetch the archive anew") from error
    return contents
