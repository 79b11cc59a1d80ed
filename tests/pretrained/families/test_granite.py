"""Granite beside the reference library."""

import pytest
from decoders import SIZES, language_model_twin
from twins import transformers

FACTORS = {
    "embedding_multiplier": 3.0,
    "logits_scaling": 4.0,
    "residual_multiplier": 0.22,
    "attention_multiplier": 0.4,
}


def model(kind=transformers.GraniteForCausalLM, **others):
    return kind(transformers.GraniteConfig(**(SIZES | {"bos_token_id": None, "eos_token_id": None} | others)))


@pytest.mark.parametrize(
    ("side", "others"),
    [("right", FACTORS), ("left", FACTORS | {"tie_word_embeddings": True, "attention_bias": True})],
    ids=["factors", "ties"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.GraniteModel, **FACTORS), tmp_path)
