"""T5 beside the reference library."""

import json

import pytest
import torch
from decoders import answers_alike
from safetensors.torch import load_file, save_file
from twins import agree, ragged_ids, ragged_pair, saved, shaken, transformers, twin

from omniformer import pretrained


def model(kind=transformers.T5ForConditionalGeneration, own_output=False, **others):
    sizes = {"vocab_size": 29, "d_model": 24, "d_kv": 5, "d_ff": 20, "num_layers": 2, "num_heads": 3}
    theirs = kind(transformers.T5Config(**(sizes | {"dropout_rate": 0.0, "decoder_start_token_id": 0} | others)))
    if own_output:
        # As in the published files of version 1.1; the reference's constructor ties it.
        theirs.lm_head.weight = torch.nn.Parameter(torch.zeros(29, 24))
    return theirs


def logits(out):
    return out.logits


def edited(folder, config=None, **tensors):
    """A saved folder with keys of its configuration and tensors laid over it."""
    path = folder / "model.safetensors"
    save_file(load_file(path) | tensors, path, metadata={"format": "pt"})
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config(content) if config else content))
    return folder


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"num_layers": 1, "num_decoder_layers": 3, "layer_norm_epsilon": 1e-3},
        {"num_layers": 3, "num_decoder_layers": 1, "feed_forward_proj": "silu", "d_kv": 8},
        {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 6},
        {"feed_forward_proj": "gated-gelu"},
        {"feed_forward_proj": "gated-silu", "tie_word_embeddings": False, "own_output": True},
        {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "own_output": True, "num_decoder_layers": 1},
    ],
    ids=["plain", "more decoder", "more encoder", "few buckets", "gated", "own output", "version 1.1"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    inputs, mask = ragged_pair(29)
    loaded = twin(model(**others), tmp_path, logits, inputs, mask)
    assert loaded.report.unexpected == ()


def test_the_encoder_reads_texts_padded_on_either_side(tmp_path):
    inputs, _ = ragged_pair(29, side="left")
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))(**inputs)
    expected = theirs(**inputs)
    agree(ours.encoder_last_hidden_state, expected.encoder_last_hidden_state, inputs["attention_mask"])
    agree(ours.logits, expected.logits, inputs["decoder_attention_mask"])


def test_the_encoder_alone(tmp_path):
    ids, mask = ragged_ids(29)
    theirs = model(transformers.T5EncoderModel)
    twin(theirs, tmp_path, lambda out: out.last_hidden_state, {"input_ids": ids, "attention_mask": mask}, mask)


def test_old_files_repeat_the_table_and_hold_one_that_nobody_reads(tmp_path):
    theirs = shaken(model())
    table = theirs.shared.weight.detach()
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    repeated = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    old = {name: table.clone() for name in repeated} | {unread: torch.randn(32, 3)}
    loaded = pretrained.load(edited(saved(theirs, tmp_path), **old))
    assert loaded.report.unexpected == () and set(loaded.report.ignored) == {*repeated, unread}
    inputs, mask = ragged_pair(29)
    agree(pretrained.as_reference(loaded)(**inputs).logits, theirs(**inputs).logits, mask)


def test_a_table_that_is_said_to_be_shared_and_is_not_is_refused(tmp_path):
    folder = edited(saved(model(), tmp_path), **{"lm_head.weight": torch.randn(29, 24)})
    with pytest.raises(ValueError, match=r"different numbers as shared.weight and as lm_head.weight.* config.json"):
        pretrained.load(folder)


def test_version_1_1_as_it_was_published_says_only_that_the_output_is_not_tied(tmp_path):
    def published(content):
        new = ("scale_decoder_outputs", "dense_act_fn", "is_gated_act", "num_decoder_layers")
        return {key: value for key, value in content.items() if key not in new} | {"tie_word_embeddings": False}

    theirs = shaken(model(feed_forward_proj="gated-gelu", tie_word_embeddings=False, own_output=True))
    loaded = pretrained.load(edited(saved(theirs, tmp_path / "theirs"), published))
    inputs, mask = ragged_pair(29)
    agree(pretrained.as_reference(loaded)(**inputs).logits, theirs(**inputs).logits, mask)
    loaded.save_pretrained(tmp_path / "ours")
    again = type(theirs).from_pretrained(tmp_path / "ours").eval()
    agree(again(**inputs).logits, theirs(**inputs).logits, mask, rtol=0, atol=0)


def test_an_output_table_that_the_file_lacks_begins_as_the_input_table(tmp_path):
    theirs = shaken(model(feed_forward_proj="gated-gelu", tie_word_embeddings=False))
    loaded = pretrained.load(saved(theirs, tmp_path))
    inputs, mask = ragged_pair(29)
    agree(pretrained.as_reference(loaded)(**inputs).logits, theirs(**inputs).logits, mask)
    assert loaded.model.heads["seq2seq"].ids.weight is not loaded.model.embedders["text"].table.weight


@pytest.mark.parametrize("written", ["gated", "swiglu", "gelu-gated", "gated-gated-gelu"])
def test_an_unknown_feedforward_is_refused_by_name(written):
    with pytest.raises(ValueError, match=f"feed_forward_proj='{written}'; accepted: relu, .*gated-"):
        pretrained.family_of({"model_type": "t5", "feed_forward_proj": written}).recipe  # noqa: B018


@pytest.mark.parametrize("kind", [transformers.MT5ForConditionalGeneration, transformers.MT5EncoderModel])
def test_mt5_is_version_1_1_under_another_name(kind, tmp_path):
    sizes = {"vocab_size": 29, "d_model": 24, "d_kv": 5, "d_ff": 20, "num_layers": 2, "num_heads": 3}
    theirs = kind(transformers.MT5Config(**sizes, dropout_rate=0.0, tie_word_embeddings=False))
    if kind is transformers.MT5EncoderModel:
        ids, mask = ragged_ids(29)
        twin(theirs, tmp_path, lambda out: out.last_hidden_state, {"input_ids": ids, "attention_mask": mask}, mask)
        return
    theirs.lm_head.weight = torch.nn.Parameter(torch.zeros(29, 24))
    inputs, mask = ragged_pair(29)
    loaded = twin(theirs, tmp_path, logits, inputs, mask)
    answers_alike(theirs, loaded, start=0)
