"""Files of text and folders of files, read the same way by everything that reads any."""

import os
from collections.abc import Iterator
from pathlib import Path


def read_text(path: str | Path) -> str:
    """The UTF-8 text of a file, without the byte order mark that some programs put before it.

    Lines end with a line feed, whether the file ends them so or with carriage return and line feed.

    Raises:
        OSError: there is no such file, or it must not be read.
        ValueError: it is not UTF-8; names the file.
    """
    return decoded(Path(path).read_bytes(), str(path))


def decoded(content: bytes, where: str) -> str:
    r"""`read_text`, of what a file holds.

    Args:
        content: the bytes.
        where: the name of the file, for messages.

    Raises:
        ValueError: it is not UTF-8; names the file.

    Example:
        >>> decoded(b"\xef\xbb\xbfone\r\ntwo", "numbers.txt")
        'one\ntwo'
    """
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} cannot be read as UTF-8 text: {error}") from error


def lines_of(text: str) -> list[str]:
    r"""The lines of a text: only a line feed, with or without a carriage return before it, ends one.

    `str.splitlines` also cuts at form feeds, U+0085, U+2028 and others, which stand within sentences and tokens.

    Example:
        >>> lines_of("one\u2028still one\r\ntwo\n")
        ['one\u2028still one', 'two']
    """
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if not lines[-1] else lines


def files_below(folder: str | Path) -> list[str]:
    """All files below a folder by their paths from it on, with slashes, in the order of the names on them; but hidden
    ones and those in hidden folders.

    Links are followed, but for one that leads back to a folder it lies in. Paths are texts, of which folders of a
    hundred thousand files are listed in a second.
    """
    return sorted(_files(str(folder), "", frozenset()), key=lambda name: name.split("/"))


def _files(folder: str, before: str, above: frozenset[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(entry.path, f"{before}{entry.name}/", above | {real})
            else:
                yield before + entry.name
