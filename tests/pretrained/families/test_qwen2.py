"""Qwen2 beside the reference library."""

import pytest
from decoders import SIZES, writes_alike
from twins import ragged_ids, saved, shaken, transformers, twin

from omniformer import pretrained
from omniformer.pretrained import family_of


def model(kind=transformers.Qwen2ForCausalLM, **others):
    return kind(transformers.Qwen2Config(**(SIZES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"num_hidden_layers": 1, "num_key_value_heads": 1, "tie_word_embeddings": True},
        {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0},
        {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2, "num_key_value_heads": 4},
        {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2, "num_hidden_layers": 3},
        {
            "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8},
            "num_hidden_layers": 3,
        },
    ],
    ids=["plain", "tied", "windows everywhere", "windows nowhere", "windows above", "yarn"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29)
    twin(model(**others), tmp_path, lambda out: out.logits, {"input_ids": ids, "attention_mask": mask}, mask)


def test_what_it_writes(tmp_path):
    theirs = shaken(model(use_sliding_window=True, sliding_window=3, max_window_layers=1))
    writes_alike(theirs, pretrained.load(saved(theirs, tmp_path)))


def test_the_part_below_the_head(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    twin(model(transformers.Qwen2Model), tmp_path, lambda out: out.last_hidden_state, inputs, mask)


def test_a_classifier_reads_the_last_token(tmp_path):
    ids, mask = ragged_ids(29, least=1)
    theirs = model(transformers.Qwen2ForSequenceClassification, num_labels=3, pad_token_id=0)
    twin(theirs, tmp_path, lambda out: out.logits, {"input_ids": ids * mask, "attention_mask": mask})


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    "others",
    [
        {"use_sliding_window": False, "layer_types": ["sliding_attention", "full_attention"]},
        {"use_sliding_window": True, "sliding_window": None, "layer_types": ["sliding_attention"] * 2},
        {"layer_types": ["chunked_attention", "chunked_attention"]},
    ],
    ids=["without a window", "of no size", "another kind"],
)
def test_layers_that_the_core_does_not_have_are_refused(kind, others):
    with pytest.raises(ValueError, match=r"layer_types=\[.*accepted: full_attention, and with a window"):
        _ = family_of({"model_type": kind, **SIZES, **others}).recipe


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_layers_that_are_alike_need_no_pattern(kind):
    alike = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0}
    recipe = family_of({"model_type": kind, **SIZES, **alike}).recipe
    assert "pattern" not in recipe["core"]
    assert recipe["rules"]["causal_lm"]["left"] == 2
