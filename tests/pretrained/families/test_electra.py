"""ELECTRA beside the reference library."""

import pytest
from encoders import both_ends, missing_in_the_reference, padded_texts
from twins import transformers, twin

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 29}


def model(kind=transformers.ElectraForMaskedLM, **others):
    return kind(transformers.ElectraConfig(**(SIZES | {"embedding_size": 16, "max_position_embeddings": 18} | others)))


def logits(output):
    return output.logits


@pytest.mark.parametrize(
    "others",
    [{}, {"embedding_size": 24, "hidden_act": "relu"}],
    ids=["narrow table", "table as wide as the layers"],
)
def test_hidden_words(others, tmp_path):
    given = padded_texts(segments=2, padding=0)
    twin(model(**others), tmp_path, logits, given, given["attention_mask"])


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "pick", "of_tokens", "others"),
    [
        (transformers.ElectraModel, lambda out: out.last_hidden_state, True, {}),
        (transformers.ElectraForSequenceClassification, logits, False, {"num_labels": 3}),
        (transformers.ElectraForTokenClassification, logits, True, {"num_labels": 5}),
        (transformers.ElectraForQuestionAnswering, both_ends, True, {}),
        (transformers.ElectraForPreTraining, logits, True, {}),
    ],
)
def test_every_kind_of_head(kind, pick, of_tokens, others, tmp_path):
    given = padded_texts(segments=2, padding=0)
    twin(model(kind, **others), tmp_path, pick, given, given["attention_mask"] if of_tokens else None)
    assert not missing_in_the_reference(kind, tmp_path / "ours")


def test_the_discriminator_names_what_was_replaced(tmp_path):
    import torch
    from twins import saved, shaken

    from omniformer import pretrained

    theirs = shaken(model(transformers.ElectraForPreTraining))
    loaded = pretrained.load(saved(theirs, tmp_path))
    head = loaded.model.head("replaced")
    assert loaded.members["replaced"].labels == ("original", "replaced")
    outputs = torch.tensor([[0.3], [-2.0]])
    expected = torch.stack([1 - outputs[:, 0].sigmoid(), outputs[:, 0].sigmoid()], dim=1)
    torch.testing.assert_close(head.predict(outputs), expected)
