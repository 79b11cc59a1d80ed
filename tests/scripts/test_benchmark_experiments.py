"""The lines and the tables of results."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from omniformer.config import entry_point
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import group_options

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        import benchmark_experiments

        yield benchmark_experiments
    for name in [name for name in sys.modules if name.partition(".")[0] in ("benchmark_experiments", "benchmarks")]:
        del sys.modules[name]


@pytest.fixture
def kept(benchmark, tmp_path):
    """Makes a run that has ended, with these numbers."""

    def make(name, varied, told=None, **numbers):
        folder = benchmark.folder(name, varied, tmp_path)
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "config.json").write_text("{}")
        (folder / "metrics.json").write_text(json.dumps({"train/seconds": 9.0} | numbers))
        if told is not None:
            (folder / "run.json").write_text(json.dumps(told))

    return make


def place(benchmark, tmp_path):
    return benchmark.Place("data", tmp_path, kept=True)


def test_every_line_names_an_experiment_and_a_line_to_begin_from(benchmark):
    known = group_options([conf_dir()])
    for name, run in benchmark.RUNS.items():
        assert run.experiment in known[run.group], name
        assert run.begins is None or run.begins in benchmark.RUNS, name
    for table in benchmark.TABLES.values():
        for _, cells in table.rows:
            assert len(cells) == len(table.columns)
            assert all(cell is None or cell[0] in benchmark.RUNS for cell in cells)


def test_a_run_begins_from_that_of_its_own_seed_or_else_from_the_first(benchmark, tmp_path, monkeypatch):
    commands = {}

    def run(command, **_):
        done = benchmark.subprocess.CompletedProcess(command, 0, stdout="abc1234\n")
        if command[0] == "git":
            return done
        (folder,) = (Path(word.split("=", 1)[1]) for word in command if word.startswith("paths.output_dir="))
        commands[folder.relative_to(tmp_path).as_posix()] = command
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "config.json").write_text("{}")
        (folder / "metrics.json").write_text('{"test/accuracy": 0.5}')
        return done

    monkeypatch.setattr(benchmark.subprocess, "run", run)
    assert benchmark.numbers("few_digits_four", "seed=2", "data", tmp_path) == {"test/accuracy": 0.5}
    benchmark.numbers("transfer_audio", "seed=2", "data", tmp_path)
    assert list(commands) == [
        *("pretrain_four/seed-2", "few_digits_four/seed-2"),
        *("mnist/seed-0", "transfer_audio/seed-2"),
    ]
    assert f"model.pretrained={tmp_path / 'pretrain_four' / 'seed-2'}" in commands["few_digits_four/seed-2"]
    told = json.loads((tmp_path / "few_digits_four" / "seed-2" / "run.json").read_text())
    assert told["commit"] == "abc1234" and "experiment=few_labels" in told["command"] and len(told["load"]) == 2


def test_a_table_has_means_and_spreads_of_the_runs_that_are_there(benchmark, tmp_path, kept):
    for seed, value in enumerate((0.5, 0.6, 0.7)):
        kept("few_digits_four", f"seed={seed}", **{"test/accuracy": value})
    kept("few_digits_one", "seed=0", **{"test/accuracy": 0.25})
    kept("few_digits_scratch", "seed=0", **{"test/accuracy": 0.1})
    kept("few_digits_scratch", "seed=1", **{"test/accuracy": 0.2})
    lines = benchmark.side_by_side(benchmark.TABLES["few_labels"], place(benchmark, tmp_path))
    assert lines[0].startswith("| | requests, accuracy | digits, accuracy | sounds, accuracy | molecules, rmse |")
    assert "| four |  | 0.600 (0.200) |  |  |" in lines
    assert "| one modality |  | 0.250 (one run) |  |  |" in lines
    assert "| fresh |  | 0.150 (0.100, 2 runs) |  |  |" in lines


def test_simple_methods_stand_behind_the_metric_that_they_are_measured_by(benchmark, tmp_path, kept):
    numbers = {"test/accuracy": 0.5, "baseline/small_CNN/test/accuracy": 0.25, "baseline/small_CNN/test/f1": 0.2}
    kept("cifar10", "seed=0", **numbers)
    rows = benchmark.rows("cifar10", benchmark.found("cifar10", place(benchmark, tmp_path)))
    assert [row.split(" | ")[1:3] for row in rows] == [
        ["test/accuracy", "0.5000"],
        ["baseline/small_CNN/test/accuracy", "0.2500"],
    ]


def test_it_is_said_where_and_when_runs_were_and_of_how_many_that_is_not_known(benchmark, tmp_path, kept):
    told = {"commit": "abc1234", "hardware": "2 cores", "load": [1.5, 3.0], "processor_seconds": 70}
    kept("esol", "seed=0", told)
    kept("esol", "seed=1", told | {"load": [0.5, 2.0], "processor_seconds": 60})
    kept("esol", "seed=2")
    assert benchmark.conditions(["esol"], place(benchmark, tmp_path)) == [
        "",
        "- esol: commit abc1234, 2 cores, load 0.5 to 3.0; processor seconds 70, 60",
        "- 1 runs without a run.json: of where and when nothing is known",
    ]


@pytest.mark.slow
def test_one_core_goes_on_from_either_pre_training(benchmark):
    @entry_point("train")
    def composed(config):
        return config

    def core(name):
        run = benchmark.RUNS[name]
        config = composed([f"experiment={run.experiment}", *run.fixed])
        return yaml.safe_dump(config["core"] | {"dropout": None}), config

    few = [f"few_{name}_four" for name in ("requests", "digits", "sounds", "molecules")]
    for name in ("finetune_requests_gpt_few", "finetune_reviews_bert", *few):
        (mine, config), (before, _) = core(name), core(benchmark.RUNS[name].begins)
        assert mine == before
    config = core("finetune_requests_gpt_few")[1]
    assert config["embedder"] == {"_target_": "omniformer.embedders.IdEmbedder", "dropout": 0.3}
    assert config["task"]["rule"]["_target_"].endswith("Causal")
    assert config["data"]["train_share"] == 0.05
