"""DistilBERT beside the reference library."""

import pytest
from encoders import both_ends, missing_in_the_reference, padded_texts
from twins import transformers, twin

SIZES = {"dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40, "vocab_size": 29, "max_position_embeddings": 16}


def model(kind=transformers.DistilBertForMaskedLM, **others):
    return kind(transformers.DistilBertConfig(**(SIZES | others)))


def logits(output):
    return output.logits


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "pick", "of_tokens", "others"),
    [
        (transformers.DistilBertForMaskedLM, logits, True, {"activation": "relu", "n_layers": 1}),
        (transformers.DistilBertForMaskedLM, logits, True, {"tie_word_embeddings": False, "n_heads": 4}),
        (transformers.DistilBertForMaskedLM, logits, True, {"sinusoidal_pos_embds": True, "n_layers": 3}),
        (transformers.DistilBertModel, lambda out: out.last_hidden_state, True, {}),
        (transformers.DistilBertForSequenceClassification, logits, False, {"num_labels": 3}),
        (transformers.DistilBertForSequenceClassification, logits, False, {"num_labels": 1}),
        (transformers.DistilBertForTokenClassification, logits, True, {"num_labels": 5}),
        (transformers.DistilBertForQuestionAnswering, both_ends, True, {}),
    ],
)
def test_every_kind_of_head(kind, pick, of_tokens, others, tmp_path):
    given = padded_texts(segments=0)
    twin(model(kind, **others), tmp_path, pick, given, given["attention_mask"] if of_tokens else None)
    assert not missing_in_the_reference(kind, tmp_path / "ours")
