"""GPT-2 beside the reference library."""

import pytest
from twins import ragged_ids, transformers, twin


def model(kind=transformers.GPT2LMHeadModel, **others):
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 16, "vocab_size": 29}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return kind(transformers.GPT2Config(**(sizes | dropout | {"bos_token_id": 0, "eos_token_id": 0} | others)))


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"n_layer": 1, "activation_function": "relu"},
        {"n_inner": 40, "n_layer": 3, "layer_norm_epsilon": 1e-3},
        {"tie_word_embeddings": False},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True, "n_layer": 3},
        {"scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False},
    ],
    ids=["plain", "one layer", "other width", "untied", "not scaled", "scaled by layer", "by layer alone"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29)
    twin(model(**others), tmp_path, lambda out: out.logits, {"input_ids": ids, "attention_mask": mask}, mask)


def test_the_part_below_the_head(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    twin(model(transformers.GPT2Model), tmp_path, lambda out: out.last_hidden_state, inputs, mask)
