import pickle

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer

from omniformer.data import Digits, KarateClub, Stream
from omniformer.data.by_name import known
from omniformer.data.sets.digit_words import DigitWords


def test_every_picture_stands_behind_the_word_of_its_digit():
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    plain, worded = Digits(), DigitWords(source=Digits())
    for split in ("train", "val", "test"):
        for old, new in zip(plain.split(split), worded.split(split), strict=True):
            assert (new.id, new.targets) == (old.id, old.targets)
            assert list(new.contents) == ["text", "vision"]
            assert new.contents["text"] == words[int(old.targets["label"])]
            assert torch.equal(new.contents["vision"], old.contents["vision"])


def test_the_classes_are_the_words():
    source = DigitWords(source=Digits())
    assert source.facts == {"n_classes": 10} and source.labels[7] == "seven" and source.name == "DigitWords of Digits"


def test_a_split_pickles_for_data_workers():
    split = DigitWords(source=Digits()).split("val")
    assert pickle.loads(pickle.dumps(split))[3].contents["text"] == split[3].contents["text"]


def test_either_side_can_be_the_answer():
    tokenizers = {"text": ByteTokenizer(), "vision": PatchTokenizer(patch_size=4, channels=1)}
    for answer, given in (("vision", "text"), ("text", "vision")):
        stream = Stream(source=DigitWords(source=Digits()), answer=answer)
        sample = stream.samples("val", tokenizers, name="words", seed=0)(0, 0)
        assert [piece.modality for piece in sample.pieces] == [given]
        assert [piece.modality for piece in sample.answer] == [answer]


def test_a_set_of_something_else_is_refused():
    with pytest.raises(ValueError, match="KarateClub has the classes .* words are known for the ten digits"):
        DigitWords(source=KarateClub())


def test_files_are_not_looked_for_before_samples_are_asked_for(tmp_path):
    source = DigitWords(source=known("mnist", data_root=str(tmp_path)))
    with pytest.raises(FileNotFoundError, match="mnist"):
        source.split("val")
