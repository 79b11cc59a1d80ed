"""The rank that fails leaves word; one that is left alone says what the other has said."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from omniformer.training.ranks import RankLostError, first_cause

GONE = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:9")


def trainer(rank=0, world_size=2, procs=()):
    launcher = SimpleNamespace(procs=list(procs))
    strategy = SimpleNamespace(launcher=launcher)
    return SimpleNamespace(global_rank=rank, world_size=world_size, global_step=7, strategy=strategy)


def fail(folder, error, **options):
    with first_cause(trainer(**options), folder):
        raise error


def test_the_error_of_the_rank_that_failed_is_told_by_the_one_that_is_left(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        fail(tmp_path, ValueError("no such file"), rank=1)
    with pytest.raises(RankLostError) as told:
        fail(tmp_path, GONE)
    assert str(told.value) == (
        "rank 0 cannot go on after step 7, since rank 1 failed with ValueError: no such file; "
        f"resume={tmp_path} goes on from the newest checkpoint"
    )
    assert told.value.__cause__ is GONE


def test_a_rank_that_was_killed_is_told_by_the_one_that_started_it(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    killed.kill()
    with pytest.raises(RankLostError, match="since rank 1 was ended by SIGKILL; resume="):
        fail(tmp_path, GONE, procs=[killed])


def test_without_a_word_of_the_other_that_is_told(tmp_path):
    with pytest.raises(RankLostError, match="another rank is gone without a word"):
        fail(tmp_path, GONE)


def test_the_word_of_an_earlier_attempt_does_not_count(tmp_path):
    with pytest.raises(ValueError, match="old"):
        fail(tmp_path, ValueError("old"), rank=1)
    with first_cause(trainer(rank=1), tmp_path):
        pass
    with pytest.raises(RankLostError, match="without a word"):
        fail(tmp_path, GONE)


def test_errors_of_a_single_process_and_other_runtime_errors_pass_as_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="closed by peer"):
        fail(tmp_path, GONE, world_size=1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fail(tmp_path, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
