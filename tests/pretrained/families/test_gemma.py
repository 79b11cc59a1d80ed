"""The first Gemma beside the reference library."""

import pytest
from decoders import SIZES, language_model_twin
from twins import ragged_ids, transformers, twin

from omniformer.pretrained import family_of


def model(kind=transformers.GemmaForCausalLM, **others):
    return kind(transformers.GemmaConfig(**(SIZES | {"head_dim": 10, "pad_token_id": None} | others)))


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"num_key_value_heads": 1, "rms_norm_eps": 1e-3, "attention_bias": True},
        {"tie_word_embeddings": False, "hidden_act": "silu", "num_hidden_layers": 1},
    ],
    ids=["plain", "one key", "untied"],
)
def test_logits_gradients_what_is_written_and_the_way_back(others, tmp_path):
    language_model_twin(model(**others), tmp_path)


@pytest.mark.slow
def test_the_part_below_the_head(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    twin(model(transformers.GemmaModel), tmp_path, lambda out: out.last_hidden_state, inputs, mask)


def test_gelu_of_old_files_means_that_of_a_tanh():
    found = [family_of({"model_type": "gemma", "hidden_act": name}).recipe for name in ("gelu", "gelu_pytorch_tanh")]
    assert found[0] == found[1]


def test_both_ways_are_refused():
    with pytest.raises(ValueError, match="use_bidirectional_attention=True; accepted: None, False"):
        _ = family_of({"model_type": "gemma", "use_bidirectional_attention": True}).recipe
