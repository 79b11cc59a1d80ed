"""BLOOM beside the reference library."""

import pytest
from decoders import language_model_twin
from twins import transformers

from omniformer.pretrained import family_of


def model(kind=transformers.BloomForCausalLM, **others):
    sizes = {"hidden_size": 24, "n_layer": 2, "n_head": 4, "vocab_size": 29}
    return kind(transformers.BloomConfig(**(sizes | {"bos_token_id": None, "eos_token_id": None} | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [{}, {"n_head": 6, "n_layer": 1, "layer_norm_epsilon": 1e-3}, {"tie_word_embeddings": False}],
    ids=["plain", "heads that are no power of two", "untied"],
)
@pytest.mark.parametrize("side", ["right", "left"])
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.BloomModel), tmp_path)


def test_what_the_core_cannot_express_is_refused_by_name():
    with pytest.raises(ValueError, match="apply_residual_connection_post_layernorm=True; accepted: False"):
        _ = family_of({"model_type": "bloom", "apply_residual_connection_post_layernorm": True}).recipe


def test_early_files_have_other_words():
    family = family_of({"model_type": "bloom", "n_embed": 48, "num_attention_heads": 6, "n_layer": 3})
    assert family.recipe["core"]["d_model"] == 48 and family.recipe["core"]["n_heads"] == 6
