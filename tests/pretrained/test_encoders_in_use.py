"""What people do with published encoders: words for holes, labels of texts and words, answers; beside the reference."""

import json

import pytest
import torch
import vocabularies
from twins import saved, shaken, transformers

import omniformer
from omniformer.predict import main

KINDS = {
    "BERT": (transformers.BertConfig, "Bert", {"max_position_embeddings": 64}),
    "RoBERTa": (transformers.RobertaConfig, "Roberta", {"max_position_embeddings": 66, "type_vocab_size": 1}),
}
SIZES = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 40}
QUESTION, CONTEXT = "Who sat on the mat?", "The quick brown fox jumps; a cat sat on the mat."


@pytest.fixture(params=KINDS)
def make(request, tmp_path):
    """Makes a model of a kind with its vocabulary: the folder, and what the reference reads there."""
    config, name, sizes = KINDS[request.param]

    def folder_of(head, **others):
        tokenizer = vocabularies.KINDS[request.param]()
        special = {"pad_token_id": tokenizer.pad_token_id}
        kind = getattr(transformers, name + head)
        model = shaken(kind(config(vocab_size=len(tokenizer), **SIZES, **sizes, **special, **others)))
        tokenizer.save_pretrained(saved(model, tmp_path))
        return str(tmp_path), model, tokenizer

    return folder_of


def outputs(model, tokenizer, *texts):
    with torch.inference_mode():
        return model(**tokenizer(*texts, return_tensors="pt"))


def test_texts_and_pairs_have_the_ids_and_segments_of_the_reference(make):
    folder, model, tokenizer = make("ForMaskedLM")
    ours = omniformer.load(folder).members["masked_lm"].tokenizers["text"]
    for texts in ((QUESTION,), (QUESTION, CONTEXT)):
        expected = tokenizer(*texts, return_token_type_ids=True)
        tokens = ours(texts[0] if len(texts) == 1 else texts)
        assert tokens.values.tolist() == expected.input_ids
        if model.config.type_vocab_size > 1:
            assert tokens.features["segment"].tolist() == expected.token_type_ids


def test_words_for_holes(make):
    folder, model, tokenizer = make("ForMaskedLM")
    mask = tokenizer.mask_token
    texts = [f"a {mask} sat on the{mask}.", f"{mask} dog"]
    found = iter(omniformer.load(folder).predict(texts, top=4))
    for i, text in enumerate(texts):
        ids = tokenizer(text, return_tensors="pt").input_ids[0]
        shares = outputs(model, tokenizer, text).logits[0].softmax(-1)
        for place in (ids == tokenizer.mask_token_id).nonzero().flatten().tolist():
            hole = next(found)
            assert (hole.input, hole.token) == (f"input {i}", place)
            best = shares[place].topk(4).values.tolist()
            assert sum(hole.probabilities.values()) == pytest.approx(sum(best), rel=1e-4)
            assert max(hole.probabilities.values()) >= best[0] * (1 - 1e-4)
    assert next(found, None) is None


@pytest.mark.parametrize("problem", [None, "multi_label_classification"])
def test_labels_of_texts_and_of_pairs(problem, make):
    names = {0: "bad", 1: "so-so", 2: "good"}
    folder, model, tokenizer = make("ForSequenceClassification", id2label=names, problem_type=problem)
    one, two = omniformer.load(folder).predict([CONTEXT, (QUESTION, CONTEXT)])
    for found, texts in ((one, (CONTEXT,)), (two, (QUESTION, CONTEXT))):
        logits = outputs(model, tokenizer, *texts).logits[0]
        shares = logits.softmax(-1) if problem is None else logits.sigmoid()
        assert list(found.probabilities) == list(names.values())
        assert list(found.probabilities.values()) == pytest.approx(shares.tolist(), abs=1e-5)


def test_numbers_of_texts(make):
    folder, model, tokenizer = make("ForSequenceClassification", num_labels=1)
    (found,) = omniformer.load(folder).predict([CONTEXT])
    assert found.values == pytest.approx(outputs(model, tokenizer, CONTEXT).logits[0].tolist(), abs=1e-5)


def test_labels_of_words_leave_out_what_is_no_text(make):
    folder, model, tokenizer = make("ForTokenClassification", id2label={0: "O", 1: "animal"})
    found = omniformer.load(folder).predict([CONTEXT])
    shares = outputs(model, tokenizer, CONTEXT).logits[0].softmax(-1)[1:-1]  # less the first and the last token
    assert [list(each.probabilities.values()) for each in found] == [
        pytest.approx(row, abs=1e-5) for row in shares.tolist()
    ]
    assert [each.token for each in found] == list(range(1, len(shares) + 1))
    assert "".join(each.text for each in found) == CONTEXT.replace(" ", "")
    assert all(CONTEXT[slice(*each.place)] == each.text for each in found)


def test_answers_stand_in_the_text_and_are_the_best_of_all_spans(make):
    folder, model, tokenizer = make("ForQuestionAnswering")
    (found,) = omniformer.load(folder).predict([(QUESTION, CONTEXT)])
    encoded = tokenizer(QUESTION, CONTEXT)
    output = outputs(model, tokenizer, QUESTION, CONTEXT)
    places = [i for i, text in enumerate(encoded.sequence_ids()) if text == 1]
    start, end = (each[0, places].softmax(-1).tolist() for each in (output.start_logits, output.end_logits))
    spans = {(i, j): start[i] * end[j] for i in range(len(places)) for j in range(i, len(places))}
    best = max(spans, key=lambda span: spans[span])
    first, last = (places[i] for i in best)
    assert found.span == (first, last)
    assert found.score == pytest.approx(spans[best], rel=1e-4)
    assert found.place == (encoded.token_to_chars(first).start, encoded.token_to_chars(last).end)
    assert found.text == CONTEXT[slice(*found.place)]


def test_vectors_of_texts(make):
    folder, model, tokenizer = make("Model")
    (found,) = omniformer.load(folder).predict([CONTEXT])
    assert found.values == pytest.approx(outputs(model, tokenizer, CONTEXT).pooler_output[0].tolist(), abs=1e-5)


def test_holes_from_the_command_line(make, capsys):
    folder, _, tokenizer = make("ForMaskedLM")
    text = f"a {tokenizer.mask_token} sat"
    main([folder, text, "--json", "--top", "2"])
    (line,) = capsys.readouterr().out.splitlines()
    assert len(json.loads(line)["probabilities"]) in (1, 2)
    main([folder, text])
    assert "input 0 [" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([folder, "a cat sat"])
    assert f"input 0 hides nothing; write {tokenizer.mask_token}" in capsys.readouterr().err


def test_answers_from_the_command_line(make, capsys):
    folder, *_ = make("ForQuestionAnswering")
    (expected,) = omniformer.load(folder).predict([(QUESTION, CONTEXT)])
    main([folder, "--pairs", QUESTION, CONTEXT, "--json"])
    assert json.loads(capsys.readouterr().out) == expected.to_dict()
    main([folder, "--pairs", QUESTION, CONTEXT])
    assert f"{expected.score:.3f}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([folder, "--pairs", QUESTION, CONTEXT, "and"])
    assert "--pairs reads texts two by two; received 3" in capsys.readouterr().err


@pytest.mark.parametrize("head", ["ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"])
def test_a_text_that_is_too_long_is_cut_as_the_reference_cuts_it(head, make, caplog):
    folder, theirs, tokenizer = make(head)
    loaded, text = omniformer.load(folder), CONTEXT * 9
    raw = (QUESTION, text) if head == "ForQuestionAnswering" else text
    short = (QUESTION, CONTEXT) if head == "ForQuestionAnswering" else CONTEXT
    found = loaded.predict([raw, short])
    assert "input 0 (" in caplog.text and "input 1" not in caplog.text
    given = raw if isinstance(raw, tuple) else (raw,)
    truncation = "only_second" if len(given) == 2 else True
    encoded = tokenizer(*given, truncation=truncation, max_length=64, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        expected = theirs(**encoded)
    if head == "ForSequenceClassification":
        shares = expected.logits.softmax(-1)[0]
        torch.testing.assert_close(torch.tensor(list(found[0].probabilities.values())), shares, rtol=1e-4, atol=1e-5)
    elif head == "ForTokenClassification":
        tags = [each for each in found if each.input == "input 0"]
        words = [tuple(each) for each in offsets if each != [0, 0]]
        assert [each.place for each in tags] == words
        assert all(each.text == text[slice(*each.place)] for each in tags)
    else:
        assert found[0].span[1] < 64 and found[0].text == text[slice(*found[0].place)]
    with pytest.raises(ValueError, match=r"input 0 has \d\d\d tokens of text, this model has positions for 64; give"):
        loaded.predict([raw, short], truncate=False)


def test_a_text_that_is_too_long_is_cut_before_it_becomes_a_vector(make):
    folder, _, _ = make("ForSequenceClassification")
    loaded = omniformer.load(folder)
    long, short = loaded.embed([CONTEXT * 9, CONTEXT])
    assert long.norm() > 0.99 and not torch.allclose(long, short)
    with pytest.raises(ValueError, match="input 0 has"):
        loaded.embed([CONTEXT * 9, CONTEXT], truncate=False)


@pytest.mark.parametrize("head", ["ForMaskedLM"])
def test_a_text_with_hidden_words_that_is_too_long_is_refused(head, make):
    folder, _, tokenizer = make(head)
    text = f"{CONTEXT} {tokenizer.mask_token}"
    with pytest.raises(ValueError, match=r"input 1 has \d\d\d tokens of text, this model has positions for 64; give"):
        omniformer.load(folder).predict([text, text * 9])
