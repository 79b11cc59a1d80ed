"""Which rank failed first, told last: a run on several processes ends with its cause and not with the echo of it."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning import Trainer

# What torch says when another rank is gone, beside the classes of errors that mean nothing else.
_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "gloo/transport",
    "Timed out waiting",
    "NCCL",
    "Watchdog caught collective operation timeout",
    "Detected mismatch between collectives",
)


class RankLostError(ConnectionError):
    """Another rank of the run is gone, so this one cannot go on; says what is known of the other."""


@contextmanager
def first_cause(trainer: Trainer, folder: Path) -> Iterator[None]:
    """Around `fit` or `test`: a rank that fails leaves word in the run folder, one that is left alone reads it.

    Args:
        trainer: knows the ranks.
        folder: of the run; all ranks must see it, or the message says less.

    Raises:
        RankLostError: a collective call failed since another rank is gone; the error that torch gave is its cause.
    """
    if trainer.world_size == 1:
        yield
        return
    word = _word(folder, trainer.global_rank)
    word.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        if is_lost(error):
            raise RankLostError(_told(trainer, folder)) from error
        with suppress(OSError):  # a full disk may be what failed; the error itself is on its way
            word.write_text(json.dumps({"error": type(error).__name__, "said": str(error)}), encoding="utf-8")
        raise


def is_lost(error: BaseException) -> bool:
    """Whether an error only says that another rank does not answer.

    Example:
        >>> is_lost(RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:9"))
        True
    """
    if isinstance(error, dist.DistNetworkError | dist.DistBackendError | dist.DistStoreError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _LOST)


def _word(folder: Path, rank: int) -> Path:
    return folder / f"failed_rank_{rank}.json"


def _told(trainer: Trainer, folder: Path) -> str:
    """What is known of the ranks that are gone."""
    others = [rank for rank in range(trainer.world_size) if rank != trainer.global_rank]
    known = [said for rank in others if (said := _said(_word(folder, rank), rank))]
    killed = [f"rank {rank} was ended by {name}" for rank, name in _killed(trainer)]
    cause = "; ".join(known or killed) or "another rank is gone without a word (killed, out of memory, a lost machine?)"
    place = f"rank {trainer.global_rank} cannot go on after step {trainer.global_step}"
    return f"{place}, since {cause}; resume={folder} goes on from the newest checkpoint"


def _said(word: Path, rank: int) -> str | None:
    try:
        left: dict[str, str] = json.loads(word.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return f"rank {rank} failed with {left['error']}: {left['said']}"


def _killed(trainer: Trainer) -> Iterator[tuple[int, str]]:
    """The ranks that this process started and that a signal ended."""
    processes: list[Any] = getattr(trainer.strategy.launcher, "procs", [])
    for rank, process in enumerate(processes, start=1):
        with suppress(Exception):
            process.wait(timeout=1)
        code = process.returncode
        if isinstance(code, int) and code < 0:
            yield rank, signal.Signals(-code).name
