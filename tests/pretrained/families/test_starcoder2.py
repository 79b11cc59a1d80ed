"""StarCoder2 beside the reference library."""

import pytest
from decoders import SIZES, language_model_twin
from twins import transformers


def model(kind=transformers.Starcoder2ForCausalLM, **others):
    return kind(transformers.Starcoder2Config(**(SIZES | {"bos_token_id": None, "eos_token_id": None} | others)))


@pytest.mark.parametrize(
    ("side", "others"),
    [("right", {"sliding_window": 4}), ("left", {"use_bias": False, "tie_word_embeddings": False})],
    ids=["window", "without offsets"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.Starcoder2Model), tmp_path)
