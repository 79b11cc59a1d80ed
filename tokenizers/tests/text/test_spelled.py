import pytest
import torch
from omniformer_tokenizers import SpelledWordTokenizer, WordTokenizer


def test_words_are_those_of_the_plain_tokenizer_and_letters_lie_beside_them():
    text = "Grüße, unseen wörld"
    spelled, plain = (kind(lowercase=True).fit(["grüße world"]) for kind in (SpelledWordTokenizer, WordTokenizer))
    tokens = spelled(text)
    assert tokens.values.tolist() == plain(text).values.tolist()
    words = [bytes(row).rstrip(b"\0") for row in tokens.features["letters"].tolist()]
    assert words == [b"\1" + word.encode() + b"\2" for word in ("grüße", ",", "unseen", "wörld")]
    assert tokens.features["letters"].dtype == torch.uint8
    assert spelled.facts == {**plain.facts, "letters": 24}


def test_a_long_word_keeps_its_first_bytes_and_is_counted():
    tokenizer = SpelledWordTokenizer(letters=5).fit(["abc abcd"])
    assert tokenizer("abc abcd").features["letters"].tolist() == [[1, 97, 98, 99, 2], [1, 97, 98, 99, 100]]
    assert tokenizer.cut == 1


def test_a_text_without_words_has_no_letters():
    assert SpelledWordTokenizer(letters=5).fit(["a"])(" ").features["letters"].shape == (0, 5)


def test_a_lone_surrogate_is_counted_once():
    tokenizer = SpelledWordTokenizer().fit(["a"])
    tokenizer("a \ud800")
    assert tokenizer.replaced == 1


def test_a_word_needs_room_for_a_byte():
    with pytest.raises(ValueError, match="letters=2 is too small; give 3 or more"):
        SpelledWordTokenizer(letters=2)
