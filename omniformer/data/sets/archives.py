"""Small files inside one zip archive, as public data sets come."""

import zipfile
import zlib
from pathlib import Path

from omniformer.data.sets.reading import check_unpacked


def members(file: Path, suffix: str) -> dict[str, bytes]:
    """The files of an archive whose names end in `suffix`: their contents by their whole names, sorted.

    Raises:
        ValueError: the archive or one of the files cannot be read; names both. Or together they unfold into more than
            `omniformer_tokenizers.limits` accept.

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
            wanted = sorted(name for name in archive.namelist() if name.endswith(suffix))
            check_unpacked([archive.getinfo(name) for name in wanted])
            for name in wanted:
                contents[name] = archive.read(name)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        member = f" at {name!r}" if name else ""
        raise ValueError(f"{file} cannot be read{member}: {error}; fetch the archive anew") from error
    return contents
