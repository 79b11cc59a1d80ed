"""Every shipped experiment, run for two steps: it reads its data, trains, validates, tests, and leaves a model."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import omniformer
from omniformer.config import allowing, entry_point, validate
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import group_options
from omniformer.experiment import train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

EXPERIMENTS = group_options([conf_dir()])["experiment"]
# Those that begin from the weights of another run, and which.
BEGINS_FROM = {
    "captioning_gated": "modality=text",
    "prefix_captioning": "modality=text",
    "finetune_requests": "experiment=bert_pretrain",
    "finetune_reviews": "experiment=bert_pretrain",
    "transfer": "experiment=joint_real",
    "transfer_audio": "experiment=mnist",
}
WITHOUT_TEST = {"shakespeare_char", "shakespeare_char_long"}  # published scores of this set are those of validation
# A few steps ask for no more than this, whatever the key belongs to.
AT_MOST = {
    "batch_size": 4,
    "d_model": 64,
    "d_condition": 64,
    "n_heads": 4,
    "n_layers": 2,
    "seq_len": 64,
    "vocab_size": 512,
    "max_bytes": 300_000,
    "max_train": 64,
    "per_clip": 1,
    "n_train": 32,
    "n_val": 8,
    "n_test": 8,
    "n_beams": 1,
    "max_new_tokens": 4,
    "warmup_steps": 1,
}
# Where two batches of four are too few to measure anything.
LARGER = {"tox21": 64}  # most assays have few poisons: without one there is no curve
TWO_BATCHES = {"max_epochs": 1, "check_val_every_n_epoch": 1, "limit_val_batches": 2, "limit_test_batches": 2}


@entry_point("train")
def composed(config: dict[str, Any]) -> dict[str, Any]:
    return config


def nodes(value: object) -> Iterator[dict[str, Any]]:
    """A mapping and all mappings in it."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from nodes(child)


def small(config: dict[str, Any]) -> dict[str, Any]:
    """The same run in little."""
    config = copy.deepcopy(config)
    for node in nodes(config):
        if node.get("tokens_per_batch"):
            node.update(tokens_per_batch=None, batch_size=AT_MOST["batch_size"])
        for key, most in AT_MOST.items():
            if isinstance(node.get(key), int) and node[key] > most:
                node[key] = most
        if "weight" in node:
            node["weight"] = 1.0  # every member of a mixture takes part in both steps
    if config["name"] in LARGER:
        config["data"]["batch_size"] = LARGER[config["name"]]
    config["steps_per_epoch"], config["report"] = 2, False
    config["trainer"].update(TWO_BATCHES)
    with allowing(config["allow_targets"]):
        validate(config)
    return config


def reads_files(config: dict[str, Any]) -> bool:
    described = config["members"] or {"it": config}
    return any("data_root" in node for member in described.values() for node in nodes(member["data"]))


def elsewhere(config: dict[str, Any], data_root: str) -> dict[str, Any]:
    """The same run with its data in another place, without composing it anew."""
    for node in nodes(config):
        if "data_root" in node:
            node["data_root"] = data_root
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory, request, few_speakers) -> Callable[[str], Path]:
    """Makes the run folder of a choice, once: others begin from some of them."""
    finished: dict[str, Path] = {}

    def make(choice: str) -> Path:
        if choice not in finished:
            folder = tmp_path_factory.mktemp("run")
            arguments = [choice, f"paths.output_root={folder}", "logger=none", "callbacks.progress=null"]
            if before := BEGINS_FROM.get(choice.removeprefix("experiment=")):
                arguments.append(f"model.pretrained={make(before)}")
            config = composed(arguments)
            if reads_files(config):
                config = elsewhere(config, str(request.getfixturevalue("shared_data")))
            config = small(config)
            train(config)
            finished[choice] = Path(config["paths"]["output_dir"])
        return finished[choice]

    return make


@pytest.mark.quick("karate", "masked_patches", "esol", "mutag")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_trains_validates_and_tests_and_leaves_a_model(run, name):
    output = run(f"experiment={name}")
    found = json.loads((output / "metrics.json").read_text())
    assert found["steps"] == 2
    assert "val/loss" in found
    assert ("test/loss" in found) == (name not in WITHOUT_TEST)
    assert all(math.isfinite(value) for value in found.values())
    assert sum(p.numel() for p in omniformer.load(output).model.parameters()) == found["parameters"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("captioning_gated", ("core.", "embedders.text.")),
        ("prefix_captioning", ("core.", "embedders.text.")),
        ("transfer", ("core.",)),
        ("transfer_audio", ("core.",)),
    ],
)
def test_what_is_frozen_is_what_the_run_before_it_left(run, name, frozen):
    before = omniformer.load(run(BEGINS_FROM[name])).model.state_dict()
    after = omniformer.load(run(f"experiment={name}")).model.state_dict()
    kept = [key for key in before if key.startswith(frozen)]
    assert len(kept) > 10
    assert all(torch.equal(before[key], after[key]) for key in kept)


@pytest.mark.slow
def test_experiments_without_files_are_run_everywhere(tmp_path):
    def needs_files(name: str) -> bool:
        return reads_files(composed([f"experiment={name}", f"paths.output_root={tmp_path}"]))

    found = {name: needs_files(name) for name in ("karate", "long_copy", "mu_law", "span_corruption", "joint_real")}
    assert found == {name: name == "joint_real" for name in found}
