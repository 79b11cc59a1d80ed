"""What every text tokenizer keeps, whatever its vocabulary."""

import pickle

import pytest
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, CharacterTokenizer, CodeTokenizer, WordTokenizer

OWN = [BPETokenizer, CodeTokenizer, ByteTokenizer, CharacterTokenizer, WordTokenizer]
TEXTS = ["a \ufffd b", "the cat"]


@pytest.fixture(params=["bpe", "code", "bytes", "characters", "words", "subwords", "pieces"])
def tokenizer(request, cases):
    return cases[request.param].make()


def test_lone_surrogates_are_replaced_and_counted_in_each_tokenizer_by_itself(tokenizer):
    other = pickle.loads(pickle.dumps(tokenizer))
    before = tokenizer.replaced
    assert tokenizer("the \ud800 cat").values.tolist() == tokenizer("the \ufffd cat").values.tolist()
    assert (tokenizer.replaced - before, other.replaced) == (1, before)


def test_what_is_no_text_is_refused(tokenizer):
    with pytest.raises(TypeError, match="received bytes where text was expected"):
        tokenizer(b"the cat")


def test_facts_are_the_size_and_one_axis(tokenizer):
    assert tokenizer.facts == {"vocab_size": tokenizer.vocab_size, "axes": 1}


def test_a_missing_special_token_is_named(tokenizer):
    with pytest.raises(ValueError, match=r"'<none>' is not a special token of this vocabulary; it has \("):
        tokenizer.special_id("<none>")


@pytest.mark.parametrize("cls", OWN)
def test_a_text_begins_and_ends_with_end_of_text(cls):
    tokenizer = cls(special_tokens=("<a>", "<|endoftext|>")).fit(TEXTS)
    assert tokenizer.start == tokenizer.stop == tokenizer.end_of_text == tokenizer.special_id("<|endoftext|>")
    assert tokenizer.special_id("<a>") == tokenizer.end_of_text - 1
    with pytest.raises(ValueError, match=r"'<\|endoftext\|>' is not a special token"):
        _ = cls(special_tokens=()).fit(TEXTS).end_of_text


@pytest.mark.parametrize("cls", OWN)
def test_a_special_token_that_is_named_twice_is_refused(cls):
    with pytest.raises(ValueError, match="names a token twice"):
        cls(special_tokens=("a", "a"))


@pytest.mark.parametrize("cls", [each for each in OWN if each is not ByteTokenizer])
def test_one_string_is_not_a_corpus(cls):
    with pytest.raises(TypeError, match="one string; pass an iterable"):
        cls().fit("text")


@pytest.mark.parametrize("cls", OWN)
@pytest.mark.parametrize("i", [99999, -1])
def test_an_id_outside_the_vocabulary_is_named(cls, i):
    with pytest.raises(ValueError, match=f"id {i} is outside the vocabulary of"):
        cls().fit(TEXTS).decode([i])
