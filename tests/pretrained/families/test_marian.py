"""Marian beside the reference library."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from twins import agree, ragged_pair, saved, shaken, transformers, twin

from omniformer import pretrained


def model(kind=transformers.MarianMTModel, **others):
    sizes = {"vocab_size": 29, "d_model": 24, "max_position_embeddings": 12}
    encoder = {"encoder_layers": 2, "encoder_ffn_dim": 20, "encoder_attention_heads": 3}
    decoder = {"decoder_layers": 1, "decoder_ffn_dim": 28, "decoder_attention_heads": 2}
    ids = {"pad_token_id": 28, "decoder_start_token_id": 28, "eos_token_id": 0, "forced_eos_token_id": 0}
    theirs = kind(transformers.MarianConfig(**(sizes | encoder | decoder | ids | {"dropout": 0.0} | others)))
    if hasattr(theirs, "final_logits_bias"):
        theirs.final_logits_bias.copy_(torch.linspace(-1, 1, theirs.final_logits_bias.shape[1])[None])
    return theirs


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"encoder_layers": 1, "decoder_layers": 3, "activation_function": "swish", "d_model": 30},
        {"scale_embedding": True, "activation_function": "relu"},
        {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 34},
        {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 34, "tie_word_embeddings": False},
    ],
    ids=["plain", "more decoder", "scaled", "two vocabularies", "two vocabularies, untied"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    # The reference takes no gradient from the id of padding, 28.
    inputs, mask = ragged_pair(28)
    loaded = twin(model(**others), tmp_path, lambda out: out.logits, inputs, mask)
    assert loaded.report.unexpected == ()


def test_the_part_below_the_head(tmp_path):
    inputs, mask = ragged_pair(28)
    twin(model(transformers.MarianModel), tmp_path, lambda out: out.last_hidden_state, inputs, mask)


def test_old_files_hold_the_waves_and_repeat_the_table(tmp_path):
    theirs = shaken(model())
    path = saved(theirs, tmp_path) / "model.safetensors"
    positions = {f"model.{side}.embed_positions.weight": torch.zeros(12, 24) for side in ("encoder", "decoder")}
    tables = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
    old = positions | {name: theirs.model.shared.weight.detach().clone() for name in tables}
    save_file(load_file(path) | old, path, metadata={"format": "pt"})
    loaded = pretrained.load(tmp_path)
    assert loaded.report.unexpected == () and set(loaded.report.ignored) == set(old)
    inputs, mask = ragged_pair(29)
    agree(pretrained.as_reference(loaded)(**inputs).logits, theirs(**inputs).logits, mask)


@pytest.mark.parametrize(("key", "refused"), [("normalize_embedding", True), ("static_position_embeddings", False)])
def test_what_its_relatives_do_otherwise_is_refused_by_name(key, refused):
    with pytest.raises(ValueError, match=f"{key}={refused}; accepted: {not refused}"):
        pretrained.family_of({"model_type": "marian", key: refused}).recipe  # noqa: B018
