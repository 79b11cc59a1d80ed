"""The lines of the table of results."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from omniformer._confpath import conf_dir
from omniformer.config import entry_point
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


@pytest.mark.slow
def test_one_core_goes_on_from_either_pre_training(benchmark):
    @entry_point("train")
    def composed(config):
        return config

    def core(name):
        run = benchmark.RUNS[name]
        config = composed([f"experiment={run.experiment}", *run.fixed])
        return yaml.safe_dump(config["core"] | {"dropout": None}), config

    for name in ("finetune_requests_gpt_few", "finetune_reviews_bert"):
        (mine, config), (before, _) = core(name), core(benchmark.RUNS[name].begins)
        assert mine == before
    config = core("finetune_requests_gpt_few")[1]
    assert config["embedder"] == {"_target_": "omniformer.embedders.IdEmbedder", "dropout": 0.3}
    assert config["task"]["rule"]["_target_"].endswith("Causal")
    assert config["data"]["train_share"] == 0.05
