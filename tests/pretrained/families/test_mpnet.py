"""MPNet beside the reference library."""

import pytest
from encoders import both_ends, missing_in_the_reference, padded_texts
from twins import transformers, twin

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 29}


def model(kind=transformers.MPNetForMaskedLM, **others):
    return kind(transformers.MPNetConfig(**(SIZES | {"max_position_embeddings": 18} | others)))


def logits(output):
    return output.logits


@pytest.mark.parametrize(
    "others",
    [{}, {"hidden_act": "relu", "layer_norm_eps": 1e-5, "tie_word_embeddings": False}],
    ids=["plain", "untied"],
)
def test_hidden_words(others, tmp_path):
    given = padded_texts(segments=0, padding=1)
    twin(model(**others), tmp_path, logits, given, given["attention_mask"])


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "pick", "of_tokens", "others"),
    [
        (transformers.MPNetModel, lambda out: out.last_hidden_state, True, {}),
        (transformers.MPNetModel, lambda out: out.pooler_output, False, {}),
        (transformers.MPNetForSequenceClassification, logits, False, {"num_labels": 3}),
        (transformers.MPNetForTokenClassification, logits, True, {"num_labels": 5}),
        (transformers.MPNetForQuestionAnswering, both_ends, True, {}),
    ],
)
def test_every_kind_of_head(kind, pick, of_tokens, others, tmp_path):
    given = padded_texts(segments=0, padding=1)
    twin(model(kind, **others), tmp_path, pick, given, given["attention_mask"] if of_tokens else None)
    assert not missing_in_the_reference(kind, tmp_path / "ours")
