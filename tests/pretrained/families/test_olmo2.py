"""OLMo 2 beside the reference library."""

import pytest
from decoders import SIZES, language_model_twin
from twins import transformers


def model(kind=transformers.Olmo2ForCausalLM, **others):
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return kind(transformers.Olmo2Config(**(SIZES | ids | others)))


@pytest.mark.parametrize(
    ("side", "others"),
    [("right", {}), ("left", {"num_key_value_heads": 4, "rms_norm_eps": 1e-3, "tie_word_embeddings": True})],
    ids=["few key heads", "ties"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.Olmo2Model), tmp_path)
