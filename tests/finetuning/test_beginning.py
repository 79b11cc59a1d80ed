"""What a run begins from: assembling asks, and a kind of one's own answers."""

import pytest
import torch

from omniformer import finetuning
from omniformer.config import entry_point
from omniformer.experiment import assemble
from omniformer.finetuning import Beginning
from omniformer.training.warm_start import load_weights

CORE = ["core.d_model=16", "core.n_layers=1", "core.n_heads=2"]


@entry_point("train")
def composed(config):
    return config


def test_without_a_name_a_run_begins_from_fresh_weights_of_its_seed():
    config = composed(["modality=vision", *CORE])
    assert type(finetuning.begin(config)) is Beginning
    first, second = (assemble(config).model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_rows_of_further_special_tokens_are_those_of_the_seed(published):
    def rows(seed):
        options = ["data.arrange.seq_len=32", f"model.pretrained={published}", "model.special_tokens=['<a>']"]
        begun = finetuning.begin(composed(["modality=text", *options, f"seed={seed}"]))
        return begun.trained.model.embedders["text"].table.weight

    assert torch.equal(rows(1), rows(1))
    assert not torch.equal(rows(1), rows(2))


def test_a_fourth_kind_of_beginning_is_one_class():
    class Soup(Beginning):
        """The mean of the weights of several models."""

        def __init__(self, *models):
            self.states = [model.state_dict() for model in models]

        def fill(self, model, made, data):
            mean = {name: torch.stack([state[name] for state in self.states]).mean(0) for name in self.states[0]}
            return load_weights(model, mean)

    config = composed(["modality=vision", *CORE, "model.freeze=[core.*]"])
    one, two = (assemble({**config, "seed": seed}).model for seed in (1, 2))
    mixed = assemble(config, Soup(one, two))
    name = "core.blocks.0.attention.branch.qkv.weight"
    expected = (one.get_parameter(name) + two.get_parameter(name)) / 2
    torch.testing.assert_close(mixed.model.get_parameter(name), expected)
    assert not mixed.model.get_parameter(name).requires_grad
    assert set(mixed.predictor().members) == {"vision"}
