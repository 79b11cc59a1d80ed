"""A rank that stands still ends with its stacks, and one that works is left alone."""

import multiprocessing
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from omniformer.training import watchdog
from omniformer.training.trainer import build_trainer
from omniformer.training.watchdog import Watchdog

PATIENCE, STEP = 3.0, 0.05  # seconds; a busy machine may keep a process waiting for more than one of them


def stands_still():
    time.sleep(PATIENCE + 0.5)


def rank(said: Path, works: bool, world_size: int) -> None:
    """The life of a process, whose streams go into a file."""
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        # The words come half a second before the end.
        watchdog._GRACE, watchdog._REARM = 1.0, 0.5
        dog = Watchdog(seconds=PATIENCE - watchdog._GRACE)
        dog.setup(SimpleNamespace(world_size=world_size, global_rank=3), None, "fit")
        if works:
            for _ in range(int((PATIENCE + 0.5) / STEP)):
                time.sleep(STEP)
                dog.on_train_batch_end()
            dog.teardown(None, None, "fit")
        stands_still()
        print("done")


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> dict[str, tuple[int | None, str]]:
    """How processes ended that ran at the same time, and what they said."""
    lives = {"still": (False, 2), "working": (True, 2), "alone": (False, 1)}
    folder, context = tmp_path_factory.mktemp("ranks"), multiprocessing.get_context("fork")
    processes = {name: context.Process(target=rank, args=(folder / name, *life)) for name, life in lives.items()}
    for process in processes.values():
        process.start()
    for process in processes.values():
        process.join(timeout=100)
    return {name: (process.exitcode, (folder / name).read_text()) for name, process in processes.items()}


def test_a_rank_that_stands_still_says_who_it_is_and_where_it_stands_and_ends(ended):
    code, said = ended["still"]
    assert code == 1 and "done" not in said
    assert "rank 3 has finished no batch for 2 s (callbacks.watchdog.seconds)" in said
    assert "in stands_still" in said


@pytest.mark.parametrize("name", ["working", "alone"])
def test_one_that_works_until_the_end_is_left_alone_and_so_is_a_single_process(ended, name):
    assert ended[name] == (0, "done\n")


def test_the_ranks_that_wait_give_up_after_the_same_time(tmp_path):
    options = {"devices": 2, "accelerator": "cpu"}
    trainer = build_trainer(options, callbacks={"dog": Watchdog(seconds=90)}, loggers={}, output_dir=str(tmp_path))
    assert trainer.strategy._timeout == timedelta(seconds=90)


def test_no_time_at_all_is_refused():
    with pytest.raises(ValueError, match="seconds=0 is not positive"):
        Watchdog(seconds=0)
