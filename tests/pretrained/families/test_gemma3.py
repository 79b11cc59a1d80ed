"""Gemma 3, the models of text, beside the reference library."""

import decoders
import pytest
from twins import ragged_ids, saved, shaken, transformers, twin

from omniformer import pretrained
from omniformer.pretrained import family_of

SIZES = decoders.SIZES | {
    "num_hidden_layers": 3,
    "head_dim": 10,
    "query_pre_attn_scalar": 7,
    "sliding_window": 3,
    "pad_token_id": None,
}


def model(kind=transformers.Gemma3ForCausalLM, **others):
    return kind(transformers.Gemma3TextConfig(**(SIZES | others)))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]},
        {"sliding_window_pattern": 2, "rope_theta": 300.0, "rope_local_base_freq": 20.0, "attention_bias": True},
        {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "sliding_window_pattern": 2},
        {"final_logit_softcapping": 2.0, "tie_word_embeddings": False},
    ],
    ids=["two to one", "old keys", "longer contexts", "windows everywhere"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29)
    twin(model(**others), tmp_path, lambda out: out.logits, {"input_ids": ids, "attention_mask": mask}, mask)


def test_what_it_writes(tmp_path):
    theirs = shaken(model(sliding_window_pattern=2))
    loaded = pretrained.load(saved(theirs, tmp_path))
    for cache in ("growing", "sliding"):
        decoders.writes_alike(theirs, loaded, cache=cache)


def test_the_part_below_the_head(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    twin(
        model(transformers.Gemma3TextModel, rms_norm_eps=1e-3),
        tmp_path,
        lambda out: out.last_hidden_state,
        inputs,
        mask,
    )


def test_keys_of_old_files_say_what_tables_of_new_ones_do():
    old = {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    near, far = {"rope_type": "default", "rope_theta": 1e4}, {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
    new = {"rope_parameters": {"sliding_attention": near, "full_attention": far}}
    sizes = {"model_type": "gemma3_text", **decoders.SIZES, "num_hidden_layers": 6}
    assert family_of(sizes | old).recipe == family_of(sizes | new).recipe
    assert family_of(sizes | old).recipe["core"]["pattern"] == ["sliding_attention"] * 5 + ["full_attention"]


def test_one_table_for_all_layers_is_refused():
    with pytest.raises(ValueError, match=r"rope_parameters=.*; accepted: a table for each of sliding_attention"):
        _ = family_of({"model_type": "gemma3_text", **SIZES, "rope_parameters": {"rope_type": "default"}}).recipe
