"""Recent checkpoints are kept by the clock."""

import time

import pytest
import torch

from omniformer.config import ConfigError
from omniformer.training.checkpoint_io import latest_checkpoint, verify
from omniformer.training.checkpoints import BestCheckpoint, RecentCheckpoint


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


def watching(regressor, values):
    """A module whose validations report these values of a metric, None for one that is not defined."""

    class Watched(regressor):
        undefined, unfed = set(), False

        def on_validation_epoch_end(self):
            value = values[self.trainer.current_epoch]
            self.undefined = {"val/curve"} if value is None else set()
            self.trainer.callback_metrics.pop("val/curve", None)
            if value is not None:
                self.log("val/curve", value)

    return Watched()


def best_of(tmp_path):
    return BestCheckpoint(
        dirpath=str(tmp_path / "best"),
        filename="best",
        monitor="val/curve",
        mode="max",
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


@pytest.mark.quick(3)
@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("values", [[None, 0.5, 0.4], [0.4, None, 0.5], [0.3, 0.5, None]])
def test_a_validation_without_the_metric_is_not_the_best_one(
    regressor, make_loader, make_trainer, tmp_path, caplog, values, nothing
):
    best = best_of(tmp_path)
    module = watching(regressor, [nothing if value is None else value for value in values])
    make_trainer(best).fit(module, make_loader(), make_loader())
    assert float(best.best_model_score) == 0.5
    kept = torch.load(best.best_model_path, weights_only=True)
    assert kept["global_step"] == 3 * (1 + values.index(0.5))
    assert f"after step {3 * (1 + values.index(None))} does not define val/curve" in caplog.text


def test_where_no_validation_has_the_metric_the_last_weights_are_kept_and_it_is_said(
    regressor, make_loader, make_trainer, tmp_path, caplog
):
    best = best_of(tmp_path)
    trainer = make_trainer(best)
    trainer.fit(watching(regressor, [None, None, None]), make_loader(), make_loader())
    assert trainer.global_step == 9
    assert best.best_model_path == ""
    assert "no validation has defined val/curve: the last weights are taken for the best" in caplog.text


def test_a_metric_that_nobody_reports_is_named(regressor, make_loader, make_trainer, tmp_path):
    best = best_of(tmp_path)
    best.monitor = "val/los"
    with pytest.raises(
        ConfigError, match=r"no metric 'val/los'; did you mean 'val/loss'\? there are .*val/loss; watch one"
    ):
        make_trainer(best).fit(watching(regressor, [0.1] * 3), make_loader(), make_loader())


def starting(regressor, values):
    """A module whose validations report these values of a metric, the first before any step."""
    left = iter(values)

    class Watched(regressor):
        def on_validation_epoch_end(self):
            self.log("val/curve", next(left))

    return Watched()


@pytest.mark.parametrize(("values", "step"), [([0.5, 0.4, 0.5, 0.3], 0), ([0.5, 0.75, 0.4, 0.3], 3)])
def test_what_a_run_begins_with_is_a_candidate_too_and_changes_nothing_that_follows(
    regressor, make_loader, make_trainer, tmp_path, caplog, values, step
):
    plain = regressor()
    make_trainer().fit(plain, make_loader(), make_loader())
    best, module = best_of(tmp_path), starting(regressor, values)
    before = {name: each.clone() for name, each in module.state_dict().items()}
    trainer = make_trainer(best)
    best.from_start(trainer)
    trainer.fit(module, make_loader(), make_loader())
    assert module.seen == plain.seen
    kept = torch.load(best.best_model_path, weights_only=True)
    assert kept["global_step"] == step and float(best.best_model_score) == max(values)
    assert all(torch.equal(each, before[name]) for name, each in kept["state_dict"].items()) == (step == 0)
    assert ("no validation has a better val/curve than 0.5000, that before the first step" in caplog.text) == (
        step == 0
    )


def test_a_run_goes_on_from_the_weights_before_its_first_step_as_it_went(
    regressor, make_loader, make_trainer, tmp_path
):
    best, module = best_of(tmp_path), starting(regressor, [0.5] * 4)
    trainer = make_trainer(best)
    best.from_start(trainer)
    trainer.fit(module, make_loader(), make_loader())
    again, other = best_of(tmp_path), starting(regressor, [0.4] * 3)
    make_trainer(again).fit(other, make_loader(), make_loader(), ckpt_path=best.best_model_path, weights_only=True)
    assert other.seen == module.seen
    assert float(again.best_model_score) == 0.5  # it remembers what it began with
