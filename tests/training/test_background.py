"""Checkpoints written in the background are those that would have been written at once, or the run stops."""

import errno
import os
import signal
import threading

import pytest
import torch

from omniformer.training.background import BackgroundCheckpointIO, BackgroundSaving, snapshot
from omniformer.training.checkpoint_io import DurableCheckpointIO, latest_checkpoint
from omniformer.training.checkpoints import BestCheckpoint, RecentCheckpoint
from omniformer.training.ema import EMA
from omniformer.training.stop import Stop, Stopped


@pytest.fixture
def slow_disk(monkeypatch):
    """A disk on which nothing is forced before the event is set."""
    real, gate = os.fsync, threading.Event()

    def fsync(descriptor):
        assert gate.wait(30)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    yield gate
    gate.set()


@pytest.fixture
def broken_disk(monkeypatch):
    """A disk that fails from when it is told to."""
    real, broken = os.fsync, threading.Event()

    def fsync(descriptor):
        if broken.is_set():
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return broken


def weights(value):
    return {"w": torch.full((1000,), float(value))}


def test_what_changes_after_the_call_is_not_what_is_saved(tmp_path, slow_disk):
    io, state = BackgroundCheckpointIO(), {"model": weights(1), "counts": {"seen": [1, 2]}, "lr": (0.1, weights(3))}
    io.save_checkpoint(state, tmp_path / "a.ckpt")
    state["model"]["w"].fill_(2)
    state["counts"]["seen"].append(3)
    state["lr"][1]["w"].zero_()
    slow_disk.set()
    loaded = io.load_checkpoint(tmp_path / "a.ckpt")
    assert loaded["counts"] == {"seen": [1, 2]}
    assert loaded["model"]["w"].unique().tolist() == [1]
    assert loaded["lr"][1]["w"].unique().tolist() == [3]


def test_a_snapshot_is_the_state_that_a_module_loads_and_tied_weights_stay_one(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 8))
    model[2].weight = model[0].weight
    taken = snapshot(model.state_dict())
    assert taken._metadata == model.state_dict()._metadata
    assert taken["0.weight"].data_ptr() == taken["2.weight"].data_ptr() != model[0].weight.data_ptr()
    DurableCheckpointIO().save_checkpoint(taken, tmp_path / "a.ckpt")
    loaded = DurableCheckpointIO().load_checkpoint(tmp_path / "a.ckpt")
    torch.testing.assert_close(dict(loaded), dict(model.state_dict()), rtol=0, atol=0)


def test_a_save_returns_before_the_disk_and_the_next_one_waits_for_it(tmp_path, slow_disk):
    io, order = BackgroundCheckpointIO(), []
    io.save_checkpoint(weights(1), tmp_path / "a.ckpt")
    io.check()
    assert not (tmp_path / "a.ckpt").exists()

    def second():
        io.save_checkpoint(weights(2), tmp_path / "b.ckpt")
        order.append((tmp_path / "a.ckpt.json").exists())

    waiting = threading.Thread(target=second)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    slow_disk.set()
    waiting.join()
    io.finish()
    assert order == [True]
    assert latest_checkpoint(tmp_path).name == "b.ckpt"


def test_the_old_checkpoint_goes_when_the_new_one_is_on_disk(tmp_path, slow_disk):
    slow_disk.set()
    io = BackgroundCheckpointIO()
    io.save_checkpoint(weights(1), tmp_path / "a.ckpt")
    io.finish()
    slow_disk.clear()
    io.save_checkpoint(weights(2), tmp_path / "b.ckpt")
    io.remove_checkpoint(tmp_path / "a.ckpt")
    assert latest_checkpoint(tmp_path).name == "a.ckpt"
    slow_disk.set()
    io.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.ckpt", "b.ckpt.json"]
    io.remove_checkpoint(tmp_path / "b.ckpt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("told_by", ["check", "finish", "teardown", "save"])
def test_the_error_of_a_save_is_told_once_by_what_comes_next_and_the_old_one_stays(tmp_path, broken_disk, told_by):
    io = BackgroundCheckpointIO()
    io.save_checkpoint(weights(1), tmp_path / "a.ckpt")
    io.finish()
    broken_disk.set()
    io.save_checkpoint(weights(2), tmp_path / "b.ckpt")
    io._saving.exception()  # it has come to its end
    with pytest.raises(OSError, match=r"cannot write checkpoint .*b\.ckpt: Input/output error"):
        io.remove_checkpoint(tmp_path / "a.ckpt")
    io.save_checkpoint(weights(2), tmp_path / "b.ckpt")
    io._saving.exception()
    with pytest.raises(OSError, match=r"cannot write checkpoint .*b\.ckpt: Input/output error"):
        io.save_checkpoint(weights(3), tmp_path / "c.ckpt") if told_by == "save" else getattr(io, told_by)()
    broken_disk.clear()
    io.finish()
    assert latest_checkpoint(tmp_path).name == "a.ckpt"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "a.ckpt.json"]


def callbacks(folder, *, background):
    recent = RecentCheckpoint(dirpath=str(folder), every_minutes=0)
    best = BestCheckpoint(
        dirpath=str(folder), filename="best", monitor="val/loss", mode="min", save_top_k=1, enable_version_counter=False
    )
    return [best, EMA(decay=0.9), recent, Stop(dirpath=str(folder)), *([BackgroundSaving()] if background else [])]


def test_a_run_stopped_in_the_background_goes_on_as_if_nothing_had_happened(
    regressor, make_loader, make_trainer, tmp_path
):
    full = regressor()
    make_trainer(*callbacks(tmp_path / "full", background=False)).fit(full, make_loader(), make_loader(shuffle=False))
    first = regressor()

    def stop(module, _):
        if module.trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    first.before_step = stop
    with pytest.raises(Stopped) as stopped:
        make_trainer(*callbacks(tmp_path / "run", background=True)).fit(
            first, make_loader(), make_loader(shuffle=False)
        )
    assert stopped.value.checkpoint == latest_checkpoint(tmp_path / "run") == tmp_path / "run" / "last.ckpt"
    rest = regressor()
    make_trainer(*callbacks(tmp_path / "run", background=True)).fit(
        rest, make_loader(), make_loader(shuffle=False), ckpt_path=stopped.value.checkpoint
    )
    assert first.seen + rest.seen == full.seen
    torch.testing.assert_close(rest.state_dict(), full.state_dict(), rtol=0, atol=0)
    names = [{path.name for path in (tmp_path / run).iterdir()} for run in ("run", "full")]
    assert names[0] - {"last.ckpt", "last.ckpt.json"} == names[1]
    for name in ("best.ckpt", "step-00000009.ckpt"):
        states = [DurableCheckpointIO().load_checkpoint(tmp_path / run / name) for run in ("run", "full")]
        torch.testing.assert_close(*(state["state_dict"] for state in states), rtol=0, atol=0)
        torch.testing.assert_close(*(state["optimizer_states"] for state in states), rtol=0, atol=0)


def test_a_save_that_fails_stops_the_run_in_the_next_step_and_leaves_the_one_before(
    regressor, make_loader, make_trainer, tmp_path, broken_disk
):
    module, folder = regressor(), tmp_path / "run"
    background = BackgroundSaving()

    def before(module, _):
        if module.trainer.global_step >= 3:
            background.io._saving.exception()  # the save of the step before has come to its end
            broken_disk.set()

    module.before_step = before
    trainer = make_trainer(RecentCheckpoint(dirpath=str(folder), every_minutes=0), background)
    with pytest.raises(OSError, match=r"cannot write checkpoint .*step-00000004\.ckpt: Input/output error"):
        trainer.fit(module, make_loader(24), make_loader())
    assert trainer.global_step in (4, 5)  # before the fifth step has ended
    broken_disk.clear()
    assert latest_checkpoint(folder).name == "step-00000003.ckpt"
    assert not list(folder.glob(".*"))


def test_a_save_that_fails_beside_another_error_is_told_and_the_error_stays(
    regressor, make_loader, make_trainer, tmp_path, broken_disk, caplog
):
    module = regressor()

    def before(module, _):
        if module.trainer.global_step == 1:
            raise ZeroDivisionError("of our own")
        broken_disk.set()

    module.before_step = before
    trainer = make_trainer(RecentCheckpoint(dirpath=str(tmp_path / "run"), every_minutes=0), BackgroundSaving())
    with pytest.raises(ZeroDivisionError, match="of our own"):
        trainer.fit(module, make_loader(), make_loader())
    assert "step-00000001.ckpt: Input/output error" in caplog.text


def test_without_the_callback_a_save_is_on_disk_when_it_returns(make_trainer):
    assert isinstance(make_trainer().strategy.checkpoint_io, DurableCheckpointIO)
    background = BackgroundSaving()
    assert make_trainer(background).strategy.checkpoint_io is background.io
