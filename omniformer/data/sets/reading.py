"""Files of published data sets, read with one kind of error: it names the file and what is wrong in it."""

import gzip
import mmap
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniformer_tokenizers.limits import FREE_TEXT_BYTES, MAX_TEXT_BYTES, bounded, check_size

from omniformer.data.download import obtain
from omniformer.data.source import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DAMAGES = (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError)


def laid_out_or_original(
    laid_out: str, original: str, *, data_root: str | None, url: str, sha256: str | None = None, download: bool = False
) -> Path:
    """The file of a data set as it is laid out here, or else the publisher's own, which may be fetched.

    Args:
        laid_out: where the repacked file belongs, from `data_root`; it is read as it is.
        original: where the publisher's file belongs; checked by `sha256`.
        data_root: where data lies on this machine; None means the current folder.
        url: where the original comes from.
        sha256: what the original must hash to; None where its publisher may change it.
        download: whether to fetch the original where both are missing.

    Raises:
        FileNotFoundError: both are missing and `download` is off; says where they belong.
        ValueError: the original cannot be fetched, or is not the file that was expected.
    """
    packed = resolve(laid_out, data_root)
    if packed.is_file():
        return packed
    try:
        return obtain(original, data_root=data_root, url=url, sha256=sha256, download=download)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {str(packed)!r}, and {error}") from None


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


def check_pictures(pixels: "NDArray[Any]", shape: Sequence[int], where: str) -> None:
    """Refuses an array that is not one uint8 picture of `shape` a sample.

    Raises:
        ValueError: another dtype or shape; says which.
    """
    if pixels.dtype != "uint8" or pixels.shape[1:] != tuple(shape):
        expected = ", ".join(map(str, shape))
        raise ValueError(f"{where} is {pixels.dtype} {list(pixels.shape)}; expected uint8 [samples, {expected}]")


def check_labels(labels: "NDArray[Any]", n_samples: int, n_classes: int, where: str) -> None:
    """Refuses labels that are not one whole number below `n_classes` for each sample.

    Raises:
        ValueError: another count, dtype or range; says which sample.
    """
    if labels.shape != (n_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(f"{where} is {labels.dtype} {list(labels.shape)} for {n_samples} samples; expected one each")
    if len(wrong := ((labels < 0) | (labels >= n_classes)).nonzero()[0]):
        raise ValueError(f"{where}: sample {wrong[0]} has label {labels[wrong[0]]}; accepted are 0 to {n_classes - 1}")
