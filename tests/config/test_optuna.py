"""`hydra/sweeper=optuna`, from the command line to the storage."""

from pathlib import Path

import pytest

from omniformer.config import ConfigError, entry_point
from omniformer.training.watching import Score

optuna = pytest.importorskip("optuna")


@pytest.fixture
def sweep(conf, capsys):
    """Sweeps in this process; returns the status, the configurations that runs received, and what was printed."""

    def sweep(*arguments, do):
        received = []

        @entry_point("train", folder=conf)
        def main(config):
            """Learns something."""
            received.append(config)
            return do(config)

        try:
            main(["-m", "hydra/sweeper=optuna", "hydra.sweeper.storage=sqlite:///kept/studies.db", *arguments])
            status = 0
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return status, received, printed.out + printed.err

    return sweep


def accuracy(config):
    return Score(config["core"]["d_model"] / 100, metric="val/accuracy", mode="max")


def test_a_sweep_of_optuna_maximises_what_is_better_when_more(sweep):
    status, received, printed = sweep(
        "core.d_model=range(8,65,8)", "hydra.sweeper.n_trials=5", "core.n_heads=1", do=accuracy
    )
    assert status == 0 and len(received) == 5
    assert {config["core"]["n_heads"] for config in received} == {1}
    best = max(config["core"]["d_model"] for config in received)
    (study,) = optuna.get_all_study_summaries("sqlite:///kept/studies.db")
    assert study.study_name == received[0]["name"]
    assert study.direction.name == "MAXIMIZE" and study.best_trial.params == {"core.d_model": best}
    folders = [config["paths"]["output_dir"] for config in received]
    assert [Path(folder).name for folder in folders] == ["0", "1", "2", "3", "4"]
    assert f"the best is in {folders[[config['core']['d_model'] for config in received].index(best)]}" in printed


@pytest.mark.slow
def test_mistakes_and_bugs_of_single_trials_do_not_end_the_sweep_and_the_same_command_goes_on(sweep):
    raised = {1: ConfigError(["core.n_heads: two are too few"]), 3: RuntimeError("a bug")}

    def faulty(config):
        if (number := int(Path(config["paths"]["output_dir"]).name)) in raised:
            raise raised[number]
        return accuracy(config)

    status, received, printed = sweep("hydra.sweeper.n_trials=5", "core.d_model=range(8,65,8)", do=faulty)
    assert status == 0 and len(received) == 5
    assert "error: core.n_heads: two are too few" in printed and "trial 1 failed and is left out" in printed
    assert "RuntimeError: a bug" in printed and "trial 3 failed and is left out: RuntimeError: a bug" in printed
    status, received, printed = sweep("hydra.sweeper.n_trials=6", "core.d_model=range(8,65,8)", do=faulty)
    assert status == 0 and len(received) == 1 and "goes on behind 5 trials" in printed


def test_a_sweep_of_which_every_trial_fails_fails_by_the_first_cause(sweep):
    def refuse(config):
        raise ConfigError([f"no room for {config['core']['d_model']}"])

    status, received, printed = sweep("hydra.sweeper.n_trials=2", "core.d_model=8,16", do=refuse)
    first, last = (config["core"]["d_model"] for config in received)
    assert status == 2 and f"trial 1 failed and is left out: no room for {last}" in printed
    assert f"error: none of the first 2 trials (0, 1) gave a number; the first: no room for {first}" in printed


@pytest.mark.slow
def test_a_run_that_was_stopped_stops_the_sweep(sweep):
    def stopped(config):
        raise SystemExit(143)

    status, received, _ = sweep("core.d_model=8,16", do=stopped)
    assert status == 143 and len(received) == 1


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials: received 0, accepted: a whole number from 1"),
        ("hydra.sweeper.sampler=best", "hydra.sweeper.sampler: received 'best', accepted: tpe, random or gp"),
        ("core.d_model=8", "hydra/sweeper=optuna: nothing is searched"),
    ],
)
def test_what_cannot_be_searched_is_told(sweep, argument, message):
    status, received, printed = sweep(argument, do=accuracy)
    assert (status, received) == (2, []) and message in printed


def test_without_optuna_the_extra_is_named(sweep, monkeypatch):
    from importlib import util

    monkeypatch.setattr(util, "find_spec", lambda name: None)
    status, _, printed = sweep("core.d_model=8,16", do=accuracy)
    assert status == 2 and "needs optuna, which is not installed: pip install optuna" in printed
