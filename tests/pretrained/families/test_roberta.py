"""RoBERTa and XLM-R beside the reference library."""

import pytest
from encoders import both_ends, missing_in_the_reference, padded_texts
from twins import saved, transformers, twin

from omniformer import pretrained

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 29}


def model(kind=transformers.RobertaForMaskedLM, **others):
    return kind(transformers.RobertaConfig(**(SIZES | {"max_position_embeddings": 18, "type_vocab_size": 1} | others)))


def logits(output):
    return output.logits


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {"num_hidden_layers": 1},
        {"hidden_act": "relu", "layer_norm_eps": 1e-5},
        {"num_hidden_layers": 3, "type_vocab_size": 2},
        {"pad_token_id": 3},
        {"tie_word_embeddings": False},
    ],
    ids=["one layer", "relu below the head", "two segments", "another padding", "untied"],
)
def test_hidden_words(others, tmp_path):
    given = padded_texts(segments=others.get("type_vocab_size", 1), padding=others.get("pad_token_id", 1))
    twin(model(**others), tmp_path, logits, given, given["attention_mask"])


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "pick", "of_tokens", "others"),
    [
        (transformers.RobertaModel, lambda out: out.last_hidden_state, True, {}),
        (transformers.RobertaModel, lambda out: out.pooler_output, False, {}),
        (transformers.RobertaForSequenceClassification, logits, False, {"num_labels": 3}),
        (transformers.RobertaForSequenceClassification, logits, False, {"num_labels": 1}),
        (transformers.RobertaForTokenClassification, logits, True, {"num_labels": 5}),
        (transformers.RobertaForQuestionAnswering, both_ends, True, {}),
    ],
)
def test_every_kind_of_head(kind, pick, of_tokens, others, tmp_path):
    given = padded_texts(segments=1, padding=1)
    twin(model(kind, **others), tmp_path, pick, given, given["attention_mask"] if of_tokens else None)
    assert not missing_in_the_reference(kind, tmp_path / "ours")


def test_xlm_roberta_is_the_same_under_another_name(tmp_path):
    config = transformers.XLMRobertaConfig(**SIZES, max_position_embeddings=18, type_vocab_size=1)
    given = padded_texts(segments=1, padding=1)
    twin(transformers.XLMRobertaForMaskedLM(config), tmp_path, logits, given, given["attention_mask"])


def test_camembert_is_the_same_under_another_name(tmp_path):
    config = transformers.CamembertConfig(**SIZES, max_position_embeddings=18, type_vocab_size=1)
    given = padded_texts(segments=1, padding=1)
    twin(transformers.CamembertForMaskedLM(config), tmp_path, logits, given, given["attention_mask"])


def test_positions_count_tokens_and_not_padding(tmp_path):
    given = padded_texts(segments=1, padding=1, side="left")
    twin(model(), tmp_path, logits, given, given["attention_mask"])


def test_padding_that_the_mask_takes_for_tokens_is_refused(tmp_path):
    given = padded_texts(segments=1, padding=1)
    reference = pretrained.as_reference(pretrained.load(saved(model(), tmp_path)))
    with pytest.raises(ValueError, match="input_ids hold 1, which is padding.*give an attention_mask"):
        reference(input_ids=given["input_ids"])


def test_the_longest_text_leaves_out_the_rows_of_padding():
    family = pretrained.family_of({"model_type": "roberta", "max_position_embeddings": 514})
    assert family.max_seq_len == 512


def test_a_missing_id_of_padding_is_refused():
    with pytest.raises(ValueError, match="pad_token_id=None; positions begin behind it"):
        _ = pretrained.family_of({"model_type": "roberta", "pad_token_id": None}).recipe
