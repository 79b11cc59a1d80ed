"""What is told without Hydra is what Hydra does."""

from pathlib import Path

import pytest

from omniformer.config.composing import Layer, layers
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import group_options, read
from omniformer.config.sketch import layers as sketched
from omniformer.config.sketch import merged

OPTIONS = group_options([conf_dir()])


def by_hydra(name, choices, folder=None):
    given = ["--config-dir", str(folder)] if folder else []
    return layers(read(given), name, conf_dir(), [f"{key}={value}" for key, value in choices.items()], OPTIONS)


def same(name, **choices):
    assert sketched([conf_dir()], name, choices) == by_hydra(name, choices)


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"modality": "all"},
        {"experiment": "vqa", "core": "small"},
        {"experiment": "mnist", "modality": "text", "data": "cora"},
        {"core": "encoder_decoder_tiny", "debug": "fast", "core/norm@core.decoder.norm": "layer"},
    ],
    ids=str,
)
def test_the_files_of_a_run_are_those_that_hydra_lays_over_each_other(choices):
    same("train", **choices)


@pytest.mark.slow
def test_the_files_of_another_primary_configuration_are_as_well():
    same("inspect", core="gpt2_small")
    same("inspect", core="tiny")  # which no family belongs to


@pytest.mark.slow
@pytest.mark.parametrize("group", ["modality", "experiment", "core", "debug", "optim", "data", "callbacks"])
def test_every_option_chooses_the_files_that_hydra_chooses(group):
    for option in OPTIONS[group]:
        same("train", **{group: option})


def test_own_folders_are_read_as_hydra_reads_them(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "mine.yaml").write_text("defaults:\n  - norm: rms\n  - _self_\nd_model: 8\n")
    (tmp_path / "experiment" / "own.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /core: mine\n  - override /optim: muon\nseed: 5\n"
    )
    found = sketched([conf_dir(), tmp_path], "train", {"experiment": "own"})
    assert found == by_hydra("train", {"experiment": "own"}, tmp_path)
    assert merged(found)["core"]["d_model"] == 8


def test_an_option_that_there_is_not_adds_no_file():
    found = sketched([conf_dir()], "train", {"core": "nowhere"})
    assert not [layer for layer in found if layer.package == "core"]


def test_later_files_are_laid_over_earlier_ones(tmp_path):
    for name, text in {"a": "x: {y: 1, z: 2}\ndefaults: [q]\n", "b": "y: 3\nz: {deep: 4}\n"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    layers_of = [Layer(Path(tmp_path / "a.yaml"), ""), Layer(Path(tmp_path / "b.yaml"), "x")]
    assert merged(layers_of) == {"x": {"y": 3, "z": {"deep": 4}}}
