"""The files of a published model: its configuration, and its tensors, read one at a time."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLED_FILE, PICKLED_INDEX_FILE = "pytorch_model.bin", "pytorch_model.bin.index.json"
# Bytes: no more of a file than this is in memory at a time. A mapped file counts as far as it was read, so it is opened
# anew now and then.
_PIECE = 16 << 20


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else; names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content


class Checkpoint:
    """The tensors of a published model, in one file or in several with an index ("shards").

    Files of the safetensors format are read piece by piece, so that a model and its file are never in memory together.
    Pickled files are read with `weights_only`: they can hold tensors and nothing that runs.

    Args:
        folder: holds `model.safetensors`, or `model.safetensors.index.json` with its shards, or `pytorch_model.bin` or
            its index likewise.

    Raises:
        FileNotFoundError: the folder holds no weights, or the index names a file that is not there.
        ValueError: a file is damaged or cut off, or does not hold what the index says; names the file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = _where(folder)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, torch.dtype] = {}
        self._pickled: dict[Path, dict[str, Tensor]] = {}
        for path, names in self.by_file().items():
            self._describe(path, names)

    def __iter__(self) -> Iterator[str]:
        """The names of all tensors."""
        return iter(self.where)

    @property
    def dtype(self) -> torch.dtype:
        """The type of most of the numbers."""
        counts: dict[torch.dtype, int] = {}
        for name, shape in self.shapes.items():
            if self.dtypes[name].is_floating_point:
                counts[self.dtypes[name]] = counts.get(self.dtypes[name], 0) + torch.Size(shape).numel()
        return max(counts, key=lambda dtype: counts[dtype], default=torch.float32)

    def by_file(self) -> dict[Path, list[str]]:
        """The names of tensors, by the file that holds them."""
        files: dict[Path, list[str]] = {}
        for name, path in self.where.items():
            files.setdefault(path, []).append(name)
        return files

    def pieces(self, names: Iterable[str], *, whole: Iterable[str] = ()) -> Iterator[tuple[str, int, Tensor]]:
        """The named tensors, file by file, large ones some rows at a time.

        Args:
            names: which.
            whole: those that are wanted in one piece.

        Returns:
            The name, the number of the first row, and the rows.

        Raises:
            ValueError: a file is damaged.
        """
        wanted, in_one = set(names), set(whole)
        for path, held in self.by_file().items():
            chosen = [name for name in held if name in wanted]
            if path.suffix != ".safetensors":
                tensors = self._unpickled(path)
                yield from ((name, 0, tensors[name]) for name in chosen)
                self._pickled.pop(path)
                continue
            cuts = [cut for name in chosen for cut in self._cuts(name, name in in_one)]
            for some in _together(cuts):
                with _opened(path) as file:
                    for name, first, last, _ in some:
                        rows = file.get_tensor(name) if last is None else file.get_slice(name)[first:last]
                        yield name, first, rows
                        del rows

    def _cuts(self, name: str, whole: bool) -> list[tuple[str, int, int | None, int]]:
        """A tensor's name, rows from and to (None for all of it) and bytes, for every piece of it."""
        shape = self.shapes[name]
        size = torch.Size(shape).numel() * self.dtypes[name].itemsize
        if whole or size <= _PIECE:
            return [(name, 0, None, size)]
        step = max(1, shape[0] * _PIECE // size)
        return [
            (name, first, min(first + step, shape[0]), size * step // shape[0]) for first in range(0, shape[0], step)
        ]

    def _describe(self, path: Path, names: list[str]) -> None:
        """Notes shapes and types, and that the file holds what it should."""
        if path.suffix != ".safetensors":
            tensors = self._unpickled(path)
            if missing := [name for name in names if name not in tensors]:
                raise ValueError(_lacks(path, missing, self.folder))
            self.shapes |= {name: tuple(tensors[name].shape) for name in names}
            self.dtypes |= {name: tensors[name].dtype for name in names}
            return
        with _opened(path) as file:
            held = set(file.keys())
            if missing := [name for name in names if name not in held]:
                raise ValueError(_lacks(path, missing, self.folder))
            for name in names:
                described = file.get_slice(name)
                self.shapes[name] = tuple(described.get_shape())
                self.dtypes[name] = _DTYPES.get(described.get_dtype(), torch.uint8)

    def _unpickled(self, path: Path) -> dict[str, Tensor]:
        if path not in self._pickled:
            self._pickled[path] = _unpickle(path)
        return self._pickled[path]


_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "BOOL": torch.bool,
}


def _together(cuts: list[tuple[str, int, int | None, int]]) -> Iterator[list[tuple[str, int, int | None, int]]]:
    """The pieces in groups of about one size."""
    group, size = [], 0
    for cut in cuts:
        if group and size + cut[3] > _PIECE:
            yield group
            group, size = [], 0
        group.append(cut)
        size += cut[3]
    if group:
        yield group


def _where(folder: Path) -> dict[str, Path]:
    """The file of each tensor."""
    for single, index in ((WEIGHTS_FILE, INDEX_FILE), (PICKLED_FILE, PICKLED_INDEX_FILE)):
        if (folder / single).is_file():
            return dict.fromkeys(_names(folder / single), folder / single)
        if (folder / index).is_file():
            return _indexed(folder, index)
    raise FileNotFoundError(
        f"{folder} holds no weights: looked for {WEIGHTS_FILE}, {INDEX_FILE}, {PICKLED_FILE} and {PICKLED_INDEX_FILE}"
    )


def _indexed(folder: Path, index: str) -> dict[str, Path]:
    table = read_json(folder / index).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()):
        raise ValueError(f"{folder / index} is damaged: weight_map is not a table of tensors and files")
    files = set(table.values())
    if outside := [file for file in files if Path(file).name != file]:
        raise ValueError(f"{folder / index} names {outside[0]!r}, which is no file of this folder")
    if missing := sorted(file for file in files if not (folder / file).is_file()):
        raise FileNotFoundError(
            f"{folder / index} names {len(files)} files, of which {missing[0]} is not there; copy the folder anew"
        )
    return {name: folder / file for name, file in table.items()}


def _names(path: Path) -> list[str]:
    if path.suffix != ".safetensors":
        return list(_unpickle(path))
    with _opened(path) as file:
        return list(file.keys())


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error


def _unpickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged archive, or one that holds more than tensors: torch raises many kinds
        raise ValueError(f"{path} is damaged, or holds more than tensors: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise ValueError(f"{path} is no table of tensors by name")
    return content


def _lacks(path: Path, names: list[str], folder: Path) -> str:
    return f"{path} lacks {names[0]} and {len(names) - 1} more that the index of {folder} says it holds"
