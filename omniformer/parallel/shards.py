"""Checkpoints of tensors in pieces: each process writes its own, any number of processes reads them again.

A checkpoint stays one nested mapping. The tensors in it that are held in pieces are written by
`torch.distributed.checkpoint` into a folder beside the file of the checkpoint; in the file stands an empty tensor (of
device `meta`) in the place of each, and the name of the folder.
"""

import copy
import pickle
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path, PurePath
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from omniformer.files.durable import sha256_of, sync_folder

KEY = "shards"
"""Under which a checkpoint names the folder of its pieces."""
SUFFIX = ".shards"

_METADATA = ".metadata"
# What the metadata of torch.distributed.checkpoint consists of: plain records, and nothing that acts.
_RECORDS = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")


class Shards:
    """The pieces that a checkpoint consists of, as far as this process holds them.

    Args:
        pieces: by their place in the checkpoint.
        token: tells the folders of one checkpoint's versions apart; the same on all processes.
    """

    def __init__(self, pieces: Mapping[str, DTensor], token: str) -> None:
        self.pieces = dict(pieces)
        self.token = token
        self._group = hosts(dist.group.WORLD)

    def __copy__(self) -> "Shards":
        """The same with pieces of its own in the host's memory."""
        return Shards({name: _on_host(each, copied=True) for name, each in self.pieces.items()}, self.token)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes what is not in pieces."""
        return dist.get_rank(self._group) == 0

    def write(self, path: Path) -> dict[str, Any]:
        """Writes the pieces beside the file of their checkpoint, all processes together; afterwards they are on disk.

        Args:
            path: of the file.

        Returns:
            The name of the folder, and size and SHA-256 of each file in it.

        Raises:
            OSError: a process cannot write; names its number and the reason.
        """
        folder = path.with_name(f"{path.name}.{self.token}{SUFFIX}")
        state: Any = {name: _on_host(each, copied=False) for name, each in self.pieces.items()}
        try:
            save(state, storage_writer=FileSystemWriter(folder), process_group=self._group)
        except CheckpointException as error:
            told = "; ".join(f"rank {rank}: {failure[0]}" for rank, failure in error.failures.items())
            raise OSError(f"cannot write checkpoint {path}: {told}") from error
        rank = dist.get_rank(self._group)
        mine = [*folder.glob(f"__{rank}_*"), *([folder / _METADATA] if rank == 0 else [])]
        listed: list[Any] = [None] * dist.get_world_size(self._group)
        dist.all_gather_object(listed, {each.name: _described(each) for each in mine}, group=self._group)
        if rank == 0:
            sync_folder(folder)
        return {"folder": folder.name, "files": {name: each for part in listed for name, each in part.items()}}


def new_token() -> str:
    """A name that no folder has yet."""
    return secrets.token_hex(4)


def split(checkpoint: Mapping[str, Any], token: str) -> dict[str, Any]:
    """A checkpoint with all that is in pieces set apart, under `KEY`, and empty tensors in its place."""
    pieces: dict[str, DTensor] = {}

    def taken(tensor: Tensor, place: str) -> Tensor:
        if not isinstance(tensor, DTensor):
            return tensor
        pieces[place] = tensor
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")

    plain = _replaced(checkpoint, taken)
    return plain | {KEY: Shards(pieces, token)} if pieces else plain


def fill(
    checkpoint: Mapping[str, Any], path: str | Path, mesh: DeviceMesh | None = None, *, offload: bool = False
) -> dict[str, Any]:
    """A checkpoint with its tensors in the places of the empty ones.

    Args:
        checkpoint: as the file holds it.
        path: of the file.
        mesh: the processes between which each tensor is divided, along its first dimension; None for whole tensors.
        offload: whether the pieces stay on the host, off by default: they go to the devices of the mesh.
    """
    if KEY not in checkpoint:
        return dict(checkpoint)
    found: dict[str, Tensor] = {}

    def noted(tensor: Tensor, place: str) -> Tensor:
        if tensor.is_meta:
            found[place] = _room(tensor, mesh)
        return tensor

    kept = _replaced({name: each for name, each in checkpoint.items() if name != KEY}, noted)
    folder = Path(path).with_name(folder_name(checkpoint[KEY]))
    reader = _Reader(folder)
    reader.read_metadata()  # what is wrong with it is told here in one sentence
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # each process reads for itself
        load(found, storage_reader=reader, no_dist=True)  # pyright: ignore[reportArgumentType]

    def placed(tensor: Tensor, place: str) -> Tensor:
        return _on_device(found.pop(place), mesh, offload=offload) if place in found else tensor

    return _replaced(kept, placed)


def folder_name(listed: Any) -> str:
    """The name of the folder of pieces, as a checkpoint or its sidecar says it.

    Raises:
        ValueError: it is none, or leads elsewhere.
    """
    name = listed.get("folder") if isinstance(listed, Mapping) else None
    if not isinstance(name, str) or not name.endswith(SUFFIX) or Path(name).name != name:
        raise ValueError(f"names {name!r} as the folder of its pieces; a name that ends in {SUFFIX} is one")
    return name


def listing(said: Any) -> dict[str, Any]:
    """What a sidecar says of the pieces of its checkpoint.

    Raises:
        ValueError: it is no such listing, or leads elsewhere.
        KeyError, TypeError: likewise.
    """
    files = {
        str(name): {"size": int(each["size"]), "sha256": str(each["sha256"])} for name, each in said["files"].items()
    }
    if any(Path(name).name != name for name in files):
        raise ValueError(f"names {', '.join(files)} as files of one folder")
    return {"folder": folder_name(said), "files": files}


def damaged(listed: Any, path: Path) -> str | None:
    """What is wrong with the pieces of a checkpoint; None where they are those that were written.

    Args:
        listed: what `Shards.write` gave, or `listing`.
        path: the file of the checkpoint.
    """
    folder = path.with_name(listed["folder"])
    for name, described in listed["files"].items():
        file = folder / name
        if not file.is_file():
            return f"{file} is missing"
        if file.stat().st_size != described["size"] or _described(file) != described:
            return f"{file} is damaged: its size or SHA-256 is not the recorded one"
    return None


def remove(path: Path, *, keep: Iterable[str] = ()) -> None:
    """Removes the folders of pieces of a checkpoint, but for those to keep."""
    for folder in folders(path.parent, path.name):
        if folder.name not in set(keep):
            shutil.rmtree(folder, ignore_errors=True)


def folders(within: Path, checkpoint: str = "") -> list[Path]:
    """The folders of pieces in a folder, of all checkpoints or of one."""
    found = sorted(within.glob(f"*{SUFFIX}"))
    return [each for each in found if not checkpoint or owner(each) == checkpoint]


def owner(folder: Path) -> str:
    """The name of the checkpoint whose pieces a folder holds."""
    return folder.name.removesuffix(SUFFIX).rpartition(".")[0]


def same_everywhere(module: nn.Module) -> None:
    """Gives all processes the weights of the first."""
    for tensor in (*module.parameters(), *module.buffers()):
        on_host = tensor.detach().cpu()
        dist.broadcast(on_host, 0, group=hosts(dist.group.WORLD))
        tensor.data.copy_(on_host)


@cache
def hosts(world: Any) -> Any:
    """All processes by a connection of its own between hosts, which a thread may use beside the training; the first
    call is one for all processes together.
    """
    return dist.new_group(backend="gloo")


class _Reader(FileSystemReader):
    """Reads metadata without running what it may hold: a pickle can."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        with (Path(self.path) / _METADATA).open("rb") as file:
            found = _Unpickler(file).load()
        if not isinstance(found, Metadata):
            raise pickle.UnpicklingError(f"{self.path} holds a {type(found).__name__} in the place of metadata")
        if found.storage_meta is not None:
            found.storage_meta.load_id = self.load_id
        return found


class _Unpickler(pickle.Unpickler):
    """Makes records of shapes and places, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("pathlib") and name in ("PosixPath", "WindowsPath"):
            return PurePath  # where the folder was written, which is not where it is read
        known = super().find_class(module, name) if module in (*_RECORDS, "torch", "torch.serialization") else None
        plain = isinstance(known, type) and (is_dataclass(known) or issubclass(known, Enum))
        record = plain and known.__module__ in _RECORDS
        if record or isinstance(known, torch.dtype) or known in (torch.Size, torch.serialization._get_layout):
            return known
        raise pickle.UnpicklingError(f"{module}.{name} is no part of the metadata of a checkpoint")


def _replaced(value: Any, change: Callable[[Tensor, str], Any], place: str = "") -> Any:
    """The same containers with tensors changed; each is named by the keys that lead to it."""
    if isinstance(value, Tensor):
        return change(value, place)
    if isinstance(value, Mapping):
        same = copy.copy(value)  # a state_dict carries the versions of its modules as an attribute
        for name, each in value.items():
            same[name] = _replaced(each, change, f"{place}/{name}")  # pyright: ignore[reportIndexIssue]
        return same
    if type(value) in (list, tuple):
        return type(value)(_replaced(each, change, f"{place}/{i}") for i, each in enumerate(value))
    return value


def _on_host(piece: DTensor, *, copied: bool) -> DTensor:
    mesh = piece.device_mesh
    host = mesh if mesh.device_type == "cpu" else DeviceMesh("cpu", mesh.mesh, _init_backend=False)
    local = piece.to_local().detach().to("cpu", copy=copied)
    return DTensor.from_local(local, host, piece.placements, run_check=False, shape=piece.shape, stride=piece.stride())


def _room(tensor: Tensor, mesh: DeviceMesh | None) -> Tensor:
    """Memory of the host for a tensor, or for this process's part of it."""
    if mesh is None:
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    sizes, _ = compute_local_shape_and_global_offset(tensor.shape, mesh, [Shard(0)])
    host = mesh if mesh.device_type == "cpu" else DeviceMesh("cpu", mesh.mesh, _init_backend=False)
    local = torch.empty(tuple(sizes), dtype=tensor.dtype)
    return DTensor.from_local(local, host, [Shard(0)], run_check=False, shape=tensor.shape, stride=tensor.stride())


def _on_device(read: Tensor, mesh: DeviceMesh | None, *, offload: bool) -> Tensor:
    if mesh is None or not isinstance(read, DTensor) or read.device_mesh is mesh:
        return read
    local = read.to_local().to(mesh.device_type)
    piece = DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=read.shape, stride=read.stride())
    return piece.cpu() if offload else piece  # `from_local` takes what lies on the devices of its mesh


def _described(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}
