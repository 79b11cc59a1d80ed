from typing import ClassVar

import pytest
import torch
from omniformer_tokenizers import BPETokenizer, SubwordTokenizer, WordTokenizer

from omniformer.data.each_raw import EachRaw
from omniformer.data.marks import MarkedTokens
from omniformer.data.samples import SampleError
from omniformer.data.source import Marks, Raw
from tokenizers import Tokenizer as Library
from tokenizers import models, normalizers, pre_tokenizers

BYTES = BPETokenizer(vocab_size=257).fit(["a"])


def test_a_span_of_characters_is_a_span_of_tokens():
    targets, of_tokens = MarkedTokens(Marks(span=(2, 6)), "a grün b", BYTES).targets(start=3, n_tokens=20)
    assert targets["span"].tolist() == [5, 9] and not of_tokens  # ü has two bytes, each of them a token


def test_the_first_token_of_a_word_has_its_class_and_no_other_counts():
    marks = Marks(words=((0, 3, 1), (4, 7, 0), (8, 9, -1)))
    _, of_tokens = MarkedTokens(marks, "Ada met X", BYTES).targets(start=1, n_tokens=12)
    assert of_tokens["mask"].nonzero().flatten().tolist() == [1, 5]
    assert of_tokens["label"][[1, 5]].tolist() == [1, 0]


@pytest.mark.parametrize("start", [None, 2])
def test_what_is_not_answered_or_left_out_takes_no_part(start):
    marks = Marks(span=(-1, -1), words=()) if start else Marks(span=(0, 1), words=((0, 1, 0),))
    targets, of_tokens = MarkedTokens(marks, "a", BYTES).targets(start=start, n_tokens=4)
    assert targets["span"].tolist() == [-1, -1] and not of_tokens["mask"].any()


def test_a_tokenizer_that_does_not_say_where_its_tokens_stand_is_refused():
    words = WordTokenizer().fit(["a"])
    with pytest.raises(ValueError, match="WordTokenizer does not say where its tokens stand in a tuple"):
        MarkedTokens(Marks(span=(0, 1)), ("a", "a"), words)
    assert MarkedTokens(Marks(span=(-1, -1)), ("a", "a"), words).span == (-1, -1)


def test_words_that_are_tokens_have_their_classes():
    marks = Marks(words=((0, 3, 1), (4, 8, 0)))
    _, of_tokens = MarkedTokens(marks, "Ada met!", WordTokenizer().fit(["Ada met!"])).targets(start=1, n_tokens=4)
    assert of_tokens["label"].tolist() == [0, 1, 0, 0] and of_tokens["mask"].tolist() == [False, True, True, False]


def test_a_place_without_a_token_is_told_with_the_sample():
    raws = [Raw(id="it", contents={"text": "a"}, marks={"text": Marks(span=(5, 6))})]
    with pytest.raises(SampleError, match=r"sample 'it' of qa: no token stands at the characters 5\.\.6"):
        EachRaw(raws, {"text": BYTES}, name="qa", seed=0)(0, 0)


def test_words_of_which_nothing_is_left_have_no_class_and_are_named(monkeypatch):
    said = []
    monkeypatch.setattr("omniformer.data.marks.rank_zero_warn", said.append)
    marks = {"text": Marks(words=((0, 1, 1), (2, 3, 0), (4, 5, 2)))}
    raws = [Raw(id=f"s{i}", contents={"text": "a \ufe0f b"}, marks=marks) for i in range(8)]
    model = Library(models.WordPiece({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    model.normalizer, model.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = SubwordTokenizer.from_model(model)
    samples = EachRaw(raws, {"text": words}, name="names", seed=0)
    for epoch in range(2):
        for index in range(8):
            targets = samples(epoch, index).token_targets
            assert targets["label"].tolist() == [1, 2] and targets["mask"].all()
    assert said[0].startswith("sample 's0' of names: its tokenizer leaves nothing of 1 of 3 words ('\\ufe0f'), which")
    assert len(said) == 6 and "words of further samples" in said[-1]


def test_marks_count_from_the_tokens_of_what_comes_before_the_text():
    class Two:
        modality = "vision"
        placeholders: ClassVar[dict[str, int]] = {}

        def encode_batch(self, raws):
            return [self(raw) for raw in raws]

        def __call__(self, raw):
            from omniformer_tokenizers import Tokens

            return Tokens(values=torch.zeros(2, 1), positions=torch.zeros(2, 1), modality="vision")

    raw = Raw(id="it", contents={"vision": 0, "text": "abc"}, marks={"text": Marks(span=(1, 2), words=((2, 3, 4),))})
    sample = EachRaw([raw], {"vision": Two(), "text": BYTES}, name="qa", seed=0)(0, 0)
    assert sample.targets["span"].tolist() == [3, 3]
    assert sample.token_targets["label"].tolist() == [0, 0, 0, 0, 4]
    assert sample.token_targets["mask"].tolist() == [False] * 4 + [True]
