"""A recipe is chosen by rank, and for each set by the others alone."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from omniformer.config import entry_point
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import group_options
from omniformer.training.watching import Score

PATH = Path(__file__).resolve().parents[2] / "scripts" / "tune_defaults.py"


@pytest.fixture(scope="module")
def tuning():
    spec = importlib.util.spec_from_file_location("tune_defaults", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_set_names_what_there_is(tuning):
    known = group_options([conf_dir()])
    named = [word.split("=") for sets in tuning.SETS.values() for words in sets.values() for word in words]
    assert [name for key, name in named if key in ("experiment", "modality") and name not in known[key]] == []

    @entry_point("train")
    def composed(config):
        return config

    words = tuning.SETS["vision"]["mnist, 1 label in 50"]
    assert composed([*words, "+trainer.max_time={seconds: 9}"])["data"]["train_share"] == 0.02


def test_units_and_sizes_of_scores_do_not_count(tuning):
    scores = {
        "large": {"a": 1000.0, "b": 1.0, "c": 0.5},
        "small": {"a": 0.1, "b": 0.3, "c": 0.2},
        "other": {"a": 0.1, "b": 0.3, "c": 0.4},
    }
    assert tuning.mean_ranks(scores) == {"a": pytest.approx(7 / 3), "b": pytest.approx(5 / 3), "c": 2.0}
    assert tuning.choice(scores) == "b"


def test_what_is_chosen_for_a_set_does_not_depend_on_it(tuning):
    scores = {"x": {"a": 1.0, "b": 0.0}, "y": {"a": 1.0, "b": 0.0}, "z": {"a": 0.0, "b": 1.0}}
    assert tuning.left_out(scores) == {"x": "a", "y": "a", "z": "a"}
    scores["x"] = {"a": 0.0, "b": 1.0}
    assert tuning.left_out(scores)["x"] == "a"


def test_runs_are_kept_and_the_tables_say_who_wins(tuning, tmp_path, monkeypatch, capsys):
    ran = []

    def train(words):
        ran.append(words)
        said = dict(word.split("=", 1) for word in words if "=" in word)
        folder = Path(said["paths.output_dir"])
        folder.mkdir(parents=True)
        val = 0.5 if "optim.lr=1" in words else 0.25
        numbers = {"test/rmse": val + 0.25, "baseline/GIN/test/rmse": 0.625, "baseline/mean/test/rmse": 2.0}
        (folder / "metrics.json").write_text(json.dumps(numbers))
        return Score(val, metric="val/rmse", mode="min")

    monkeypatch.setattr(tuning, "train", train)
    (tmp_path / "recipes.yaml").write_text("plain: []\nfast: [optim.lr=1]\n")
    asked = [f"--recipes={tmp_path / 'recipes.yaml'}", "--data-root=d", "--seconds=9", f"--output={tmp_path / 'out'}"]
    monkeypatch.setattr(sys, "argv", ["tune", "graph", *asked, "--seeds", "0", "1", "--sets", "esol", "mutag"])
    for _ in range(2):
        tuning.main()
    assert len(ran) == 2 * 2 * 2 and "+trainer.max_time={seconds: 9}" in ran[0]
    assert ["baselines=true" in words for words in ran] == [True, False, False, False] * 2
    printed = capsys.readouterr().out
    assert printed.count("| plain | 0.2500 | 0.2500 | 1.00 |") == 2  # less is better
    assert "| esol | rmse | plain | 0.5000 | 0.0000 | GIN | 0.6250 |" in printed


def test_what_has_been_prepared_is_a_set(tuning, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\n")
    assert tuning.prepared(tmp_path) == {"mine": ["--config-dir", str(tmp_path), "experiment=mine"]}
    assert tuning.prepared(None) == {}
