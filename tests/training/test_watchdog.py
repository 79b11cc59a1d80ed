"""A rank that stands still ends with its stacks, and one that works is left alone."""

import subprocess
import sys
from datetime import timedelta

import pytest

from omniformer.training.trainer import build_trainer
from omniformer.training.watchdog import Watchdog

STUCK = """
import sys, time
from types import SimpleNamespace
from omniformer.training import watchdog
from omniformer.training.watchdog import Watchdog

watchdog._GRACE, watchdog._REARM = 1.0, 0.01
dog = Watchdog(seconds=1.0)
dog.setup(SimpleNamespace(world_size={world_size}, global_rank=3), None, "fit")

def stands_still():
    time.sleep(4)

if "work" in sys.argv:
    for _ in range(80):
        time.sleep(0.05)
        dog.on_train_batch_end()
    dog.teardown(None, None, "fit")
stands_still()
print("done")
"""


def run(*arguments, world_size=2):
    command = [sys.executable, "-c", STUCK.replace("{world_size}", str(world_size)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_a_rank_that_stands_still_says_who_it_is_and_where_it_stands_and_ends():
    ended = run()
    assert ended.returncode == 1 and "done" not in ended.stdout
    assert "rank 3 has finished no batch for 1 s (callbacks.watchdog.seconds)" in ended.stderr
    assert "in stands_still" in ended.stderr


@pytest.mark.parametrize(("arguments", "world_size"), [(["work"], 2), ([], 1)], ids=["working", "alone"])
def test_one_that_works_until_the_end_is_left_alone_and_so_is_a_single_process(arguments, world_size):
    ended = run(*arguments, world_size=world_size)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_the_ranks_that_wait_give_up_after_the_same_time(tmp_path):
    options = {"devices": 2, "accelerator": "cpu"}
    trainer = build_trainer(options, callbacks={"dog": Watchdog(seconds=90)}, loggers={}, output_dir=str(tmp_path))
    assert trainer.strategy._timeout == timedelta(seconds=90)


def test_no_time_at_all_is_refused():
    with pytest.raises(ValueError, match="seconds=0 is not positive"):
        Watchdog(seconds=0)
