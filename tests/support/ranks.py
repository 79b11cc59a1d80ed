"""Several processes that work together, forked from the test's own."""

import multiprocessing
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed


def together(world: int, work: Callable[[int, int], Any], folder: Path, *, patience: float = 300) -> list[Any]:
    """What each of several ranks gives back, by rank; gloo is up while they work.

    Args:
        world: how many.
        work: called in each process with its rank and how many there are; what it gives travels by pickle.
        folder: where they meet, an empty one for each call.
        patience: seconds until they are given up.
    """
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=_work, args=(rank, world, work, str(folder), answers)) for rank in range(world)]
    for process in processes:
        process.start()
    try:
        told = dict(answers.get(timeout=patience) for _ in processes)
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
    failures = [f"rank {rank}: {each}" for rank, each in told.items() if isinstance(each, _Failure)]
    if failures:
        raise AssertionError("\n".join(failures))
    return [torch.load(_kept(str(folder), rank), weights_only=False) for rank in range(world)]


def _kept(folder: str, rank: int) -> str:
    return f"{folder}/{rank}.pt"


class _Failure(str):
    """The traceback of a rank."""


def _work(rank: int, world: int, work: Callable[[int, int], Any], folder: str, answers: Any) -> None:
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", world)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=60))
    try:
        torch.save(work(rank, world), _kept(folder, rank))  # a queue would share the memory of tensors, which ends here
        answers.put((rank, None))
    except Exception:
        answers.put((rank, _Failure(traceback.format_exc())))
    distributed.destroy_process_group()
