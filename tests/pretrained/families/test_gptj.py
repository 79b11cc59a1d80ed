"""GPT-J beside the reference library."""

import pytest
from decoders import language_model_twin
from twins import transformers

from omniformer.pretrained.families.gptj import from_neighbours


def model(kind=transformers.GPTJForCausalLM, **others):
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 2, "n_positions": 24, "vocab_size": 29, "rotary_dim": 4}
    return kind(transformers.GPTJConfig(**(sizes | {"bos_token_id": None, "eos_token_id": None} | others)))


@pytest.mark.parametrize(
    ("side", "others"),
    [("right", {}), ("left", {"rotary_dim": 12, "n_inner": 40, "layer_norm_epsilon": 1e-3, "n_layer": 1})],
    ids=["a part of each head", "whole heads"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.GPTJModel), tmp_path)


def test_neighbours_are_as_many_features_apart_as_half_of_those_that_turn():
    order = from_neighbours(2, 8, 6)
    assert sorted(order) == list(range(16))
    assert all(order[i + 1] - order[i] == 3 for i in (0, 2, 4, 8, 10, 12))
    assert order[6:8] == (6, 7)
