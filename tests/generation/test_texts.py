import pytest
import vocabularies
from hypothesis import example, given
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


LLAMA = published("LLaMA 2")


@given(st.lists(st.one_of(st.integers(3, 258), st.integers(0, LLAMA.vocab_size - 1)), max_size=12), st.integers(0, 4))
@example([83, 126, 163, 301], 0)
@example([83, 1, 198], 0)
def test_pieces_of_single_bytes_add_up_though_one_wrong_byte_spoils_its_run(ids, n_before):
    spelling = Spelling(LLAMA, before=ids[:n_before])
    assert "".join(spelling.pieces(ids[n_before:])) == spelling.text(ids[n_before:])


def test_a_character_of_single_bytes_is_said_with_the_next_piece():
    ids = LLAMA.encode_ids(["日 cat"])[0].tolist()
    assert sum(i in LLAMA.byte_pieces for i in ids) == 3
    assert next(iter(Spelling(LLAMA).pieces(ids))).startswith("日")


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
    assert not any(Spelling(BPE).ends(ids[:n]) for n in range(len(ids) + 1))


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


LLAMA = published("LLaMA 2")  # bytes that are no pieces of the vocabulary are ids of their own
SPELLED = {"bytes": ByteTokenizer(), "BPE": BPE, "characters": CHARACTERS, "words": WORDS, "LLaMA 2": LLAMA}


@pytest.mark.parametrize("kind", SPELLED)
@pytest.mark.parametrize("stop", [["東"], ["and the", "☕"], ["é — "], ["no such text"], ["the café — ☕ and the 東"]])
def test_a_stop_text_ends_an_answer_at_the_id_that_completes_it_wherever_ids_cut_it(kind, stop):
    tokenizer = SPELLED[kind]
    ids, spelling = ids_of(tokenizer, TEXT), Spelling(tokenizer, stop=stop)
    wholes = [tokenizer.decode(ids[:n]) for n in range(len(ids) + 1)]
    expected = [any(each in whole for each in stop) for whole in wholes]
    first = expected.index(True) if True in expected else len(ids) + 1
    # Nobody asks again once an answer has ended.
    assert [spelling.ends(ids[:n]) for n in range(min(first, len(ids)) + 1)] == expected[: first + 1]


class Counting:
    """A tokenizer that notes how many ids it is asked to decode."""

    def __init__(self, tokenizer):
        self.tokenizer, self.decoded = tokenizer, 0

    def decode(self, ids):
        self.decoded += len(ids)
        return self.tokenizer.decode(ids)


@pytest.mark.parametrize("kind", ["words", "LLaMA 2"])
@pytest.mark.parametrize("prompt", ["", TEXT * 3])
def test_looking_for_a_stop_text_and_streaming_decode_each_id_a_few_times_however_long_the_answer(kind, prompt):
    tokenizer, counts = SPELLED[kind], []
    for repeats in (4, 8):
        counting = Counting(tokenizer)
        spelling = Spelling(counting, stop=["no such"], before=ids_of(tokenizer, prompt) if prompt else [])
        ids = ids_of(tokenizer, TEXT * repeats)
        assert not any(spelling.ends(ids[: n + 1]) for n in range(len(ids)))
        pieces = list(spelling.pieces(ids))
        counts.append(counting.decoded)
        assert "".join(pieces) == spelling.text(ids)
    assert counts[1] < 2.2 * counts[0]
