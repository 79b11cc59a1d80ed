"""The file of llama.cpp: a header of keys and tensors, and tensors of many packings behind it
([GGUF](https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)).
"""

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omniformer.pretrained.files.checkpoint import Checkpoint

SUFFIX = ".gguf"
_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# What torch has itself, by the number of the packing; all others are unpacked by the library gguf.
_PLAIN = {0: torch.float32, 1: torch.float16, 30: torch.bfloat16}
_PIECE = 16 << 20  # bytes of a tensor, unpacked, that are in memory at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Where a tensor lies.

    Args:
        shape: of the tensor, the columns last.
        packing: the number of its packing.
        offset: of its first byte in the file.
        row_bytes: of a row.
    """

    shape: tuple[int, ...]
    packing: int
    offset: int
    row_bytes: int

    @property
    def rows(self) -> int:
        """Rows of all its axes but the last."""
        return math.prod(self.shape[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says of itself.

    Args:
        path: the file.
        fields: its keys.
        tensors: by name.
    """

    path: Path
    fields: Mapping[str, Any]
    tensors: Mapping[str, Packed]


def read_header(path: Path) -> Header:
    """The keys and the places of the tensors of a file. Every count and length is held against the size of the file
    before anything of it is read, and nothing of it is run.

    Raises:
        ValueError: it is no such file, of another version, cut off, or contradicts itself; names it.
        ImportError: it is packed in a way that the library gguf unpacks, which is not installed.
    """
    data = np.memmap(path, dtype=np.uint8, mode="r").data if path.stat().st_size else memoryview(b"")
    try:
        return _Reading(path, data).header()
    except (struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error


class _Reading:
    """Walks through a header.

    Args:
        path: of the file, for messages.
        data: its bytes.
    """

    def __init__(self, path: Path, data: memoryview) -> None:
        self.path, self.data, self.at = path, data, 0

    def header(self) -> Header:
        if bytes(self.data[:4]) != _MAGIC:
            raise ValueError(f"{self.path} is no GGUF file: it does not begin with {_MAGIC.decode()}")
        self.at = 4
        if (version := self.number("I")) not in _VERSIONS:
            raise ValueError(f"{self.path} is GGUF of version {version}; accepted: 2 and 3, little-endian")
        n_tensors, n_fields = self.number("Q"), self.number("Q")
        self.fits(n_fields, 12)
        self.fits(n_tensors, 24)
        fields: dict[str, Any] = {}
        for _ in range(n_fields):
            name = self.text()
            if name in fields:
                raise ValueError(f"{self.path} is damaged: it has the key {name!r} twice")
            fields[name] = self.value(self.number("I"))
        described = [self.tensor() for _ in range(n_tensors)]
        alignment = fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"{self.path} is damaged: general.alignment={alignment!r}")
        first = -(-self.at // alignment) * alignment
        tensors = {
            name: self.placed(name, shape, packing, first + offset) for name, shape, packing, offset in described
        }
        if len(tensors) < n_tensors:
            raise ValueError(f"{self.path} is damaged: it has a tensor twice")
        return Header(path=self.path, fields=fields, tensors=tensors)

    def number(self, kind: str) -> Any:
        (found,) = struct.unpack_from(f"<{kind}", self.data, self.at)
        self.at += struct.calcsize(f"<{kind}")
        return found

    def text(self) -> str:
        n = self.number("Q")
        self.fits(n, 1)
        self.at += n
        return bytes(self.data[self.at - n : self.at]).decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind != _ARRAY:
            raise ValueError(f"{self.path} is damaged: it has a value of the unknown kind {kind}")
        inner, n = self.number("I"), self.number("Q")
        if inner == _STRING:
            self.fits(n, 8)
            return [self.text() for _ in range(n)]
        if inner not in _SCALARS:
            raise ValueError(f"{self.path} has a list of values of kind {inner}; accepted: numbers and texts")
        size = struct.calcsize(f"<{_SCALARS[inner]}")
        self.fits(n, size)
        found = struct.unpack_from(f"<{n}{_SCALARS[inner]}", self.data, self.at)
        self.at += n * size
        return list(found)

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, packing and offset."""
        name, n_axes = self.text(), self.number("I")
        if not 1 <= n_axes <= 4:
            raise ValueError(f"{self.path} is damaged: {name} has {n_axes} axes")
        shape = tuple(self.number("Q") for _ in range(n_axes))[::-1]
        return name, shape, self.number("I"), self.number("Q")

    def placed(self, name: str, shape: tuple[int, ...], packing: int, offset: int) -> Packed:
        per_block, block_bytes = _block(packing, f"{self.path}: {name}")
        if not all(shape) or shape[-1] % per_block:
            raise ValueError(f"{self.path} is damaged: {name} {list(shape)} does not fill blocks of {per_block}")
        row_bytes = shape[-1] // per_block * block_bytes
        found = Packed(shape=shape, packing=packing, offset=offset, row_bytes=row_bytes)
        if found.offset + found.rows * row_bytes > len(self.data):
            raise ValueError(f"{self.path} is cut off: {name} ends behind its {len(self.data):,} bytes")
        return found

    def fits(self, n: int, size: int) -> None:
        """Refuses more things of a size than there is room for."""
        if n * size > len(self.data) - self.at:
            raise ValueError(
                f"{self.path} is damaged or cut off: byte {self.at:,} announces {n:,} things, more than fit into its "
                f"{len(self.data):,} bytes"
            )


class GgufCheckpoint(Checkpoint):
    """The tensors of a GGUF file under other names, unpacked while they are read: to float32, but for those that lie
    there in a type of torch.

    Args:
        header: of the file.
        names: by name in the file, the name under which it is handed out; others keep theirs.
        changed: by name in the file, what gives its rows another order.
    """

    def __init__(
        self, header: Header, names: Mapping[str, str], changed: Mapping[str, Callable[[Tensor], Tensor]]
    ) -> None:
        self.folder = header.path
        self._packed = {names.get(name, name): packed for name, packed in header.tensors.items()}
        self._changed = {names.get(name, name): change for name, change in changed.items()}
        self.where = dict.fromkeys(self._packed, header.path)
        self.shapes = {name: packed.shape for name, packed in self._packed.items()}
        self.dtypes = {name: _PLAIN.get(packed.packing, torch.float32) for name, packed in self._packed.items()}

    def pieces(self, names: Iterable[str], *, whole: Iterable[str] = ()) -> Iterator[tuple[str, int, Tensor]]:
        in_one = {*whole, *self._changed}
        data = np.memmap(self.folder, dtype=np.uint8, mode="r")
        for name in names:
            packed = self._packed[name]
            step = packed.rows if name in in_one or len(packed.shape) != 2 else max(1, _PIECE // (4 * packed.shape[-1]))
            for first in range(0, packed.rows, step):
                rows = unpacked(data, packed, first, min(first + step, packed.rows))
                shaped = rows if len(packed.shape) == 2 else rows.view(packed.shape)
                yield name, first, self._changed.get(name, lambda each: each)(shaped)


def unpacked(data: np.ndarray, packed: Packed, first: int, last: int) -> Tensor:
    """Some rows of a tensor, `[rows, columns]`."""
    begin = packed.offset + first * packed.row_bytes
    rows = np.array(data[begin : begin + (last - first) * packed.row_bytes])  # a copy, which may be written to
    if packed.packing in _PLAIN:
        return torch.from_numpy(rows).view(_PLAIN[packed.packing]).view(last - first, -1)
    gguf = _library()
    kind = gguf.GGMLQuantizationType(packed.packing)
    return torch.from_numpy(gguf.dequantize(rows.reshape(last - first, -1), kind).astype(np.float32, copy=False))


def _block(packing: int, what: str) -> tuple[int, int]:
    """How many numbers a block of a packing has, and how many bytes.

    Raises:
        ValueError: nothing unpacks it.
    """
    if packing in _PLAIN:
        return 1, _PLAIN[packing].itemsize
    gguf = _library()
    try:
        kind = gguf.GGMLQuantizationType(packing)
        gguf.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ValueError(f"{what} is packed in a way ({packing}) that the library gguf does not unpack") from error
    return gguf.GGML_QUANT_SIZES[kind]


def _library() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ImportError(
            "packed GGUF files need the library gguf, not installed here: uv sync --extra gguf in a clone, "
            "pip install gguf elsewhere"
        ) from error
    return gguf
