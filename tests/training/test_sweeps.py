import json
from statistics import stdev

import pytest

from omniformer.training.sweeps import grouped, print_spread, spread


@pytest.fixture
def runs(tmp_path):
    """Two settings, three folds each, and one that ran once."""
    found = []
    for number, (lr, fold) in enumerate([(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2), (3, 0)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        numbers = {"test/accuracy": lr / 10 + fold / 100, "best/val/accuracy": 0.5, "train/loss": 1.0, "seed": 0}
        (folder / "metrics.json").write_text(json.dumps(numbers | ({"val/auroc": 0.1} if fold else {})))
        found.append((folder, [f"optim.lr={lr}", f"data.fold={fold}", "modality=vision"]))
    return found


def test_runs_are_grouped_by_what_differs_beside_fold_and_seed(runs):
    groups = grouped([*runs, (runs[0][0], ["optim.lr=1", "members.a.data.source.fold=4", "seed=7", "modality=vision"])])
    assert {setting: len(folders) for setting, folders in groups.items()} == {
        "optim.lr=1": 4,
        "optim.lr=2": 3,
        "optim.lr=3": 1,
    }
    assert list(grouped(runs[:1])) == [""]


def test_mean_and_spread_are_those_of_a_sample_over_scores_that_all_runs_have(runs):
    found = spread([folder for folder, settings in runs if settings[0] == "optim.lr=1"])
    assert list(found) == ["test/accuracy", "best/val/accuracy"]
    values = [0.1, 0.11, 0.12]
    assert found["test/accuracy"] == pytest.approx(
        {"n": 3, "mean": 0.11, "std": stdev(values), "min": 0.1, "max": 0.12}
    )


def test_one_table_a_setting_is_printed_and_all_are_written(runs, tmp_path, capsys):
    print_spread(runs)
    told = capsys.readouterr().out
    assert told.count("mean and spread of 3 runs") == 2 and "optim.lr=3" not in told and "0.1100" in told
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary.keys() == {"optim.lr=1", "optim.lr=2"} and summary["optim.lr=2"]["test/accuracy"]["n"] == 3


def test_runs_of_which_none_repeats_another_are_left_alone(runs, tmp_path, capsys):
    print_spread([runs[0], runs[1], (tmp_path / "without results", ["optim.lr=1", "data.fold=9"])])
    assert not capsys.readouterr().out and not (tmp_path / "summary.json").exists()
