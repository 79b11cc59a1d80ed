"""ALBERT beside the reference library."""

import pytest
from encoders import both_ends, missing_in_the_reference, padded_texts
from twins import transformers, twin

SIZES = {"hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 29}


def model(kind=transformers.AlbertForMaskedLM, **others):
    return kind(transformers.AlbertConfig(**(SIZES | {"embedding_size": 16, "max_position_embeddings": 18} | others)))


def logits(output):
    return output.logits


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [{}, {"num_hidden_groups": 2, "num_hidden_layers": 5, "hidden_act": "relu"}, {"embedding_size": 24}],
    ids=["one layer four times", "two groups", "wide table"],
)
def test_hidden_words(others, tmp_path):
    given = padded_texts(segments=2, padding=0)
    twin(model(**others), tmp_path, logits, given, given["attention_mask"])


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("kind", "pick", "of_tokens", "others"),
    [
        (transformers.AlbertModel, lambda out: out.last_hidden_state, True, {}),
        (transformers.AlbertModel, lambda out: out.pooler_output, False, {}),
        (transformers.AlbertForSequenceClassification, logits, False, {"num_labels": 3}),
        (transformers.AlbertForTokenClassification, logits, True, {"num_labels": 5}),
        (transformers.AlbertForQuestionAnswering, both_ends, True, {}),
    ],
)
def test_every_kind_of_head(kind, pick, of_tokens, others, tmp_path):
    given = padded_texts(segments=2, padding=0)
    twin(model(kind, **others), tmp_path, pick, given, given["attention_mask"] if of_tokens else None)
    assert not missing_in_the_reference(kind, tmp_path / "ours")


def test_layers_are_counted_once_and_come_back_in_our_own_format(tmp_path):
    import torch
    from twins import saved, shaken

    import omniformer
    from omniformer import pretrained

    theirs = shaken(model(num_hidden_groups=2))
    loaded = pretrained.load(saved(theirs, tmp_path / "theirs"))
    assert sum(each.numel() for each in loaded.model.parameters()) == sum(each.numel() for each in theirs.parameters())
    omniformer.save(tmp_path / "ours", loaded, recipe=loaded.recipe)
    again = omniformer.load(tmp_path / "ours")
    given = padded_texts()
    outputs = [pretrained.as_reference(loaded)(**given).logits]
    outputs.append(loaded.family.reference(again.model)(**given).logits)
    assert torch.equal(*outputs)


def test_what_the_core_cannot_express_is_refused_by_name():
    from omniformer.pretrained import family_of

    with pytest.raises(ValueError, match="inner_group_num=2; accepted: 1"):
        _ = family_of({"model_type": "albert", "inner_group_num": 2}).recipe
