import pytest
import vocabularies
from hypothesis import given
from hypothesis import strategies as st
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, CharacterTokenizer, SubwordTokenizer, WordTokenizer

from omniformer.generation.texts import Spelling

TEXT = "the café — ☕ and the 東京 of the café"
BPE = BPETokenizer(vocab_size=300).fit([TEXT] * 4)
CHARACTERS = CharacterTokenizer().fit([TEXT])
WORDS = WordTokenizer().fit([TEXT])


def published(kind):
    return SubwordTokenizer.from_model(vocabularies.KINDS[kind]().backend_tokenizer)


def ids_of(tokenizer, text):
    return tokenizer(text).values.tolist()


def test_pieces_are_whole_characters():
    cup = ids_of(BPE, "☕")
    assert len(cup) > 1  # several tokens, so no piece may be half a cup
    assert list(Spelling(BPE).pieces([*cup, *ids_of(BPE, "é")])) == ["☕", "é"]


@pytest.mark.parametrize("kind", ["GPT-2", "LLaMA 2"])
def test_pieces_of_published_vocabularies_are_whole_characters_and_add_up(kind):
    tokenizer = published(kind)
    text = "the cat 😀 and 日 é"
    ids = tokenizer.encode_ids([text])[0].tolist()
    pieces = list(Spelling(tokenizer).pieces(ids))
    assert "".join(pieces) == Spelling(tokenizer).text(ids) == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert Spelling(tokenizer).text([*ids, tokenizer.vocab_size + 3]) == text
    assert list(Spelling(tokenizer).pieces([tokenizer.vocab_size + 3])) == []


def test_half_a_character_at_the_end_is_shown_as_such():
    assert list(Spelling(ByteTokenizer()).pieces([104, 195])) == ["h", "\ufffd"]


@given(st.lists(st.integers(0, 256), max_size=30), st.lists(st.text("aé☕b", min_size=1, max_size=3), max_size=2))
def test_pieces_add_up_to_the_text_whatever_the_ids_and_stop_texts(ids, stop):
    spelling = Spelling(ByteTokenizer(), stop=stop)
    assert "".join(spelling.pieces(ids)) == spelling.text(ids)


@pytest.mark.parametrize("tokenizer", [BPE, CHARACTERS, WORDS, ByteTokenizer()])
def test_pieces_add_up_to_the_text_for_every_tokenizer_of_text(tokenizer):
    ids = ids_of(tokenizer, TEXT)
    for stop in ([], ["東"], ["and the", "☕"], ["no such text"]):
        spelling = Spelling(tokenizer, stop=stop)
        pieces = list(spelling.pieces(ids))
        assert "".join(pieces) == spelling.text(ids)
        assert all(pieces)
        assert len(pieces) > 1


def test_a_text_ends_before_the_first_stop_text():
    ids = ids_of(BPE, "one. two! three.")
    spelling = Spelling(BPE, stop=["!", "two", "."])
    assert spelling.text(ids) == "one"
    assert spelling.complete(ids)
    assert not spelling.complete(ids_of(BPE, "one two"[:3]))
    assert not Spelling(BPE).complete(ids)


def test_what_may_become_a_stop_text_is_withheld_until_it_is_known():
    come = []

    def ids():
        for each in ids_of(ByteTokenizer(), "a##b###c"):
            come.append(each)
            yield each

    spelling, seen = Spelling(ByteTokenizer(), stop=["###"]), []
    for piece in spelling.pieces(ids()):
        seen.append((piece, len(come)))
    assert seen == [("a", 1), ("##b", 4)]
    assert len(come) == 7  # nothing is asked for behind the stop text


def test_words_keep_their_distance_from_the_prompt():
    prompt, answer = ids_of(WORDS, "the"), ids_of(WORDS, "café and")
    spelling = Spelling(WORDS, before=prompt)
    assert "the" + spelling.text(answer) == "the café and"
    assert list(spelling.pieces(answer)) == [" café", " and"]


def test_special_ids_are_no_text():
    assert Spelling(BPE).text([BPE.end_of_text, *ids_of(BPE, "the")]) == "the"
    assert list(Spelling(BPE).pieces([BPE.end_of_text])) == []


def test_an_empty_stop_text_is_refused():
    with pytest.raises(ValueError, match="a stop text is empty"):
        Spelling(BPE, stop=[".", ""])
