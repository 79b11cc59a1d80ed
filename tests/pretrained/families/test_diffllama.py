"""DiffLlama beside the reference library."""

import pytest
from decoders import SIZES, language_model_twin
from twins import transformers

from omniformer import pretrained


def model(kind=transformers.DiffLlamaForCausalLM, **others):
    return kind(transformers.DiffLlamaConfig(**(SIZES | {"bos_token_id": None, "eos_token_id": None} | others)))


@pytest.mark.quick("shared keys")
@pytest.mark.parametrize(
    ("side", "others"),
    [("left", {}), ("right", {"num_key_value_heads": 4, "head_dim": 10, "attention_bias": True})],
    ids=["shared keys", "keys of their own"],
)
def test_logits_gradients_texts_and_the_way_back(side, others, tmp_path):
    language_model_twin(model(**others), tmp_path, side)


def test_the_part_below_the_head(tmp_path):
    language_model_twin(model(transformers.DiffLlamaModel, num_hidden_layers=3), tmp_path)


def test_dropout_of_weights_is_refused():
    with pytest.raises(ValueError, match="attention_dropout=0.1; accepted: 0.0"):
        _ = pretrained.family_of({"model_type": "diffllama", "attention_dropout": 0.1}).recipe
