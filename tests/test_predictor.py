from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, PatchTokenizer

from omniformer.core.rules import Causal, Full
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead, NextTokenHead, TokenClassificationHead
from omniformer.heads.contrastive import ContrastiveHead
from omniformer.heads.ctc import CTCHead
from omniformer.heads.link import LinkHead
from omniformer.heads.span import SpanHead
from omniformer.inputs import batch_of, sample_of
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor

# Pieces of words say where they stand, bytes do not.
PIECES = BPETokenizer(vocab_size=257).fit([""])
TEXT, VISION = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1)


def picture(seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def predictor_of(*names: str) -> Predictor:
    """A model with the tasks of these names."""
    torch.manual_seed(0)
    heads = {
        "digits": ClassificationHead(d_model=16, n_classes=3),
        "questions": ClassificationHead(d_model=16, n_classes=2),
        "prose": NextTokenHead(d_model=16, vocab_size=257),
        "verse": NextTokenHead(d_model=16, vocab_size=257),
        "pairs": ContrastiveHead(d_model=16, modalities=["vision", "text"], d_embedding=4),
        "reader": CTCHead(d_model=16, vocab_size=257),
        "holes": NextTokenHead(d_model=16, vocab_size=257),
        "links": LinkHead(d_model=16),
        "quotes": SpanHead(d_model=16),
        "tags": TokenClassificationHead(d_model=16, n_classes=2),
    }
    members = {
        "digits": Member(tokenizers={"vision": VISION}, labels=("a", "b", "c")),
        "questions": Member(tokenizers={"vision": VISION, "text": TEXT}, labels=("no", "yes")),
        "prose": Member(tokenizers={"text": TEXT}),
        "verse": Member(tokenizers={"text": TEXT}),
        "pairs": Member(tokenizers={"vision": VISION, "text": TEXT}),
        "reader": Member(tokenizers={"vision": VISION, "text": TEXT}, given=("vision",)),
        "holes": Member(tokenizers={"text": TEXT}),
        "links": Member(tokenizers={"text": TEXT}),
        "quotes": Member(tokenizers={"text": PIECES if "tags" in names else TEXT}),
        "tags": Member(tokenizers={"text": PIECES}, labels=("noun", "verb")),
    }
    model = OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2, init_std=0.3),
        embedders={
            "vision": VectorEmbedder(d_model=16, features=16, axes=2),
            "text": IdEmbedder(d_model=16, vocab_size=257),
        },
        heads={name: heads[name] for name in names},
        rules={name: Full() if name == "holes" else Causal() for name in names if name in ("prose", "verse", "holes")},
    )
    for name in names:
        if isinstance(heads[name], ClassificationHead):
            torch.nn.init.normal_(heads[name].classes.weight)
        if isinstance(heads[name], CTCHead):
            torch.nn.init.normal_(heads[name].ids.weight)
    return Predictor(model, {name: members[name] for name in names})


def probabilities(predictions):
    return [list(prediction.probabilities.values()) for prediction in predictions]


def test_predictions_do_not_depend_on_how_inputs_are_batched():
    predictor, pictures = predictor_of("digits"), [picture(i) for i in range(7)]
    for one, other in zip(
        predictor.predict(pictures, batch_size=7), predictor.predict(pictures, batch_size=2), strict=True
    ):
        assert one.input == other.input
        assert list(one.probabilities.values()) == pytest.approx(list(other.probabilities.values()), abs=1e-6)


def test_files_and_folders_are_read_in_order_and_named(tmp_path):
    from PIL import Image

    predictor = predictor_of("digits")
    for i in range(3):
        Image.fromarray(picture(i)[0].numpy()).save(tmp_path / f"{i}.png")
    from_files = predictor.predict([tmp_path])
    assert [Path(p.input).name for p in from_files] == ["0.png", "1.png", "2.png"]
    from_tensors = predictor.predict([picture(i) for i in range(3)])
    torch.testing.assert_close(torch.tensor(probabilities(from_files)), torch.tensor(probabilities(from_tensors)))


def test_several_modalities_are_given_as_a_list_or_by_name_in_any_order_and_any_may_be_missing(tmp_path):
    from PIL import Image

    predictor, path = predictor_of("digits", "questions"), tmp_path / "it.png"
    Image.fromarray(picture(0)[0].numpy()).save(path)
    both = [
        {"vision": picture(0), "text": "is it?"},
        {"text": "is it?", "vision": path},
        ["is it?", picture(0)],
        [path, "is it?"],
    ]
    found = probabilities(predictor.predict(both))
    assert [prediction.member for prediction in predictor.predict(both)] == ["questions"] * 4
    for row in found[1:]:
        assert row == pytest.approx(found[0], abs=1e-6)
    text_only, vision_only = probabilities(predictor.predict(["is it?", {"vision": picture(0)}], member="questions"))
    assert len({round(row[0], 4) for row in (found[0], text_only, vision_only)}) == 3


def test_embeddings_are_unit_vectors_that_depend_on_neither_order_nor_batches():
    predictor = predictor_of("pairs", "digits")
    inputs = [picture(0), "a seven", picture(1), "an eight", "a nine"]
    found = predictor.embed(inputs)
    assert found.shape == (5, 4)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(5))
    torch.testing.assert_close(predictor.embed(inputs, batch_size=1), found)
    torch.testing.assert_close(predictor.embed(inputs[::-1]), found.flip(0))
    assert len({round(float(row[0]), 4) for row in found}) == 5
    assert predictor.embed([]).shape == (0, 4)


def test_an_embedding_is_of_one_modality():
    with pytest.raises(ValueError, match="input 0: an embedding is of one modality; received text, vision"):
        predictor_of("pairs").embed([["seven", picture(0)]])


def test_the_space_of_a_contrastive_task_gives_way_to_a_pooling_asked_for():
    predictor = predictor_of("pairs", "prose")
    assert predictor.embed(["seven"]).shape == (1, 4)
    assert predictor.embed(["seven"], pool="mean", member="pairs").shape == (1, 16)
    assert predictor.embed(["seven"], member="prose").shape == (1, 16)
    with pytest.raises(ValueError, match=r"several tasks take it: \['prose', 'verse'\]; choose one with member="):
        predictor_of("prose", "verse").embed(["seven"])


def test_an_input_no_task_takes_is_named():
    with pytest.raises(ValueError, match="input 0 looks like audio; this model takes text, vision"):
        predictor_of("digits", "prose").predict([torch.zeros(800)])


def test_an_input_that_several_tasks_take_is_named():
    with pytest.raises(
        ValueError, match=r"input 0 looks like vision; several tasks take it: \['digits', 'questions'\]"
    ):
        predictor_of("digits", "questions").predict([picture(0)])


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"no file 'nowhere\.png'"):
        predictor_of("digits").predict([Path("nowhere.png")])


def test_a_file_that_is_no_picture_is_named(tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"bad\.png"):
        predictor_of("digits").predict([bad])


def test_tasks_that_predict_no_class_say_what_they_do():
    with pytest.raises(ValueError, match=r"'prose' writes text, .* use python -m omniformer\.generate"):
        predictor_of("digits", "prose").predict(["some words"])
    with pytest.raises(ValueError, match=r"'pairs' compares inputs, .* use Predictor\.embed"):
        predictor_of("pairs").predict(["some words"])


def test_which_task_writes_is_found_or_asked_for():
    with pytest.raises(ValueError, match="writes nothing, it has only digits; train one with modality=text"):
        predictor_of("digits").generate(["hello"])
    both = predictor_of("digits", "prose", "verse")
    with pytest.raises(ValueError, match="several tasks could answer: prose, verse; choose one with member="):
        both.generate(["hello"])
    with pytest.raises(ValueError, match="member='digits' is no task of this kind in this model; choose one of prose"):
        both.generate(["hello"], member="digits")
    assert both.writer("verse").head == "verse"
    assert predictor_of("digits", "prose").generate(["hello"], max_new_tokens=3)[0][0].member == "prose"


def test_what_frames_say_is_written_down_and_goes_to_the_task_that_reads_them():
    both = predictor_of("reader", "prose")
    pictures = [picture(i) for i in range(3)]
    predictions = both.predict(pictures)
    answers = both.generate(pictures, member="reader")
    assert [prediction.text for prediction in predictions] == [answer.content for (answer,) in answers]
    assert all(len(answer.ids) for (answer,) in answers)
    assert predictions[0].to_dict() == {"input": "input 0", "member": "reader", "text": predictions[0].text}
    # A text is no input of a task that only writes texts.
    with pytest.raises(ValueError, match=r"input 0 looks like text; this model takes vision"):
        predictor_of("reader").predict(["some words"])


def test_a_file_that_cannot_be_transcribed_is_named(tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"bad\.png"):
        predictor_of("reader").predict([bad])


def test_a_model_that_finds_hidden_tokens_is_not_taken_for_one_that_writes():
    with pytest.raises(ValueError, match="'holes' has learned to find hidden tokens from those on both sides"):
        predictor_of("holes").generate(["some words"])
    with pytest.raises(ValueError, match="'holes' knows no hidden token: its vocabulary has none of"):
        predictor_of("holes").predict(["some [MASK] words"])
    both = predictor_of("holes", "prose")
    assert both.writer().head == "prose"
    with pytest.raises(ValueError, match="'holes' has learned to find hidden tokens"):
        both.writer("holes")
    with pytest.raises(ValueError, match="'holes' has learned to find hidden tokens"):
        predictor_of("holes", "digits").writer()


def test_links_say_how_they_are_read():
    with pytest.raises(ValueError, match="'links' says which nodes are joined, .* call scores of its head"):
        predictor_of("links").predict(["some words"])


def test_an_answer_is_the_span_with_the_best_ends():
    predictor = predictor_of("quotes")
    torch.nn.init.normal_(predictor.model.heads["quotes"].ends.weight)
    (answer,) = predictor.predict(["some words"])
    x, _ = predictor.model.encode(batch_of([sample_of("", "some words", {"text": TEXT})], predictor.model), "quotes")
    start, end = predictor.model.heads["quotes"](x, None).softmax(0).detach().unbind(-1)
    best = max(float(start[i] * end[j]) for i in range(10) for j in range(i, 10))
    assert answer.score == pytest.approx(best, rel=1e-5)
    assert float(start[answer.span[0]] * end[answer.span[1]]) == pytest.approx(best, rel=1e-5)
    assert answer.to_dict() == {
        "input": "input 0",
        "member": "quotes",
        "span": list(answer.span),
        "score": answer.score,
        "text": answer.text,
        "place": list(answer.place),
    }
    assert answer.text == "some words"[answer.span[0] : answer.span[1] + 1].strip()  # bytes are tokens


def test_tokens_and_answers_say_where_in_the_text_they_stand():
    predictor = predictor_of("tags", "quotes")
    text = "some words here"
    tags = predictor.predict([text], member="tags")
    assert "".join(tag.text for tag in tags) == text
    assert [tag.text for tag in tags] == [text[slice(*tag.place)] for tag in tags]
    assert [tag.token for tag in tags] == list(range(len(tags)))
    (answer,) = predictor.predict([text], member="quotes")
    assert answer.text == text[slice(*answer.place)]
    assert answer.place == (tags[answer.span[0]].place[0], tags[answer.span[1]].place[1])


def test_an_answer_needs_a_text_to_stand_in():
    with pytest.raises(ValueError, match="input 0 has no text that an answer could stand in; give a pair"):
        predictor_of("quotes").predict([""])


def test_words_for_holes_come_before_what_only_writes():
    assert predictor_of("holes", "prose").route("some [MASK] words") == "holes"
    assert predictor_of("holes", "prose", "tags").route("some words") == "tags"


def test_a_string_is_one_text_and_never_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tests", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("something else")
    predictor = predictor_of("prose")
    assert predictor.embed(["tests", "docs"]).shape == (2, 16)
    torch.testing.assert_close(predictor.embed("tests"), predictor.embed(["tests"]))
    assert predictor.similarity("a", ["a", "tests"]).shape == (1, 2)
    assert len(predictor.generate("/", max_new_tokens=2)) == 1
    with pytest.raises(ValueError, match=r"input 0 looks like text; .*; give a file as pathlib\.Path\('docs/a\.txt'\)"):
        predictor_of("digits").predict("docs/a.txt")
    with pytest.raises(ValueError, match=r"input 0 looks like text; this model takes vision"):
        predictor_of("digits").predict("/")


def test_one_picture_is_one_prediction_with_label_and_score(tmp_path):
    predictor = predictor_of("digits")
    array = picture(0)[0].numpy()[:, :, None]
    (found,) = predictor.predict(array)
    (expected,) = predictor.predict([picture(0)])
    assert found.probabilities == expected.probabilities
    assert found.score == max(found.probabilities.values())
    assert list(found.to_dict()) == ["input", "member", "label", "score", "probabilities"]


def test_inputs_that_cannot_be_read_are_refused_by_name_and_the_others_predicted(tmp_path):
    from PIL import Image

    predictor, bad = predictor_of("digits"), []
    for i in range(9):
        Image.fromarray(picture(i)[0].numpy()).save(tmp_path / f"{i}.png")
    (tmp_path / "4.png").write_bytes(b"no picture")
    given = [tmp_path, Path("nowhere.png"), picture(3)]
    for batch_size in (1, 3, 64):
        bad.clear()
        found = predictor.predict(given, batch_size=batch_size, refused=bad.append)
        assert [Path(each.input).stem for each in found] == [*"01235678", "input 2"]
        assert ["nowhere.png" in str(bad[0]), "4.png: cannot be read" in str(bad[1])] == [True, True]
        assert len(bad) == 2
    assert found[3].probabilities == pytest.approx(found[-1].probabilities, abs=1e-6)
