"""DeBERTa v2 and v3 beside the reference library."""

import json

import pytest
import torch
from encoders import both_ends, missing_in_the_reference, padded_texts
from twins import agree, saved, shaken, transformers, twin

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 29}
V3 = {"relative_attention": True, "position_buckets": 4, "norm_rel_ebd": "layer_norm", "share_att_key": True}
V3 |= {"pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "max_position_embeddings": 18}


def model(kind=transformers.DebertaV2ForMaskedLM, **others):
    return kind(transformers.DebertaV2Config(**(SIZES | V3 | others)))


def logits(output):
    return output.logits


@pytest.mark.quick("v3", "conv and own maps")
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"legacy": False},
        {"conv_kernel_size": 3, "conv_act": "gelu", "conv_groups": 2, "share_att_key": False, "type_vocab_size": 2},
        {"share_att_key": False, "pos_att_type": "p2c", "position_buckets": -1, "max_relative_positions": 5},
        {"pos_att_type": ["c2p"], "norm_rel_ebd": "none", "position_biased_input": True, "hidden_act": "relu"},
    ],
    ids=["v3", "newer head", "conv and own maps", "no buckets", "places beside distances"],
)
def test_hidden_words(others, tmp_path):
    given = padded_texts(segments=others.get("type_vocab_size", 0), padding=0)
    twin(model(**others), tmp_path, logits, given, given["attention_mask"])


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "pick", "of_tokens", "others"),
    [
        (transformers.DebertaV2Model, lambda out: out.last_hidden_state, True, {}),
        (transformers.DebertaV2ForSequenceClassification, logits, False, {"num_labels": 3}),
        (
            transformers.DebertaV2ForSequenceClassification,
            logits,
            False,
            {"num_labels": 1, "pooler_hidden_act": "relu"},
        ),
        (transformers.DebertaV2ForTokenClassification, logits, True, {"num_labels": 5}),
        (transformers.DebertaV2ForQuestionAnswering, both_ends, True, {}),
    ],
)
def test_every_kind_of_head(kind, pick, of_tokens, others, tmp_path):
    given = padded_texts(segments=0, padding=0)
    twin(model(kind, **others), tmp_path, pick, given, given["attention_mask"] if of_tokens else None)
    assert not missing_in_the_reference(kind, tmp_path / "ours")


def test_published_files_are_silent_of_the_newer_head(tmp_path):
    theirs = shaken(model(legacy=False))
    config = json.loads((saved(theirs, tmp_path) / "config.json").read_text())
    del config["legacy"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    given = padded_texts(segments=0, padding=0)
    ours = pretrained.load(tmp_path)
    with torch.no_grad():
        agree(pretrained.as_reference(ours)(**given).logits, theirs(**given).logits, given["attention_mask"])
    ours.save_pretrained(tmp_path / "ours")
    assert type(theirs).from_pretrained(tmp_path / "ours").config.legacy is False


def test_long_texts_share_the_vectors_of_far_distances(tmp_path):
    theirs = shaken(model(transformers.DebertaV2Model, max_position_embeddings=9, position_buckets=6))
    ours = pretrained.load(saved(theirs, tmp_path))
    assert ours.family.max_seq_len is None
    ids = torch.arange(80)[None] % 28 + 1
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        torch.testing.assert_close(pretrained.as_reference(ours)(input_ids=ids).last_hidden_state, expected)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"relative_attention": False}, "relative_attention=False; accepted: True"),
        ({"pos_att_type": ["p2p"]}, r"pos_att_type=\['p2p'\]; accepted: one or both of c2p, p2c"),
        ({"embedding_size": 12}, "embedding_size=12; accepted: hidden_size"),
    ],
)
def test_what_the_core_cannot_express_is_refused(others, message):
    config = {"model_type": "deberta-v2"} | SIZES | V3 | others
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of(config).recipe
