"""Recent checkpoints are kept by the clock."""

import time

import pytest

from omniformer.training.checkpoint_io import latest_checkpoint, verify
from omniformer.training.checkpoints import RecentCheckpoint


def saved(folder):
    return sorted(path.name for path in folder.glob("*.ckpt"))


def test_only_the_last_ones_are_kept_with_their_sidecars(regressor, make_loader, make_trainer, tmp_path):
    make_trainer(RecentCheckpoint(dirpath=str(tmp_path), every_minutes=0.0, keep=3)).fit(
        regressor(), make_loader(), make_loader()
    )
    assert saved(tmp_path) == [f"step-0000000{step}.ckpt" for step in (7, 8, 9)]
    assert len(list(tmp_path.iterdir())) == 6
    for path in tmp_path.glob("*.ckpt"):
        verify(path)


def test_clock_decides(regressor, make_loader, make_trainer, tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    module = regressor()
    module.before_step = lambda *_: now.__setitem__(0, now[0] + 60.0)
    make_trainer(RecentCheckpoint(dirpath=str(tmp_path), every_minutes=4.0, keep=10)).fit(
        module, make_loader(), make_loader()
    )
    assert saved(tmp_path) == [f"step-0000000{step}.ckpt" for step in (4, 8, 9)]


def test_short_run_leaves_its_last_step(regressor, make_loader, make_trainer, tmp_path):
    make_trainer(RecentCheckpoint(dirpath=str(tmp_path)), max_steps=5).fit(regressor(), make_loader(), make_loader())
    assert latest_checkpoint(tmp_path).name == "step-00000005.ckpt"


def test_trial_run_leaves_nothing(regressor, make_loader, make_trainer, tmp_path):
    recent = RecentCheckpoint(dirpath=str(tmp_path / "none"), every_minutes=0.0)
    make_trainer(recent, fast_dev_run=2).fit(regressor(), make_loader(), make_loader())
    assert not (tmp_path / "none").exists()


def test_bad_settings_are_told():
    with pytest.raises(ValueError, match="keep=1 leaves nothing to fall back on"):
        RecentCheckpoint(dirpath="x", keep=1)
    with pytest.raises(ValueError, match=r"every_minutes=-1\.0"):
        RecentCheckpoint(dirpath="x", every_minutes=-1.0)
