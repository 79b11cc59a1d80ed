"""The lines of the table of results."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from omniformer.config import entry_point
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import group_options

PATH = Path(__file__).resolve().parents[2] / "scripts" / "benchmark_experiments.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_experiments", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_line_names_an_experiment_and_a_line_to_begin_from(benchmark):
    known = group_options([conf_dir()])["experiment"]
    for name, run in benchmark.RUNS.items():
        assert run.experiment in known, name
        assert run.begins is None or run.begins in benchmark.RUNS, name


def test_a_run_begins_from_that_of_its_own_seed_or_else_from_the_first(benchmark, tmp_path, monkeypatch):
    commands = {}

    def run(command, **_):
        (folder,) = (Path(word.split("=", 1)[1]) for word in command if word.startswith("paths.output_dir="))
        commands[folder.relative_to(tmp_path).as_posix()] = command
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "config.json").write_text("{}")
        (folder / "metrics.json").write_text('{"test/accuracy": 0.5}')

    monkeypatch.setattr(benchmark.subprocess, "run", run)
    assert benchmark.numbers("few_digits_four", "seed=2", "data", tmp_path) == {"test/accuracy": 0.5}
    benchmark.numbers("transfer_audio", "seed=2", "data", tmp_path)
    assert list(commands) == [
        *("pretrain_four/seed-2", "few_digits_four/seed-2"),
        *("mnist/seed-0", "transfer_audio/seed-2"),
    ]
    assert f"model.pretrained={tmp_path / 'pretrain_four' / 'seed-2'}" in commands["few_digits_four/seed-2"]


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
