"""Training ends when validations get no better."""

import logging

import pytest

from omniformer.training import early_stopping
from omniformer.training.early_stopping import EarlyStopping


def reporting(regressor, values):
    """A module whose validations report these values of a metric, None for one that is not defined."""

    class Reporting(regressor):
        def on_validation_epoch_end(self):
            value = values[self.trainer.current_epoch]
            self.trainer.callback_metrics.pop("val/score", None)
            if value is not None:
                self.log("val/score", value)

    return Reporting()


@pytest.mark.parametrize(
    ("mode", "values", "epochs"),
    [
        ("max", [0.1, 0.5, 0.4, 0.5, 0.9], 4),  # as good is not better
        ("min", [0.5, 0.4, 0.6, 0.7, 0.1], 4),
        ("max", [0.1, 0.2, 0.3, 0.4, 0.5], 5),
        ("max", [0.5, None, 0.4, None, 0.6], 5),  # what is not defined counts neither way
    ],
)
def test_it_waits_as_long_as_it_is_told(
    regressor, make_loader, make_trainer, caplog, monkeypatch, mode, values, epochs
):
    told = []
    monkeypatch.setattr(early_stopping, "rank_zero_info", told.append)
    stopping = EarlyStopping(patience=2)
    stopping.follow("val/score", mode)
    trainer = make_trainer(stopping, max_epochs=5)
    with caplog.at_level(logging.WARNING):
        trainer.fit(reporting(regressor, values), make_loader(), make_loader())
    assert trainer.global_step == 3 * epochs
    assert ["training ends early, after step" in each for each in told] == [True] * (epochs < 5)
    assert ("does not define val/score" in caplog.text) == (None in values)


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_better_by_less_than_asked_is_not_better(regressor, make_loader, make_trainer, mode, sign):
    stopping = EarlyStopping(patience=1, min_delta=0.1)
    stopping.follow("val/score", mode)
    trainer = make_trainer(stopping, max_epochs=5)
    values = [sign * each for each in (0.1, 0.3, 0.35, 0.9, 1.0)]
    trainer.fit(reporting(regressor, values), make_loader(), make_loader())
    assert trainer.global_step == 9


def test_a_run_that_goes_on_counts_on_with_the_patience_that_it_is_given_now(
    regressor, make_loader, make_trainer, tmp_path
):
    def stopping(patience):
        made = EarlyStopping(patience=patience)
        made.follow("val/score", "max")
        return made

    values = [0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
    first = make_trainer(stopping(5), max_epochs=2)
    first.fit(reporting(regressor, values), make_loader(), make_loader())
    first.save_checkpoint(tmp_path / "it.ckpt")
    again = make_trainer(stopping(3), max_epochs=6)
    again.fit(reporting(regressor, values), make_loader(), make_loader(), ckpt_path=tmp_path / "it.ckpt")
    assert again.global_step == 3 * 4  # one epoch without a better one before, two after
