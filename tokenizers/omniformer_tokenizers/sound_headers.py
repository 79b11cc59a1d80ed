"""Headers of sounds whose writer did not know how long they would be: recorders that lost power, and pipes."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_UNKNOWN = b"\xff\xff\xff\xff"


def opened_sound(source: str | Path | bytes) -> io.IOBase:
    """The file of a sound, whose header says that it reaches to the end where it said 0 and samples follow.

    Where a damaged header sends its decoder to a place that no file has, it stays where it is.

    Raises:
        OSError: the file cannot be read.
        ValueError: a FLAC stream does not say how long it is.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        patches = dict(_patches(file, file.seek(0, os.SEEK_END)))
    file = io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")  # noqa: SIM115 - whoever asks
    return _Patched(file, patches)


def _patches(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """Which bytes of the header are to be replaced by which."""
    head = _at(file, 0, 42)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        yield from _wave_patches(file, size)
    elif head[:4] == b".snd" and head[8:12] == bytes(4):
        yield 8, _UNKNOWN
    elif head[:4] == b"fLaC" and head[4] & 0x7F == 0 and head[21:26] == bytes([head[21] & 0xF0, 0, 0, 0, 0]):
        raise ValueError("its header does not say how long it is, as a pipe writes it; decode and encode it once more")


def _wave_patches(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    place, long_size = 12, None
    while len(head := _at(file, place, 8)) == 8:
        name, length = head[:4], int.from_bytes(head[4:], "little")
        if name == b"ds64":
            long_size = place + 16
        if name == b"data":
            start = place + 8
            if long_size is not None and length == 0xFFFFFFFF:
                if _at(file, long_size, 8) == bytes(8) and size > start:
                    yield long_size, (size - start).to_bytes(8, "little")
            elif length == 0 and not _only_chunks(file, start, size):
                yield place + 4, _UNKNOWN
            return
        place += 8 + length + length % 2


def _only_chunks(file: BinaryIO, place: int, size: int) -> bool:
    """Whether whole chunks of notes follow up to the end, and so no samples; true where nothing follows."""
    while place < size:
        head = _at(file, place, 8)
        if len(head) < 8 or (not head[:4].isalnum() and not head[:4].strip().isalnum()):
            return False
        length = int.from_bytes(head[4:], "little")
        place += 8 + length + length % 2
    return place <= size + 1


def _at(file: BinaryIO, place: int, n: int) -> bytes:
    file.seek(place)
    return file.read(n)


class _Patched(io.RawIOBase):
    """A file with a few bytes replaced, or none, read where it lies, so that its size does not matter."""

    def __init__(self, file: BinaryIO, patches: dict[int, bytes]) -> None:
        self.file = file
        self.patches = patches

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place, or stays where the file has none such; the place it is at."""
        try:
            return self.file.seek(offset, whence)
        except (ValueError, OSError):  # libsndfile calls back, and cannot be told; Python would print a traceback
            return self.file.tell()

    def tell(self) -> int:
        """The place of the next byte."""
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer with what follows, patched."""
        start = self.file.tell()
        content = bytearray(self.file.read(len(buffer)))
        for place, patch in self.patches.items():
            for i, byte in enumerate(patch, start=place - start):
                if 0 <= i < len(content):
                    content[i] = byte
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Closes the file too."""
        self.file.close()
        super().close()
