"""BART beside the reference library."""

import pytest
import torch
from twins import agree, ragged_pair, saved, shaken, transformers, twin

from omniformer import pretrained


def model(kind=transformers.BartForConditionalGeneration, **others):
    sizes = {"vocab_size": 29, "d_model": 24, "max_position_embeddings": 12}
    encoder = {"encoder_layers": 2, "encoder_ffn_dim": 20, "encoder_attention_heads": 3}
    decoder = {"decoder_layers": 1, "decoder_ffn_dim": 28, "decoder_attention_heads": 2}
    theirs = kind(transformers.BartConfig(**(sizes | encoder | decoder | {"dropout": 0.0} | others)))
    if hasattr(theirs, "final_logits_bias"):
        theirs.final_logits_bias.copy_(torch.linspace(-1, 1, 29)[None])
    return theirs


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"encoder_layers": 1, "decoder_layers": 3, "activation_function": "relu"},
        {"scale_embedding": True, "activation_function": "gelu_new"},
        {"tie_word_embeddings": False},
    ],
    ids=["plain", "more decoder", "scaled", "untied"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    inputs, mask = ragged_pair(29, least=2)  # the reference takes no gradient from the id of padding
    loaded = twin(model(**others), tmp_path, lambda out: out.logits, inputs, mask)
    assert loaded.report.unexpected == ()


def test_the_part_below_the_head_has_no_offsets_of_ids(tmp_path):
    inputs, mask = ragged_pair(29, least=2)
    theirs = model(transformers.BartModel)
    loaded = twin(theirs, tmp_path, lambda out: out.last_hidden_state, inputs, mask)
    assert not loaded.model.heads["seq2seq"].kept_bias.any()


def test_what_the_encoder_says(tmp_path):
    inputs, _ = ragged_pair(29)
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))(**inputs)
    agree(ours.encoder_last_hidden_state, theirs(**inputs).encoder_last_hidden_state, inputs["attention_mask"])


@pytest.mark.parametrize("key", ["normalize_before", "add_final_layer_norm", "static_position_embeddings"])
def test_what_its_relatives_do_otherwise_is_refused_by_name(key):
    with pytest.raises(ValueError, match=f"{key}=True; accepted: False"):
        pretrained.family_of({"model_type": "bart", key: True}).recipe  # noqa: B018


def test_the_part_below_the_head_has_no_output_of_its_own():
    untied = {"model_type": "bart", "architectures": ["BartModel"], "tie_word_embeddings": False}
    with pytest.raises(ValueError, match="tie_word_embeddings=False; accepted: True"):
        pretrained.family_of(untied).recipe  # noqa: B018


def test_layers_that_are_skipped_at_random_are_refused():
    with pytest.raises(ValueError, match=r"encoder_layerdrop=0\.1; accepted: 0\.0"):
        pretrained.family_of({"model_type": "bart", "encoder_layerdrop": 0.1}).recipe  # noqa: B018
