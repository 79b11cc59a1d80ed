"""BERT beside the reference library."""

import json
import re

import pytest
import torch
from encoders import both_ends, missing_in_the_reference, padded_texts
from safetensors.torch import load_file, save_file
from twins import agree, saved, shaken, transformers, twin

from omniformer import pretrained
from omniformer.inspection.cost import parameters
from omniformer.recipe import build_model

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 29}


def model(kind=transformers.BertForMaskedLM, **others):
    return kind(transformers.BertConfig(**(SIZES | {"max_position_embeddings": 16} | others)))


def logits(output):
    return output.logits


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"num_hidden_layers": 1, "hidden_act": "relu", "layer_norm_eps": 1e-5},
        {"num_hidden_layers": 3, "num_attention_heads": 1, "hidden_act": "gelu_new"},
        {"type_vocab_size": 3, "num_attention_heads": 4},
        {"type_vocab_size": 1},
        {"tie_word_embeddings": False},
    ],
    ids=["plain", "one layer", "three layers", "three segments", "one segment", "untied"],
)
def test_hidden_words(others, tmp_path):
    given = padded_texts(segments=others.get("type_vocab_size", 2))
    twin(model(**others), tmp_path, logits, given, given["attention_mask"])


@pytest.mark.quick(3)
@pytest.mark.parametrize(
    ("kind", "pick", "of_tokens", "others"),
    [
        (transformers.BertModel, lambda out: out.last_hidden_state, True, {}),
        (transformers.BertModel, lambda out: out.pooler_output, False, {"layer_norm_eps": 1e-3}),
        (transformers.BertForPreTraining, lambda out: out.prediction_logits, True, {}),
        (transformers.BertForPreTraining, lambda out: out.seq_relationship_logits, False, {}),
        (transformers.BertForNextSentencePrediction, logits, False, {}),
        (transformers.BertForSequenceClassification, logits, False, {"num_labels": 3}),
        (transformers.BertForSequenceClassification, logits, False, {"num_labels": 1, "problem_type": "regression"}),
        (
            transformers.BertForSequenceClassification,
            logits,
            False,
            {"num_labels": 4, "problem_type": "multi_label_classification", "classifier_dropout": 0.3},
        ),
        (transformers.BertForTokenClassification, logits, True, {"num_labels": 5}),
        (transformers.BertForQuestionAnswering, both_ends, True, {}),
    ],
)
def test_every_kind_of_head(kind, pick, of_tokens, others, tmp_path):
    given = padded_texts()
    twin(model(kind, **others), tmp_path, pick, given, given["attention_mask"] if of_tokens else None)
    assert not missing_in_the_reference(kind, tmp_path / "ours")


def test_positions_count_places_also_those_of_padding(tmp_path):
    given = padded_texts(side="left")
    twin(model(), tmp_path, logits, given, given["attention_mask"])


def test_segments_are_all_the_first_where_none_are_given(tmp_path):
    given = padded_texts(segments=0)
    twin(model(), tmp_path, logits, given, given["attention_mask"])


def test_the_two_names_of_an_untied_outputs_offset(tmp_path):
    theirs = shaken(model(tie_word_embeddings=False))
    loaded = pretrained.load(saved(theirs, tmp_path / "theirs"))
    assert torch.equal(loaded.model.heads["masked_lm"].ids.bias, theirs.cls.predictions.decoder.bias)
    loaded.save_pretrained(tmp_path / "ours")
    # The one that is missing is read by nobody.
    assert missing_in_the_reference(type(theirs), tmp_path / "ours") <= {"cls.predictions.bias"}


def rewritten(folder, change):
    """The weights of a folder under other names."""
    path = folder / "model.safetensors"
    tensors = {change(name): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_files_with_the_first_names_of_norms_are_read(tmp_path):
    theirs = shaken(model())
    folder = saved(theirs, tmp_path / "theirs")
    rewritten(folder, lambda name: re.sub(r"LayerNorm\.(weight|bias)$", old_name, name))
    given = padded_texts()
    loaded = pretrained.load(folder)
    assert loaded.report is not None and not loaded.report.unexpected
    agree(pretrained.as_reference(loaded)(**given).logits, theirs(**given).logits, given["attention_mask"])


def old_name(match):
    return "LayerNorm.gamma" if match.group(1) == "weight" else "LayerNorm.beta"


def test_files_of_the_part_below_the_head_may_say_so_or_not(tmp_path):
    theirs = shaken(model(transformers.BertModel))
    folder = saved(theirs, tmp_path)
    short = pretrained.load(folder)
    long = pretrained.load(rewritten(folder, lambda name: f"bert.{name}"))
    given = padded_texts()
    outputs = [pretrained.as_reference(each)(**given).pooler_output for each in (short, long)]
    assert torch.equal(*outputs)


def test_heads_beside_the_named_one_are_reported(tmp_path):
    folder = saved(model(transformers.BertForPreTraining), tmp_path / "theirs")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    report = pretrained.load(folder).report
    assert report is not None
    assert set(report.unexpected) == {
        f"{name}.{kind}" for name in ("bert.pooler.dense", "cls.seq_relationship") for kind in ("weight", "bias")
    }


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("name", "others", "count"),
    [
        ("BertModel", {}, 109_482_240),
        ("BertModel", {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}, 335_141_888),
        ("RobertaModel", {"max_position_embeddings": 514, "type_vocab_size": 1}, 124_645_632),
        ("DistilBertModel", {}, 66_362_880),
    ],
)
def test_published_sizes_count_as_in_the_reference(name, others, count):
    others = others | ({"intermediate_size": 4096} if others.get("hidden_size") == 1024 else {})
    kind = getattr(transformers, name)
    with torch.device("meta"):
        theirs = kind(kind.config_class(**others))
        family = pretrained.family_of({"model_type": kind.config_class.model_type, "architectures": [name]} | others)
        ours = build_model(family.recipe)
    assert parameters(theirs) == parameters(ours) == count


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("BertForSequenceClassification", ("LABEL_0", "LABEL_1")),
        ("BertForNextSentencePrediction", ("next", "not next")),
        ("BertForMaskedLM", ()),
        ("BertForQuestionAnswering", ()),
    ],
)
def test_labels(kind, labels):
    assert pretrained.family_of({"model_type": "bert", "architectures": [kind]}).labels == labels


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'; accepted: 'absolute'"),
        ({"is_decoder": True}, "is_decoder=True; accepted: False"),
        ({"add_cross_attention": True}, "add_cross_attention=True; accepted: False"),
        ({"chunk_size_feed_forward": 8}, "chunk_size_feed_forward=8; accepted: 0"),
        ({"architectures": ["BertForMultipleChoice"]}, "BertForMultipleChoice.*this reads BertModel, BertForMaskedLM"),
    ],
)
def test_what_the_core_does_not_have_is_refused(others, message):
    with pytest.raises(ValueError, match=message):
        pretrained.family_of({"model_type": "bert"} | others)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            {"architectures": ["BertForQuestionAnswering"], "id2label": {"0": "a", "1": "b", "2": "c"}},
            "3 labels; BertForQuestionAnswering has 2",
        ),
        (
            {"architectures": ["BertForSequenceClassification"], "problem_type": "ranking"},
            "problem_type='ranking'; accepted: None, 'single_label_classification'",
        ),
    ],
)
def test_labels_that_fit_no_head_are_refused(others, message):
    with pytest.raises(ValueError, match=message):
        _ = pretrained.family_of({"model_type": "bert"} | others).recipe
