"""Checkpoints that are either whole or absent: written aside, forced to disk, renamed, and checked when read."""

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from lightning.fabric.plugins.io import CheckpointIO

from omniformer.files.durable import TEMPORARY, sha256_of, sync_folder, write_durably
from omniformer.files.untrusted import refuse_compressed
from omniformer.parallel import shards

SIDECAR = ".json"


class CorruptCheckpointError(ValueError):
    """A checkpoint's bytes are not those that were written."""


class DurableCheckpointIO(CheckpointIO):
    """Writes a checkpoint so that no crash, kill or full disk leaves a broken file under its name.

    The bytes go to a temporary file in the target's own folder (a rename is atomic only within one file system), are
    forced to disk, and only then take the final name. A sidecar `<name>.json` holds size and SHA-256, because
    neither `weights_only` nor the zip format notices every flipped bit. While a file is being replaced, its sidecar
    lists the old and the new digest, so that a kill at any moment leaves a checkpoint that verifies.

    A checkpoint that `weights_only` loading would refuse is refused here already, when the objects are at hand.

    Of a model whose weights are divided between processes all of them save together (`omniformer.parallel.shards`):
    the pieces go into a folder with a name of its own, which takes effect when the first process renames the file that
    names it; the sidecar lists their digests too.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> DurableCheckpointIO().save_checkpoint({"global_step": 3}, folder / "last.ckpt")
        >>> DurableCheckpointIO().load_checkpoint(latest_checkpoint(folder))
        {'global_step': 3}
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes `checkpoint` to `path`; afterwards it is on disk, whatever happens next.

        Raises:
            TypeError: `storage_options` is given, or the checkpoint holds objects that are neither tensors nor plain
                values.
            OSError: the file cannot be written; names the file. What stood at `path` before is untouched.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options={storage_options!r} is not supported: checkpoints are local files")
        path = _local(path)
        with _naming(path, "write"):
            path.parent.mkdir(parents=True, exist_ok=True)
        pieces = checkpoint.get(shards.KEY)
        listed = None
        if isinstance(pieces, shards.Shards):
            listed = pieces.write(path)
            if not pieces.first:
                return
            checkpoint = checkpoint | {shards.KEY: {"folder": listed["folder"]}}
        with _naming(path, "write"):
            temporary = path.with_name(f".{path.name}{TEMPORARY}")
            try:
                written = _write(checkpoint, temporary) | ({} if listed is None else {shards.KEY: listed})
                _refuse_unloadable(temporary, path)
                # From here on either content is good, so both are listed until the rename has reached the disk.
                _write_sidecar(path, [written, *_sidecar_entries(path)])
                os.replace(temporary, path)
                sync_folder(path.parent)
                _write_sidecar(path, [written])
            finally:
                temporary.unlink(missing_ok=True)
        shards.remove(path, keep=[] if listed is None else [listed["folder"]])

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint at `path`, its digest verified and nothing but tensors and plain values unpickled; one that
        lies in pieces is put together.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: `weights_only=False`, which would let the file run code.
            CorruptCheckpointError: the bytes are not those that were written, or not a checkpoint at all.
        """
        if weights_only is False:
            raise ValueError(f"{path}: weights_only=False would let a checkpoint run code; leave it unset or True")
        return _whole(_local(path), self.read(path, map_location))

    def read(self, path: str | Path, map_location: Any | None = None) -> dict[str, Any]:
        """Likewise, but with empty tensors in the place of those in pieces, for `omniformer.parallel.shards.fill`."""
        path = _local(path)
        verify(path)
        # Resuming moves states to their devices itself; loading to the host keeps one copy off a GPU that may be full.
        return _load(path, map_location="cpu" if map_location is None else map_location)

    def finish(self) -> None:
        """Nothing: what was saved is on disk already. Where it is written in the background, this waits for it."""

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes a checkpoint, its sidecar and its pieces; nothing happens when it is already gone."""
        path = _local(path)
        path.unlink(missing_ok=True)
        _sidecar(path).unlink(missing_ok=True)
        shards.remove(path)


def verify(path: str | Path) -> None:
    """Checks a checkpoint against its sidecar; one without a sidecar (made elsewhere) passes with a warning.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptCheckpointError: size or SHA-256, of the file or of one of its pieces, differ from those recorded, or the
            sidecar cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    if not _sidecar(path).exists():
        warnings.warn(f"{path} has no {_sidecar(path).name} beside it, so damage cannot be noticed", stacklevel=2)
        return
    entries = _sidecar_entries(path, strict=True)
    size = path.stat().st_size
    if size not in {entry["size"] for entry in entries}:
        raise CorruptCheckpointError(
            f"{path} is damaged: it has {size:,} bytes, {entries[0]['size']:,} were written; use another checkpoint"
        )
    digest = sha256_of(path)
    entry = next((each for each in entries if each["sha256"] == digest), None)
    if entry is None:
        raise CorruptCheckpointError(f"{path} is damaged: its SHA-256 is not the recorded one; use another checkpoint")
    if shards.KEY in entry and (told := shards.damaged(entry[shards.KEY], path)):
        raise CorruptCheckpointError(f"{path} is damaged: {told}; use another checkpoint")


def latest_checkpoint(folder: str | Path) -> Path:
    """The newest checkpoint that verifies, in a `checkpoints` folder or in the run folder above it.

    Warns about each newer one that does not. Given a checkpoint instead of a folder, it is that one.

    Raises:
        FileNotFoundError: the folder is missing, or holds no checkpoint that verifies.
        CorruptCheckpointError: the checkpoint that was given is damaged.
    """
    folder = Path(folder)
    if folder.is_file():
        verify(folder)
        return folder
    if (folder / "checkpoints").is_dir():
        folder = folder / "checkpoints"
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} to take a checkpoint from")
    if (path := _newest(found := _finished(folder))) is not None:
        return path
    raise FileNotFoundError(f"{folder} holds no usable checkpoint ({len(found)} found, {len(found)} damaged)")


def newest_run(folders: Iterable[str | Path]) -> Path | None:
    """The run folder, of those given, with the newest checkpoint that verifies; None where there is no such checkpoint.

    Warns about each newer one that does not.
    """
    path = _newest([path for folder in folders for path in _finished(Path(folder) / "checkpoints")])
    return None if path is None else path.parent.parent


def finished_checkpoints(folder: str | Path) -> list[Path]:
    """The checkpoints of a run folder that were saved whole, whatever became of them since, the newest first."""
    return sorted(_finished(Path(folder) / "checkpoints"), key=_saved_at, reverse=True)


def state_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights in a checkpoint by name; the weights themselves are not read.

    Raises:
        CorruptCheckpointError: the file is not a checkpoint of a module.
    """
    try:
        state = torch.load(path, map_location="meta", weights_only=True, mmap=True)["state_dict"]
        return {str(name): tuple(value.shape) for name, value in state.items()}
    except Exception as error:
        raise CorruptCheckpointError(
            f"{path} is not a checkpoint that can be loaded safely: {_first(error)}"
        ) from error


def _finished(folder: Path) -> list[Path]:
    # A file without a sidecar was never finished by us, or comes from elsewhere and must be named explicitly.
    return [path for path in folder.glob("*.ckpt") if _sidecar(path).exists()]


def _newest(found: list[Path]) -> Path | None:
    for path in sorted(found, key=_saved_at, reverse=True):
        try:
            verify(path)
        except CorruptCheckpointError as error:
            warnings.warn(f"{error}; falling back to the one before", stacklevel=3)
        else:
            return path
    return None


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Removes what a killed run left half-written in `folder`; returns the files, and folders of pieces, removed."""
    leftovers = sorted(Path(folder).glob(f".*{TEMPORARY}"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    unnamed = [each for each in shards.folders(Path(folder)) if not _names(each.with_name(shards.owner(each)), each)]
    for path in unnamed:
        shutil.rmtree(path, ignore_errors=True)
    return [*leftovers, *unnamed]


class _Hashing:
    """The part of a file that `torch.save` uses, counting and hashing what passes through."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.sha256.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _write(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Writes and syncs one file; returns its entry for the sidecar."""
    with path.open("wb") as file:
        hashing = _Hashing(file)
        try:
            torch.save(checkpoint, hashing)  # pyright: ignore[reportArgumentType]
        except RuntimeError as error:
            # torch hides a full disk behind a complaint of its own about where in the file it is.
            raise hashing.error or error from None
        file.flush()
        os.fsync(file.fileno())
    return {"size": hashing.size, "sha256": hashing.sha256.hexdigest(), "saved_at": time.time()}


def _names(path: Path, pieces: Path) -> bool:
    """Whether a checkpoint consists of the pieces in a folder."""
    return any(entry.get(shards.KEY, {}).get("folder") == pieces.name for entry in _sidecar_entries(path))


def _whole(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    try:
        return shards.fill(checkpoint, path)
    except Exception as error:
        raise CorruptCheckpointError(f"the pieces of {path} cannot be loaded: {_first(error)}") from error


def _load(path: Path, map_location: Any) -> dict[str, Any]:
    try:
        refuse_compressed(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        raise CorruptCheckpointError(
            f"{path} is not a checkpoint that can be loaded safely: {_first(error)}"
        ) from error


def _refuse_unloadable(temporary: Path, path: Path) -> None:
    """Reads the pickle, not the tensors, of what was just written: later it would be too late to say what is wrong."""
    try:
        torch.load(temporary, map_location="meta", weights_only=True, mmap=True)
    except Exception as error:
        raise TypeError(
            f"{path}: the state of the model or of a callback holds more than tensors and plain values, so it could "
            f"never be loaded safely: {_first(error)}"
        ) from error


def _first(error: BaseException) -> str:
    """The sentence of torch's long unpickling message that names the culprit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next(
        (line for line in lines if "Unsupported" in line or "GLOBAL" in line), lines[0] if lines else repr(error)
    )


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + SIDECAR)


def _write_sidecar(path: Path, entries: list[dict[str, Any]]) -> None:
    write_durably(_sidecar(path), json.dumps({"accepted": entries}, indent=1) + "\n")


def _sidecar_entries(path: Path, *, strict: bool = False) -> list[dict[str, Any]]:
    """What the sidecar accepts, newest first; empty when it is missing or, unless strict, unreadable."""
    try:
        entries = json.loads(_sidecar(path).read_text(encoding="utf-8"))["accepted"]
        read: list[dict[str, Any]]
        read = [{"size": int(e["size"]), "sha256": str(e["sha256"]), "saved_at": float(e["saved_at"])} for e in entries]
        for entry, each in zip(read, entries, strict=True):
            if shards.KEY in each:
                entry[shards.KEY] = shards.listing(each[shards.KEY])
        if strict and not read:
            raise ValueError("no entry")
        return read
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        if strict:
            raise CorruptCheckpointError(f"{_sidecar(path)} is damaged, so {path.name} cannot be verified") from error
        return []


def _saved_at(path: Path) -> float:
    return max((entry["saved_at"] for entry in _sidecar_entries(path)), default=path.stat().st_mtime)


def _local(path: str | Path) -> Path:
    if "://" in str(path):
        raise OSError(f"{path}: checkpoints are written to local or mounted folders only; copy them on afterwards")
    return Path(path)


@contextmanager
def _naming(path: Path, doing: str) -> Iterator[None]:
    """Gives an OSError the checkpoint's name; torch reports a full disk without any."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot {doing} checkpoint {path}: {reason}") from error
