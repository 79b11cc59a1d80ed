"""Files of records: the same few numbers of every sample, one sample behind the other."""

import tarfile
import zlib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray
from omniformer_tokenizers.limits import FREE_TEXT_BYTES, MAX_TEXT_BYTES, check_size

from omniformer.data.sets.reading import check_ratio, check_unpacked, unpacked

_DAMAGES = (ValueError, OSError, EOFError, RuntimeError, zlib.error, tarfile.TarError, BadZipFile)
_NUMBERS = "biuf"


def read_records(file: Path, only: str | None, record: Mapping[str, str] | None) -> dict[str, NDArray]:
    """The fields of binary records of one size, as arrays by name (CIFAR-10 and CIFAR-100 are written so).

    Args:
        file: of records, also gzip-ed; or an archive (`.tar`, also packed, or `.zip`) that holds such files.
        only: which files of the archive, such as `*/data_batch_*.bin`; they follow each other by name.
        record: of each field, in order, its type and maybe shape as numpy writes them: `{label: u1, content:
            "(3,32,32)u1"}`.

    Raises:
        ValueError: `record` cannot be read, there is no such file in the archive, it unfolds into too much, or it does
            not hold whole records; names file and member.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (file := Path(folder) / "a.bin").write_bytes(bytes([7, 1, 2, 8, 3, 4]))
        ...     found = read_records(file, None, {"label": "u1", "content": "(2,)u1"})
        >>> found["label"].tolist(), found["content"].tolist()
        ([7, 8], [[1, 2], [3, 4]])
    """
    kind = _kind(record)
    try:
        found = {str(file): unpacked(file)} if only is None else dict(_members(file, only))
    except _DAMAGES as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not found:
        raise ValueError(f"{file} holds no file {only!r}; fetch it anew, or name others behind '::'")
    for name, content in found.items():
        if not content or len(content) % kind.itemsize:
            raise ValueError(f"{name} has {len(content)} bytes, not some records of {kind.itemsize}; fetch it anew")
    whole = np.concatenate([np.frombuffer(content, kind) for content in found.values()])
    return {
        name: np.ascontiguousarray(whole[name]).astype(whole[name].dtype.newbyteorder("=")) for name in record or ()
    }


def _kind(record: Mapping[str, str] | None) -> np.dtype:
    try:
        kind = np.dtype([(str(name), str(each)) for name, each in (record or {}).items()])
    except (TypeError, ValueError, SyntaxError) as error:
        raise ValueError(f"record={dict(record or {})} cannot be read: {error}; write '{{label: u1}}'") from error
    if not kind.itemsize or any(each[0].base.kind not in _NUMBERS for each in (kind.fields or {}).values()):
        raise ValueError(
            f"record={dict(record or {})} names no numbers; of files of records say the type of each field, such as "
            "record='{label: u1, content: (3,32,32)u1}'"
        )
    return kind


def _members(file: Path, only: str) -> Iterator[tuple[str, bytes]]:
    """The files of an archive, by name; nothing of it is unpacked onto the disk."""
    if file.suffix.lower() == ".zip":
        with ZipFile(file) as archive:
            names = sorted(name for name in archive.namelist() if fnmatchcase(name, only))
            check_unpacked([archive.getinfo(name) for name in names])
            yield from ((f"{file}: {name!r}", archive.read(name)) for name in names)
        return
    packed = file.stat().st_size
    with tarfile.open(file) as archive:
        infos: list[tarfile.TarInfo] = []
        for each in archive:
            if each.isfile() and fnmatchcase(each.name, only):
                infos.append(each)
            # What is passed over is unpacked as well.
            check_ratio(each.offset_data + each.size, packed)
        size = sum(each.size for each in infos)
        check_size(f"{size} bytes", size, "bytes", limit=MAX_TEXT_BYTES, free=FREE_TEXT_BYTES, n_bytes=packed)
        for info in sorted(infos, key=lambda each: each.name):
            stream = archive.extractfile(info)
            yield f"{file}: {info.name!r}", b"" if stream is None else stream.read()
