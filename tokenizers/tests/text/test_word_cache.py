import re

import hypothesis.strategies as st
from hypothesis import given
from omniformer_tokenizers.text.word_cache import WordCache, gpt2_words

# Every kind of character that GPT-2's pattern tells apart, and those on which libraries disagree.
ALPHABET = "ab 12'stdlvem.,_\n\t\r\x00\x1c\x1f\x7f\x85\xa0\u2003\u2028\u3000éß你😀\u0301½²Ⅷ\u200d\ufeff"


def split_words(text: str) -> list[int]:
    """A stand-in for an encoder: words of letters, and every other character, each by the sum of its code points."""
    return [sum(map(ord, word)) for word in re.findall(r"[a-z]+|[^a-z]", text)]


@given(st.text())
def test_pieces_join_to_the_text(text):
    assert "".join(gpt2_words(text)) == text


@given(st.text(st.sampled_from(ALPHABET)))
def test_no_word_of_gpt2_spans_two_pieces(text):
    from tokenizers.pre_tokenizers import ByteLevel

    words = ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str(text)
    starts = {begin for _, (begin, _) in words}
    place = 0
    for piece in gpt2_words(text):
        assert place in starts
        place += len(piece)


def test_a_word_is_encoded_once():
    seen = []

    def encode(texts):
        seen.extend(texts)
        return [split_words(text) for text in texts]

    cache = WordCache(encode=encode)
    first = [ids.tolist() for ids in cache(["a cat, a cat", "cat\n\n  a"])]
    n = len(seen)
    assert [ids.tolist() for ids in cache(["a cat, a cat", "cat\n\n  a"])] == first
    assert len(seen) == n
    assert first == [split_words("a cat, a cat"), split_words("cat\n\n  a")]


def test_memory_is_bounded_and_forgetting_changes_nothing():
    def encode(texts):
        return [split_words(text) for text in texts]

    cache = WordCache(encode=encode, max_characters=10)
    for text in ("abc def", "ghi jkl mno", "abc pqr", ""):
        assert cache([text])[0].tolist() == split_words(text)
        assert sum(map(len, cache._ids)) <= 10
