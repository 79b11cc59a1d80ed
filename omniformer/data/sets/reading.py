"""Files of published data sets, read with one kind of error: it names the file and what is wrong in it."""

import gzip
import mmap
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from omniformer_tokenizers.limits import FREE_TEXT_BYTES, MAX_TEXT_BYTES, bounded, check_size

# A RuntimeError is how zipfile tells of a file that is encrypted.
_DAMAGES = (ValueError, OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile)


def unpacked(file: Path) -> bytes:
    """The content of a file, unpacked where its name ends in `.gz`.

    Raises:
        ValueError: it unfolds into more than `omniformer_tokenizers.limits` accept.
    """
    if file.suffix != ".gz":
        return file.read_bytes()
    with file.open("rb") as packed, gzip.open(packed) as stream:
        return bounded(stream.read, used=packed.tell)


def mapped(file: Path) -> "bytes | mmap.mmap":
    """`unpacked`, of which nothing is read before it is needed where the file is not packed."""
    if file.suffix == ".gz" or not file.stat().st_size:
        return unpacked(file)
    with file.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def text_in(file: Path) -> str:
    """The UTF-8 text of a file, unpacked where its name ends in `.gz`, with every line ended by a line feed.

    Raises:
        ValueError: the file is damaged or not UTF-8.
    """
    try:
        return unpacked(file).decode("utf-8-sig").replace("\r\n", "\n")
    except _DAMAGES as error:
        raise ValueError(f"{file} cannot be read as UTF-8 text: {error}") from error


def lines_in(text: str, where: str) -> list[str]:
    r"""The lines of a text, none of them empty, without blanks around them.

    Only line feeds end a line: `str.splitlines` would also split at rarer characters within a sentence.

    Args:
        text: lines, each ended by a line feed.
        where: the name of the file, for messages.

    Raises:
        ValueError: a line is empty, or there is none; says which.

    Example:
        >>> lines_in("one \ntwo\n", "numbers.txt")
        ['one', 'two']
    """
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if "" in lines:
        raise ValueError(f"{where}: line {lines.index('') + 1} is empty; each line must hold a text")
    return lines


def read_member(archive: zipfile.ZipFile, member: str) -> bytes:
    """One file of a zip archive, as `ZipFile.read`, but for bombs.

    Raises:
        KeyError: there is no such file in it.
        ValueError: it unfolds into more than `omniformer_tokenizers.limits` accept.
    """
    check_unpacked([archive.getinfo(member)])
    return archive.read(member)


def check_unpacked(infos: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses files of a zip archive that together unfold into much more than their places in it let expect.

    Their sizes are those that the archive states; `zipfile` unpacks no more than that.

    Raises:
        ValueError: it is too much.
    """
    n, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    check_size(f"{n} bytes", n, "bytes", limit=MAX_TEXT_BYTES, free=FREE_TEXT_BYTES, n_bytes=packed)


def check_ratio(n: int, packed: int) -> None:
    """Refuses what unfolds into much more than its size lets expect, however much of that there may be.

    Args:
        n: bytes, unpacked; up to 100 MB are free.
        packed: bytes that they take in their file.

    Raises:
        ValueError: it is too much.

    Example:
        >>> check_ratio(3_000_000_000, 100_000_000)
    """
    check_size(f"{n} bytes or more", n, "bytes", limit=sys.maxsize, free=FREE_TEXT_BYTES, n_bytes=packed)


def member_in(archive: zipfile.ZipFile, member: str) -> bytes:
    """The content of one file of a zip archive.

    Raises:
        ValueError: there is no such file in it, or it is damaged; names archive and file.
    """
    try:
        return read_member(archive, member)
    except KeyError:
        raise ValueError(f"{archive.filename} has no file {member!r}; fetch the archive again") from None
    except _DAMAGES as error:
        raise ValueError(f"{archive.filename}: {member!r} cannot be read: {error}") from error


def opened_zip(file: Path) -> zipfile.ZipFile:
    """A zip archive, opened for reading.

    Raises:
        ValueError: it is not a zip archive.
    """
    try:
        return zipfile.ZipFile(file)
    except _DAMAGES as error:
        raise ValueError(f"{file} cannot be read as a zip archive: {error}") from error


def text_of_member(file: Path, member: str) -> str:
    """The UTF-8 text of one file of a zip archive, with every line ended by a line feed.

    Raises:
        ValueError: there is no such file in it, or it is damaged or not UTF-8; names archive and file.
    """
    with opened_zip(file) as archive:
        content = member_in(archive, member)
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: {member!r} is not UTF-8 text: {error}") from error
