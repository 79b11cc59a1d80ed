"""What callbacks watch: the metric of the task, or one that there will be."""

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping as PlainEarlyStopping
from lightning.pytorch.callbacks import ModelCheckpoint

from omniformer.config import ConfigError
from omniformer.training import watching
from omniformer.training.checkpoints import BestCheckpoint
from omniformer.training.early_stopping import EarlyStopping
from omniformer.training.watching import watch

REPORTED = {"val/accuracy": "max", "val/f1": "max", "val/loss": "min", "val/odd": None}
FOLLOWERS = [BestCheckpoint, EarlyStopping]


@pytest.mark.parametrize("make", FOLLOWERS)
def test_what_names_nothing_follows_the_task(make):
    callback = make()
    watch({"it": callback, "off": None}, REPORTED, "val/accuracy", "max")
    assert (callback.monitor, callback.mode) == ("val/accuracy", "max")


@pytest.mark.parametrize("make", FOLLOWERS)
@pytest.mark.parametrize(("monitor", "mode"), [("val/f1", "max"), ("val/loss", "min")])
def test_what_names_a_metric_keeps_it_and_goes_the_way_of_that_metric(make, monitor, mode):
    callback = make(monitor=monitor)
    watch({"it": callback}, REPORTED, "val/accuracy", "max")
    assert (callback.monitor, callback.mode) == (monitor, mode)


@pytest.mark.parametrize("make", FOLLOWERS)
def test_a_direction_that_is_asked_for_stays(make):
    callback = make(monitor="val/accuracy", mode="min")
    watch({"it": callback}, REPORTED, "val/accuracy", "max")
    assert callback.mode == "min"


def test_a_metric_that_does_not_say_its_direction_needs_one():
    with pytest.raises(ConfigError, match=r"callbacks\.it\.mode: say which way val/odd is better: max or min"):
        watch({"it": BestCheckpoint(monitor="val/odd")}, REPORTED, "val/accuracy", "max")
    watch({"it": BestCheckpoint(monitor="val/odd", mode="max")}, REPORTED, "val/accuracy", "max")


@pytest.mark.parametrize("make", [*FOLLOWERS, PlainEarlyStopping, ModelCheckpoint])
def test_a_metric_that_nothing_will_report_is_told_by_its_key_with_those_that_there_will_be(make):
    known = r"there are val/accuracy, val/f1, val/loss, val/odd; watch one of them"
    with pytest.raises(ConfigError, match=rf"callbacks\.it\.monitor: no metric 'val/acuracy'; did you mean .*{known}"):
        watch({"it": make(monitor="val/acuracy")}, REPORTED, "val/accuracy", "max")


@pytest.mark.parametrize("monitor", ["train/loss", "vision/train/balance", "step", None])
def test_callbacks_of_lightning_that_watch_something_else_are_left_alone(monitor):
    callback = ModelCheckpoint(monitor=monitor, mode="max")
    watch({"it": callback}, REPORTED, "val/accuracy", "max")
    assert callback.monitor == monitor


def test_where_a_default_comes_from_is_said_in_one_line(monkeypatch):
    told = []
    monkeypatch.setattr(watching, "rank_zero_info", told.append)
    watch({"best": BestCheckpoint()}, REPORTED, "val/loss", "min", "the mean over the members")
    assert told == ["callbacks.best watches val/loss (min): the mean over the members"]


@pytest.mark.parametrize(("mode", "better"), [("max", 0.9), ("min", 0.1)])
def test_a_checkpoint_told_late_compares_as_one_that_was_made_so(mode, better):
    told, made = BestCheckpoint(), ModelCheckpoint(monitor="val/loss", mode=mode)
    told.follow("val/loss", mode)
    assert told.state_key.split("{")[1] == made.state_key.split("{")[1]
    assert torch.equal(told.kth_value, made.kth_value)
    for callback in (told, made):
        callback.best_k_models = {"a": torch.tensor(0.5)}
        callback.kth_best_model_path = "a"
        assert callback.check_monitor_top_k(_Alone(), torch.tensor(better))
        assert not callback.check_monitor_top_k(_Alone(), torch.tensor(1 - better))


class _Alone:
    """A trainer of one process."""

    class strategy:  # noqa: N801 - Lightning's name
        @staticmethod
        def reduce_boolean_decision(decision, all=True):
            return decision
