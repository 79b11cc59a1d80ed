"""Texts of one length."""

import omniformer_tokenizers as ot
import pytest
import torch


@pytest.mark.parametrize(("side", "expected"), [("right", [97, 98, 7, 7, 7]), ("left", [7, 7, 7, 97, 98])])
def test_texts_are_padded_on_either_side_and_longer_ones_stay(side, expected):
    tokenizer = ot.PaddedTokenizer(tokenizer=ot.ByteTokenizer(), length=5, pad=7, side=side)
    found = tokenizer("ab")
    assert found.values.tolist() == expected
    assert found.positions[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert tokenizer.decode(found) == "ab"
    assert tokenizer("abcdefg").values.tolist() == list(b"abcdefg")
    assert [each.values.tolist() for each in tokenizer.encode_batch(["ab"])] == [expected]


def test_features_are_padded_too():
    inside = ot.SubwordTokenizer.from_model(_model(), segments=True)
    found = ot.PaddedTokenizer(tokenizer=inside, length=4, pad=2)(("a", "b"))
    assert found.values.tolist() == [0, 1, 2, 2]
    assert torch.equal(found.features["segment"], torch.tensor([0, 1, 0, 0]))


def test_it_comes_back_with_what_is_inside(tmp_path):
    ot.PaddedTokenizer(tokenizer=ot.SubwordTokenizer.from_model(_model()), length=3, pad=2).save_pretrained(tmp_path)
    again = ot.load(tmp_path)
    assert again("a").values.tolist() == [0, 2, 2]
    assert again.special_id("[P]") == 2 and again.vocab_size == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"length": 0}, "length"), ({"side": "top"}, "side"), ({"pad": 999}, "pad=999 is no id of a vocabulary of 257")],
)
def test_impossible_padding_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ot.PaddedTokenizer(tokenizer=ot.ByteTokenizer(), **wrong)


def _model():
    from tokenizers import Tokenizer, models

    model = Tokenizer(models.WordPiece({"a": 0, "b": 1, "[P]": 2}, unk_token="[P]"))
    model.add_special_tokens(["[P]"])
    return model
