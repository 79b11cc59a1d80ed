"""A sweep of which runs fail: the others go on, and the command says which did not."""

import pytest

from omniformer.config import ConfigError, entry_point


@pytest.fixture
def sweep(conf, capsys):
    """Sweeps in this process over five seeds; returns the status, what ran, what came after it, and what was told."""

    def sweep(faults, keys=("seed=0,1,2,3,4", "modality=text")):
        ran, after = [], []

        @entry_point("train", folder=conf, after_sweep=after.extend)
        def main(config):
            """Learns something."""
            ran.append(config["seed"])
            if config["seed"] in faults:
                raise faults[config["seed"]]
            return config["seed"]

        try:
            main(["-m", *keys])
            status = 0
        except SystemExit as stop:
            status = stop.code
        return status, ran, after, capsys.readouterr().err

    return sweep


def test_runs_behind_one_that_fails_go_on_and_the_sweep_names_it(sweep):
    status, ran, after, told = sweep(
        {1: FileNotFoundError("no file a.csv"), 2: RuntimeError("a bug"), 4: ConfigError(["seed: bad"])}
    )
    assert status == 1 and ran == [0, 1, 2, 3, 4]
    assert [settings for _, settings in after] == [["seed=0", "modality=text"], ["seed=3", "modality=text"]]
    assert "error: no file a.csv" in told and "Traceback" in told and "RuntimeError: a bug" in told
    assert told.splitlines()[-1] == (
        "error: 3 of 5 runs failed: 1 (seed=1), 2 (seed=2), 4 (seed=4); the first of them: no file a.csv"
    )


def test_the_first_that_fails_says_how_the_command_ends(sweep):
    status, _, after, told = sweep({0: ConfigError(["seed: bad"]), 1: OSError("late")}, keys=["seed=0,1"])
    assert (status, after) == (
        2,
        [],
    ) and "2 of 2 runs failed: 0 (seed=0), 1 (seed=1); the first of them: seed: bad" in told


def test_settings_that_name_what_is_not_there_are_told_too(sweep):
    status, ran, _, told = sweep({}, keys=["seed=0,1", "data_root=${nowhere}"])
    assert (status, ran) == (2, []) and "2 of 2 runs failed" in told and "key 'nowhere' not found" in told


def test_a_run_that_is_stopped_stops_the_sweep(sweep):
    status, ran, _, told = sweep({1: SystemExit(143)})
    assert (status, ran) == (143, [0, 1]) and "failed" not in told
    status, ran, _, told = sweep({2: KeyboardInterrupt()})
    assert (status, ran) == (130, [0, 1, 2]) and "failed" not in told
