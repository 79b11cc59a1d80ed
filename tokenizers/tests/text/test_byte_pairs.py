import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from omniformer_tokenizers import BPETokenizer, pack

TEXTS = ["the cat and the dog and the bird", "def f(x):\n    return x\n", "Übergröße, naïve café 😀"] * 3
ANY_TEXT = st.text(st.characters(codec=None, categories=None))  # every code point, lone surrogates too


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer(vocab_size=400, special_tokens=("<|pad|>", "<|endoftext|>")).fit(TEXTS)


def check_round_trip(tokenizer: BPETokenizer, text: str) -> None:
    kept = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    before = tokenizer.replaced
    tokens = tokenizer(text)
    assert tokenizer.decode(tokens) == kept
    assert tokenizer.replaced - before == sum("\ud800" <= character <= "\udfff" for character in text)
    assert not set(tokens.values.tolist()) & {0, 1}


@given(ANY_TEXT)
def test_every_string_survives(tokenizer, text):
    check_round_trip(tokenizer, text)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=100_000, deadline=None)
@given(ANY_TEXT)
def test_a_hundred_thousand_strings_survive(tokenizer, text):
    check_round_trip(tokenizer, text)


@pytest.mark.slow
def test_a_long_string_survives(tokenizer):
    text = "".join(chr(i) for i in range(0x10FFFF) if not 0xD800 <= i <= 0xDFFF)
    assert tokenizer.decode(tokenizer(text)) == text


@given(st.lists(ANY_TEXT | st.text(st.sampled_from("ab 'sl1\n\t.é\x1c\x85\u3000")), max_size=5))
def test_ids_equal_those_of_the_library(tokenizer, texts):
    clean = ["".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text) for text in texts]
    expected = [encoding.ids for encoding in tokenizer._model.encode_batch(clean)]
    assert [ids.tolist() for ids in tokenizer.encode_ids(texts)] == expected


@pytest.mark.parametrize("name", ["<|endoftext|>", "<|pad|>"])
def test_text_that_spells_a_special_token_stays_text(tokenizer, name):
    for form in (tokenizer, pickle.loads(pickle.dumps(tokenizer))):
        ids = form(f"a{name}b").values
        assert form.special_id(name) not in ids.tolist()
        assert form.decode(ids) == f"a{name}b"


def test_special_tokens_are_left_out_when_decoding(tokenizer):
    ids = tokenizer("the cat").values
    assert tokenizer.decode(torch.cat([ids, torch.tensor([tokenizer.end_of_text])])) == "the cat"


def test_token_bytes_add_up_to_the_text(tokenizer):
    text = "the naïve 😀 cat"
    table = tokenizer.token_bytes
    assert b"".join(table[i] for i in tokenizer(text).values.tolist()) == text.encode()
    assert table[tokenizer.end_of_text] == b""
    assert len(table) == tokenizer.vocab_size


def test_half_a_character_decodes_to_a_replacement(tokenizer):
    ids = tokenizer("😀").values
    assert "\ufffd" in tokenizer.decode(ids[:-1])


def test_offsets_point_at_the_characters_of_each_token(tokenizer):
    text = "the café sat"
    for (begin, end), i in zip(tokenizer.offsets(text).tolist(), tokenizer(text).values.tolist(), strict=True):
        assert tokenizer.token_bytes[i] in text[begin:end].encode()


def test_a_packed_encoding_equals_packing(tokenizer):
    texts = ["the cat", "", "and the dog"]
    expected, packed = pack(tokenizer.encode_batch(texts)), tokenizer.encode_packed(texts)
    for name in ("values", "positions", "lengths"):
        torch.testing.assert_close(getattr(packed, name), getattr(expected, name), rtol=0, atol=0)


def test_training_is_deterministic_and_reads_a_generator_once():
    first = BPETokenizer(vocab_size=350).fit(TEXTS)
    second = BPETokenizer(vocab_size=350).fit(text for text in TEXTS)
    assert first.digest == second.digest
    assert first.vocab_size <= 350


def test_a_vocabulary_stops_growing_when_nothing_repeats():
    tokenizer = BPETokenizer(vocab_size=5000).fit(["abc"])
    assert 257 <= tokenizer.vocab_size < 300
    assert tokenizer.facts["vocab_size"] == tokenizer.vocab_size


def test_frequent_words_become_one_token(tokenizer):
    assert len(tokenizer(" the")) == 1


def test_ids_come_in_the_wanted_width(tokenizer):
    assert tokenizer.encode_ids(["the cat"], np.uint16)[0].dtype == np.uint16


def test_a_vocabulary_without_room_for_the_bytes_is_refused():
    with pytest.raises(ValueError, match="vocab_size=200 has no room for 256 bytes and 1 special tokens; give 257"):
        BPETokenizer(vocab_size=200)
