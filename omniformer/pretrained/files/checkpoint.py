"""The files of a published model: its configuration, and its tensors, read one at a time."""

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omniformer_tokenizers.files import read_text
from safetensors import SafetensorError, safe_open
from torch import Tensor

from omniformer.files.untrusted import plain_name, refuse_compressed

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
"""Of the library open_clip, and its `open_clip_pytorch_model.bin`."""
INDEX_FILE = "model.safetensors.index.json"
PICKLED_FILE, PICKLED_INDEX_FILE = "pytorch_model.bin", "pytorch_model.bin.index.json"
# Bytes: no more of a file than this is in memory at a time. A mapped file counts as far as it was read, so it is opened
# anew now and then.
_PIECE = 16 << 20


def read_json(path: Path, *, kind: type = dict) -> Any:
    """A file that holds one JSON object; a list where `kind` says so.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else; names the file.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, kind):
        expected = "a JSON object" if kind is dict else "a list"
        raise ValueError(f"{path} holds a {type(content).__name__}, expected {expected}")
    return content


class Checkpoint:
    """The tensors of a published model, in one file or in several with an index ("shards").

    Files are read piece by piece, so that a model and its file are never in memory together; only pickled files of
    before 2020 are read whole. Pickled files are read with `weights_only`: what they hold beside tensors is never run.

    Args:
        source: a folder that holds `model.safetensors`, or `model.safetensors.index.json` with its shards, or
            `pytorch_model.bin` or its index likewise; or the file itself, where it has another name.

    Raises:
        FileNotFoundError: the folder holds no weights, or the index names a file that is not there.
        ValueError: a file is damaged or cut off, or does not hold what the index says; names the file.
    """

    def __init__(self, source: Path) -> None:
        self.folder = source.parent if source.is_file() else source
        self.where = _where(source)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, torch.dtype] = {}
        for path, names in self.by_file().items():
            self._describe(path, names)

    def __iter__(self) -> Iterator[str]:
        """The names of all tensors."""
        return iter(self.where)

    @property
    def dtype(self) -> torch.dtype:
        """The type of most of the numbers."""
        return usual_dtype((self.dtypes[name], torch.Size(shape).numel()) for name, shape in self.shapes.items())

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
            cuts = [cut for name in held if name in wanted for cut in self._cuts(name, name in in_one)]
            for some in _together(cuts) if _in_pieces(path) else [cuts]:
                with _reader(path) as read:
                    for name, first, last, _ in some:
                        rows = read(name, first, last)
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
        described = _described(path)
        if missing := [name for name in names if name not in described]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ValueError(f"{path} lacks {missing[0]}{more}, which the index of {self.folder} says it holds")
        self.shapes |= {name: described[name][0] for name in names}
        self.dtypes |= {name: described[name][1] for name in names}


def usual_dtype(tensors: Iterable[tuple[torch.dtype, int]]) -> torch.dtype:
    """The type of most of the numbers of tensors, given as type and count; whole numbers do not count.

    Example:
        >>> usual_dtype([(torch.bfloat16, 6), (torch.float32, 2), (torch.int64, 9)])
        torch.bfloat16
    """
    counts: dict[torch.dtype, int] = {}
    for dtype, n in tensors:
        if dtype.is_floating_point:
            counts[dtype] = counts.get(dtype, 0) + n
    return max(counts, key=lambda dtype: counts[dtype], default=torch.float32)


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


def config_path(folder: Path) -> Path:
    """The file that says what the weights of a folder are: `config.json`, or that of open_clip where it is alone."""
    other = folder / OPEN_CLIP_CONFIG
    return other if other.is_file() and not (folder / CONFIG_FILE).is_file() else folder / CONFIG_FILE


def _where(source: Path) -> dict[str, Path]:
    """The file of each tensor."""
    if source.is_file():
        indexed = source.name.endswith(".index.json")
        return _indexed(source.parent, source.name) if indexed else dict.fromkeys(_names(source), source)
    for single, index in ((WEIGHTS_FILE, INDEX_FILE), (PICKLED_FILE, PICKLED_INDEX_FILE)):
        if (source / single).is_file():
            return dict.fromkeys(_names(source / single), source / single)
        if (source / index).is_file():
            return _indexed(source, index)
    for single in (OPEN_CLIP_WEIGHTS, f"open_clip_{PICKLED_FILE}"):
        if (source / single).is_file():
            return dict.fromkeys(_names(source / single), source / single)
    raise FileNotFoundError(
        f"{source} holds no weights: looked for {WEIGHTS_FILE}, {INDEX_FILE}, {PICKLED_FILE} and {PICKLED_INDEX_FILE}"
    )


def _indexed(folder: Path, index: str) -> dict[str, Path]:
    table = read_json(folder / index).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(file, str) for file in table.values()):
        raise ValueError(f"{folder / index} is damaged: weight_map is not a table of tensors and files")
    files = set(table.values())
    for file in files:
        plain_name(file, folder / index)
    if missing := sorted(file for file in files if not (folder / file).is_file()):
        raise FileNotFoundError(
            f"{folder / index} names {len(files)} files, of which {missing[0]} is not there; copy the folder anew"
        )
    return {name: folder / file for name, file in table.items()}


def _names(path: Path) -> list[str]:
    return list(_described(path))


def _described(path: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """The shapes and types of a file's tensors."""
    if path.suffix != ".safetensors":
        return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in _unpickled(path).items()}
    with _opened(path) as file:
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return {
            name: (tuple(part.get_shape()), _DTYPES.get(part.get_dtype(), torch.uint8)) for name, part in parts.items()
        }


@contextmanager
def _reader(path: Path) -> Iterator[Callable[[str, int, int | None], Tensor]]:
    """Reads rows of tensors, from and to, or all of one; what was read is let go when the block ends."""
    if path.suffix != ".safetensors":
        tensors = _unpickled(path)
        yield lambda name, first, last: tensors[name] if last is None else tensors[name][first:last]
        return
    with _opened(path) as file:
        yield lambda name, first, last: file.get_tensor(name) if last is None else file.get_slice(name)[first:last]


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged or cut off: {error}") from error


def _in_pieces(path: Path) -> bool:
    """Whether a file can be read in pieces; pickled ones can since they are archives (torch 1.6)."""
    return path.suffix == ".safetensors" or zipfile.is_zipfile(path)


def _unpickled(path: Path) -> dict[str, Tensor]:
    refuse_compressed(path)
    try:
        # Mapped where it can be, so that only what is looked at is in memory.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=_in_pieces(path))
    except Exception as error:  # a damaged archive, or one that holds more than tensors: torch raises many kinds
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} is damaged, or holds more than tensors, and was not run: {said}") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise ValueError(f"{path} is no table of tensors by name")
    return content
