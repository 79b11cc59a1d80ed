"""BART beside the reference library."""

import pytest
import torch
import vocabularies
from twins import agree, ragged_ids, ragged_pair, saved, shaken, transformers, twin

from omniformer import load, pretrained, save


def model(kind=transformers.BartForConditionalGeneration, **others):
    sizes = {"vocab_size": 29, "d_model": 24, "max_position_embeddings": 12}
    encoder = {"encoder_layers": 2, "encoder_ffn_dim": 20, "encoder_attention_heads": 3}
    decoder = {"decoder_layers": 1, "decoder_ffn_dim": 28, "decoder_attention_heads": 2}
    theirs = kind(transformers.BartConfig(**(sizes | encoder | decoder | {"dropout": 0.0} | others)))
    if hasattr(theirs, "final_logits_bias"):
        theirs.final_logits_bias.copy_(torch.linspace(-1, 1, 29)[None])
    return theirs


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "others",
    [
        {},
        {"encoder_layers": 1, "decoder_layers": 3, "activation_function": "relu"},
        {"scale_embedding": True, "activation_function": "gelu_new"},
        {"tie_word_embeddings": False},
    ],
    ids=["plain", "more decoder", "scaled", "untied"],
)
def test_logits_gradients_and_the_way_back(others, tmp_path):
    inputs, mask = ragged_pair(29, least=2)  # the reference takes no gradient from the id of padding
    loaded = twin(model(**others), tmp_path, lambda out: out.logits, inputs, mask)
    assert loaded.report.unexpected == ()


def test_the_part_below_the_head_has_no_offsets_of_ids(tmp_path):
    inputs, mask = ragged_pair(29, least=2)
    theirs = model(transformers.BartModel)
    loaded = twin(theirs, tmp_path, lambda out: out.last_hidden_state, inputs, mask)
    assert not loaded.model.heads["seq2seq"].kept_bias.any()


def test_what_the_encoder_says(tmp_path):
    inputs, _ = ragged_pair(29)
    theirs = shaken(model())
    ours = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path)))(**inputs)
    agree(ours.encoder_last_hidden_state, theirs(**inputs).encoder_last_hidden_state, inputs["attention_mask"])


@pytest.mark.parametrize("key", ["normalize_before", "add_final_layer_norm", "static_position_embeddings"])
def test_what_its_relatives_do_otherwise_is_refused_by_name(key):
    with pytest.raises(ValueError, match=f"{key}=True; accepted: False"):
        pretrained.family_of({"model_type": "bart", key: True}).recipe  # noqa: B018


def test_the_part_below_the_head_has_no_output_of_its_own():
    untied = {"model_type": "bart", "architectures": ["BartModel"], "tie_word_embeddings": False}
    with pytest.raises(ValueError, match="tie_word_embeddings=False; accepted: True"):
        pretrained.family_of(untied).recipe  # noqa: B018


def test_layers_that_are_skipped_at_random_are_refused():
    with pytest.raises(ValueError, match=r"encoder_layerdrop=0\.1; accepted: 0\.0"):
        pretrained.family_of({"model_type": "bart", "encoder_layerdrop": 0.1}).recipe  # noqa: B018


def closed(vocab_size=29, lengths=(7, 2, 12)):
    """Ids of texts that end with the id that closes them, which stands nowhere else."""
    ids, mask = ragged_ids(vocab_size, lengths=lengths, least=3)
    ids[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = 2
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.quick("three classes", "one number")
@pytest.mark.parametrize(
    "others",
    [{}, {"num_labels": 1}, {"num_labels": 4, "encoder_layers": 1, "scale_embedding": True}],
    ids=["three classes", "one number", "four classes"],
)
def test_a_classifier_reads_a_text_with_both_halves(others, tmp_path):
    theirs = model(transformers.BartForSequenceClassification, **others)
    loaded = twin(theirs, tmp_path, lambda out: out.logits, closed())
    assert loaded.report.unexpected == ()
    n = others.get("num_labels", 3)
    assert loaded.members["classification"].labels == tuple(f"LABEL_{i}" for i in range(n) if n > 1)


def test_the_loss_of_a_classifier_is_the_references(tmp_path):
    theirs = shaken(model(transformers.BartForSequenceClassification))
    ours, labels = pretrained.as_reference(pretrained.load(saved(theirs, tmp_path))), torch.tensor([2, 0, 1])
    agree(ours(**closed(), labels=labels).loss, theirs(**closed(), labels=labels).loss)
    with pytest.raises(ValueError, match="input_ids must end with 2 in every row"):
        ours(input_ids=torch.tensor([[0, 5, 2], [0, 2, 5]]))


def test_a_classifier_predicts_texts_and_comes_back_from_our_own_format(tmp_path):
    words = vocabularies.bart()
    special = {"pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id, "vocab_size": len(words)}
    special |= {"bos_token_id": words.bos_token_id, "decoder_start_token_id": words.eos_token_id}
    named = {"id2label": {0: "bad", 1: "good"}, "max_position_embeddings": 40}
    theirs = shaken(model(transformers.BartForSequenceClassification, **special, **named))
    folder = saved(theirs, tmp_path / "theirs")
    words.save_pretrained(folder)
    loaded = pretrained.load(folder)
    texts = ["a cat", "a dog and a cat and a dog"]
    (first, second) = loaded.predict(texts)
    given = words(texts, return_tensors="pt", padding=True)
    expected = theirs(**{name: given[name] for name in ("input_ids", "attention_mask")}).logits.softmax(-1)
    for found, row in zip((first, second), expected, strict=True):
        assert [found.probabilities["bad"], found.probabilities["good"]] == pytest.approx(row.tolist(), abs=1e-5)
    save(tmp_path / "ours", loaded, recipe=loaded.recipe)
    assert load(tmp_path / "ours").predict(texts)[0].probabilities == pytest.approx(first.probabilities)
