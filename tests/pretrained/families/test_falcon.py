"""Falcon beside the reference library."""

import pytest
from decoders import language_model_twin
from twins import transformers

from omniformer.pretrained import family_of


def model(kind=transformers.FalconForCausalLM, **others):
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 29}
    return kind(transformers.FalconConfig(**(sizes | {"bos_token_id": None, "eos_token_id": None} | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("side", "others"),
    [
        ("right", {}),
        ("left", {"new_decoder_architecture": True, "num_kv_heads": 2, "ffn_hidden_size": 40}),
        ("right", {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}),
        ("right", {"multi_query": False, "parallel_attn": False, "bias": True, "tie_word_embeddings": False}),
    ],
    ids=["7B", "40B", "11B", "one after the other"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.FalconModel), tmp_path)


def test_distances_that_the_reference_rounds_are_refused():
    with pytest.raises(ValueError, match="alibi=True; accepted: False"):
        _ = family_of({"model_type": "falcon", "alibi": True}).recipe
