"""Mistral beside the reference library."""

import pytest
from decoders import SIZES
from twins import ragged_ids, transformers, twin

from omniformer.core.rules import Causal, Window
from omniformer.pretrained import family_of


def model(kind=transformers.MistralForCausalLM, **others):
    return kind(transformers.MistralConfig(**(SIZES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {"sliding_window": 4},
        {"sliding_window": 1, "num_hidden_layers": 1, "num_key_value_heads": 1},
        {"sliding_window": None, "head_dim": 10, "num_hidden_layers": 3, "tie_word_embeddings": True},
        {"sliding_window": 400, "hidden_act": "gelu_pytorch_tanh", "rms_norm_eps": 1e-3},
    ],
    ids=["window", "itself", "no window", "longer than the text"],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_gradients_and_the_way_back(others, side, tmp_path):
    ids, mask = ragged_ids(29, side=side)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(0)}
    twin(model(**others), tmp_path, lambda out: out.logits, inputs, mask)


def test_the_part_below_the_head_keeps_its_window(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    theirs = model(transformers.MistralModel, sliding_window=3)
    twin(theirs, tmp_path, lambda out: out.last_hidden_state, inputs, mask)


@pytest.mark.parametrize(
    ("given", "rule"),
    [({}, Window(left=4095, right=0)), ({"sliding_window": None}, Causal()), ({"sliding_window": 8}, Window(7, 0))],
)
def test_the_window_counts_the_token_itself(given, rule):
    from omniformer.config import build

    (node,) = family_of({"model_type": "mistral", **given}).recipe["rules"].values()
    assert build(node, "rule") == rule


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="sliding_window=0; accepted: 1 and above, or null"):
        _ = family_of({"model_type": "mistral", "sliding_window": 0}).recipe
