"""Qwen3 beside the reference library."""

import decoders
import pytest
from twins import ragged_ids, transformers, twin

SIZES = decoders.SIZES | {"head_dim": 10}


def model(kind=transformers.Qwen3ForCausalLM, **others):
    return kind(transformers.Qwen3Config(**(SIZES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"num_hidden_layers": 1, "attention_bias": True, "tie_word_embeddings": True},
        {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0, "rms_norm_eps": 1e-3},
        {"use_sliding_window": True, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]},
    ],
    ids=["plain", "offsets and ties", "windows", "windows in some layers"],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_gradients_and_the_way_back(others, side, tmp_path):
    ids, mask = ragged_ids(29, side=side)
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": (mask.cumsum(1) - 1).clamp(0)}
    twin(model(**others), tmp_path, lambda out: out.logits, inputs, mask)


def test_the_part_below_the_head(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    twin(model(transformers.Qwen3Model), tmp_path, lambda out: out.last_hidden_state, inputs, mask)
