"""OLMo 3 beside the reference library."""

import pytest
from decoders import SIZES, language_model_twin
from twins import transformers

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}


def model(kind=transformers.Olmo3ForCausalLM, **others):
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return kind(transformers.Olmo3Config(**(SIZES | ids | {"sliding_window": 3} | others)))


@pytest.mark.parametrize(
    ("side", "others"),
    [
        ("right", {"layer_types": ["sliding_attention", "full_attention"], "rope_scaling": YARN}),
        ("left", {"num_hidden_layers": 3, "tie_word_embeddings": True, "rms_norm_eps": 1e-3}),
    ],
    ids=["one of each", "windows everywhere"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)
