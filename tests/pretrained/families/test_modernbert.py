"""ModernBERT beside the reference library."""

import pytest
from twins import ragged_ids, transformers, twin

from omniformer.pretrained import family_of

SIZES = {
    "vocab_size": 29,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "local_attention": 4,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "cls_token_id": None,
    "sep_token_id": None,
}


def model(kind=transformers.ModernBertForMaskedLM, **others):
    return kind(transformers.ModernBertConfig(**(SIZES | others), attn_implementation="eager"))


def logits(out):
    return out.logits


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {
            "norm_bias": True,
            "classifier_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "decoder_bias": False,
            "tie_word_embeddings": False,
        },
        {"global_rope_theta": 50.0, "local_rope_theta": 7.0, "global_attn_every_n_layers": 2, "norm_eps": 1e-3},
    ],
    ids=["plain", "offsets", "old keys"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    ids, mask = ragged_ids(29)
    twin(model(**others), tmp_path, logits, {"input_ids": ids, "attention_mask": mask}, mask)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_classifier(pooling, tmp_path):
    ids, mask = ragged_ids(29)
    theirs = model(transformers.ModernBertForSequenceClassification, num_labels=3, classifier_pooling=pooling)
    twin(theirs, tmp_path, logits, {"input_ids": ids, "attention_mask": mask})


@pytest.mark.quick("offsets")
@pytest.mark.parametrize("others", [{}, {"norm_bias": True, "classifier_bias": True}], ids=["plain", "offsets"])
def test_classes_of_words(others, tmp_path):
    ids, mask = ragged_ids(29)
    theirs = model(transformers.ModernBertForTokenClassification, num_labels=3, **others)
    loaded = twin(theirs, tmp_path, logits, {"input_ids": ids, "attention_mask": mask}, mask)
    assert loaded.members["token_classification"].labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.quick("end_logits")
@pytest.mark.parametrize("end", ["start_logits", "end_logits"])
def test_answers_that_stand_in_a_text(end, tmp_path):
    ids, mask = ragged_ids(29)
    theirs = model(transformers.ModernBertForQuestionAnswering, num_labels=2)
    twin(theirs, tmp_path, lambda out: getattr(out, end), {"input_ids": ids, "attention_mask": mask}, mask)


def test_the_part_below_the_heads(tmp_path):
    ids, mask = ragged_ids(29)
    inputs = {"input_ids": ids, "attention_mask": mask}
    twin(model(transformers.ModernBertModel), tmp_path, lambda out: out.last_hidden_state, inputs, mask)


@pytest.mark.parametrize("others", [{"attention_dropout": 0.1}, {"norm_bias": True}, {"classifier_pooling": "max"}])
def test_what_the_core_does_not_have_is_refused(others):
    kind = {"model_type": "modernbert", "architectures": ["ModernBertForSequenceClassification"]}
    with pytest.raises(ValueError, match="config.json has .*; accepted: "):
        _ = family_of(kind | SIZES | others).recipe
