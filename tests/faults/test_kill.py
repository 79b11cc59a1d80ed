"""Whatever kills a run, and whenever: the newest checkpoint loads, and the resumed run is the uninterrupted one."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from busy import of_idle
from torn import rows

from omniformer.training.checkpoint_io import DurableCheckpointIO, latest_checkpoint

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SHARED_MEMORY = Path("/dev/shm")
KILLS = 50  # of each way on each file system
RUN = {"epochs": 6, "accumulate": 2, "n": 20}
# Seconds for a run to begin: a second rank imports everything by itself, which took two minutes on a busy machine.
PATIENCE = 240.0
# How checkpoints are written.
ways = pytest.mark.parametrize("way", [{}, {"background": 1}], ids=["at-once", "in-the-background"])


def steps(folder: Path) -> dict[int, list]:
    """What each training batch did; fails if two attempts at the same batch differ."""
    found: dict[int, list] = {}
    for place, *did, _ in rows(folder / "steps0.jsonl"):
        assert found.setdefault(place, did) == did, f"batch {place} was repeated differently"
    return found


def wait_for(condition, process, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def lines(folder: Path) -> int:
    path = folder / "steps0.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


@ways
def test_run_killed_at_random_steps_equals_the_uninterrupted_one(start, tmp_path, way):
    assert start(tmp_path / "full", **RUN).wait() == 0, (tmp_path / "full" / "log.txt").read_text()
    folder, places, kills = tmp_path / "killed", random.Random(4), 0
    while kills < 6:
        process = start(folder, **RUN, **way, wait=0.01)
        enough = lines(folder) + places.randrange(1, 8)
        if not wait_for(lambda: lines(folder) >= enough, process):  # noqa: B023
            break
        time.sleep(places.random() * 0.03)
        process.kill()
        process.wait()
        kills += 1
    assert kills >= 4
    assert start(folder, **RUN, **way).wait() == 0, (folder / "log.txt").read_text()
    assert steps(folder) == steps(tmp_path / "full")
    finals = [torch.load(run / "final.pt", weights_only=True) for run in (folder, tmp_path / "full")]
    torch.testing.assert_close(*finals, rtol=0, atol=0)
    assert not list((folder / "checkpoints").glob(".*"))


@pytest.fixture(params=["disk", "memory"])
def drive(request, tmp_path) -> Iterator[Path]:
    """A folder on each of two file systems; of the first the operating system says what it is."""
    if request.param == "disk":
        yield tmp_path
        return
    if not SHARED_MEMORY.is_dir():
        pytest.skip(f"{SHARED_MEMORY} is not there")
    with TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield Path(folder)


@ways
def test_kill_during_a_save_leaves_a_checkpoint_that_loads(start, drive, way):
    """Checkpoints of 48 MB are overwritten all the time, so that a kill mostly falls into a save."""
    folder, places = drive / "run", random.Random(1)
    interrupted = 0
    for _ in range(KILLS):
        process = start(folder, epochs=1000, accumulate=1, width=4_000_000, **way)
        before = lines(folder)
        assert wait_for(lambda: lines(folder) >= before + 3, process)  # noqa: B023
        time.sleep(places.random() * 0.3)
        process.kill()
        process.wait()
        interrupted += bool(list((folder / "checkpoints").glob(".*")))
        newest = latest_checkpoint(folder)
        loaded = DurableCheckpointIO().load_checkpoint(newest)
        done = max(steps(folder)) + 1
        # One save interval, which is up to two steps here, and the step whose save was interrupted.
        assert done - loaded["global_step"] <= (3 if way else 2)
    assert interrupted >= KILLS // 8


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_asking_to_stop_at_random_moments_saves_the_last_finished_step(start, tmp_path, signum):
    assert start(tmp_path / "full", **RUN).wait() == 0
    folder, places, stops = tmp_path / "stopped", random.Random(2), 0
    while stops < 5:
        process = start(folder, **RUN, wait=0.01, minutes=1000)
        enough = lines(folder) + places.randrange(1, 8)
        if not wait_for(lambda: lines(folder) >= enough, process):  # noqa: B023
            break
        time.sleep(places.random() * 0.03)
        process.send_signal(signum)
        begin = time.monotonic()
        if process.wait() == 0:
            break
        assert process.returncode == 128 + signum, (folder / "log.txt").read_text()
        assert time.monotonic() - begin < 30
        assert latest_checkpoint(folder).name == "last.ckpt"
        stops += 1
    assert stops >= 3
    assert start(folder, **RUN).wait() == 0
    assert steps(folder) == steps(tmp_path / "full")
    finals = [torch.load(run / "final.pt", weights_only=True) for run in (folder, tmp_path / "full")]
    torch.testing.assert_close(*finals, rtol=0, atol=0)


def processes(folder: Path) -> set[int]:
    """The process ids of all ranks that have finished a step."""
    return {row[-1] for path in folder.glob("steps*.jsonl") for row in rows(path)}


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def all_gone(pids: set[int]) -> bool:
    """Whether processes end within 30 seconds of an idle machine."""
    end = time.monotonic() + of_idle(30)
    while not all(map(gone, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    return all(map(gone, pids))


@pytest.mark.parametrize("told", [0, 1])
def test_signal_to_any_one_of_two_ranks_stops_both_with_a_checkpoint(start, tmp_path, told):
    process = start(tmp_path, epochs=1000, devices=2, accumulate=1, wait=0.01, minutes=1000)
    assert wait_for(lambda: len(processes(tmp_path)) == 2, process), (tmp_path / "log.txt").read_text()
    (child,) = processes(tmp_path) - {process.pid}
    os.kill(process.pid if told == 0 else child, signal.SIGTERM)
    assert process.wait(timeout=of_idle(60)) == 143, (tmp_path / "log.txt").read_text()
    assert all_gone({child})
    assert latest_checkpoint(tmp_path).name == "last.ckpt"
    last = [max(row[0] for row in rows(tmp_path / f"steps{rank}.jsonl")) for rank in (0, 1)]
    loaded = DurableCheckpointIO().load_checkpoint(latest_checkpoint(tmp_path))
    # The module's hook that writes the log comes after the callbacks', so the step that was saved is not in it.
    assert set(last) <= {loaded["global_step"] - 2, loaded["global_step"] - 1}


@pytest.mark.parametrize("bad", [0, 1])
def test_nan_on_one_of_two_ranks_stops_both_before_the_weights_change(start, tmp_path, bad):
    process = start(tmp_path, devices=2, accumulate=1, nan_rank=bad)
    assert process.wait(timeout=PATIENCE) not in (0, None)
    log = (tmp_path / "log.txt").read_text()
    assert "not finite at step 4" in log
    assert f"at step 4: rank {bad}: loss [nan]" in log
    loaded = DurableCheckpointIO().load_checkpoint(latest_checkpoint(tmp_path))
    assert loaded["global_step"] == 4
    assert all(torch.isfinite(value).all() for value in loaded["state_dict"].values())


@pytest.mark.parametrize("bad", [0, 1])
def test_exception_on_one_of_two_ranks_ends_both_without_a_hang(start, tmp_path, bad):
    process = start(tmp_path, devices=2, accumulate=1, fail_rank=bad, wait=0.01)
    assert wait_for(lambda: len(processes(tmp_path)) == 2, process)
    pids = processes(tmp_path)
    assert process.wait(timeout=of_idle(60)) != 0
    assert all_gone(pids)
    assert f"rank {bad} fails as asked" in (tmp_path / "log.txt").read_text()
