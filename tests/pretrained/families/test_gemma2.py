"""Gemma 2 beside the reference library."""

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


def model(kind=transformers.Gemma2ForCausalLM, **others):
    # The reference's fused attention leaves the soft cap out.
    return kind(transformers.Gemma2Config(**(SIZES | others), attn_implementation="eager"))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"attn_logit_softcapping": 0.5, "final_logit_softcapping": 2.0, "rms_norm_eps": 1e-3},
        {
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
            "attention_bias": True,
        },
        {"layer_types": ["full_attention"] * 3, "tie_word_embeddings": False, "hidden_activation": "silu"},
    ],
    ids=["plain", "tight caps", "no caps", "no windows"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29)
    twin(model(**others), tmp_path, lambda out: out.logits, {"input_ids": ids, "attention_mask": mask}, mask)


def test_what_it_writes(tmp_path):
    theirs = shaken(model())
    decoders.writes_alike(theirs, pretrained.load(saved(theirs, tmp_path)))


def test_the_part_below_the_head(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    twin(model(transformers.Gemma2Model, rms_norm_eps=1e-3), tmp_path, lambda out: out.last_hidden_state, inputs, mask)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"layer_types": ["sliding_attention", "chunked_attention", "full_attention"]}, "with 'chunked_attention'"),
        ({"layer_types": ["full_attention"]}, "has 1 layer_types and num_hidden_layers=3"),
        ({"sliding_window": None}, "layers of sliding_attention and no sliding_window"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention=True; accepted: None, False"),
    ],
)
def test_what_the_core_does_not_compute_is_refused(others, message):
    with pytest.raises(ValueError, match=message):
        _ = family_of({"model_type": "gemma2", **SIZES, **others}).recipe
