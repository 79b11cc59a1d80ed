"""Mamba-2 beside the reference library."""

import pytest
from decoders import language_model_twin
from twins import transformers

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_heads": 4, "head_dim": 12, "state_size": 5, "n_groups": 2}
SIZES |= {"vocab_size": 29, "chunk_size": 4, "bos_token_id": None, "eos_token_id": None}


def model(kind=transformers.Mamba2ForCausalLM, **others):
    return kind(transformers.Mamba2Config(**(SIZES | others)))


@pytest.mark.quick("two groups")
@pytest.mark.parametrize(
    ("side", "others"),
    [
        ("left", {}),
        ("right", {"n_groups": 1, "use_bias": True, "use_conv_bias": False, "conv_kernel": 3}),
        ("right", {"n_groups": 4, "tie_word_embeddings": True, "expand": 3, "head_dim": 18}),
    ],
    ids=["two groups", "offsets elsewhere", "tied"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.Mamba2Model, time_step_limit=(0.5, 0.9)), tmp_path)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"head_dim": 7}, "num_heads=4 of head_dim=7; together they must be expand=2 times hidden_size=24 wide"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'; accepted: 'silu'"),
    ],
)
def test_what_the_core_cannot_express_is_refused(others, message):
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of({"model_type": "mamba2"} | SIZES | others).recipe
