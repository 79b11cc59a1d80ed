"""Texts that are cut keep what closes them."""

import omniformer_tokenizers as ot
import torch
from omniformer_tokenizers import ByteTokenizer, Tokens
from omniformer_tokenizers.text.shortening import closing_specials, shortened

import tokenizers


class Closed:
    """Ids of which 7 and 8 are special."""

    special_tokens = ("a", "b")
    stops = (8,)

    def special_id(self, name):
        return {"a": 7, "b": 8}[name]


def tokens(*ids):
    positions = torch.arange(len(ids), dtype=torch.float32)[:, None]
    segment = torch.tensor([i % 2 for i in ids])
    return Tokens(values=torch.tensor(ids), positions=positions, modality="text", features={"segment": segment})


def test_closing_tokens_stay_and_positions_count_on():
    cut = shortened(tokens(7, 1, 2, 3, 4, 8), Closed(), 4)
    assert cut.values.tolist() == [7, 1, 2, 8]
    assert cut.positions[:, 0].tolist() == [0, 1, 2, 3]
    assert cut.features["segment"].tolist() == [1, 1, 0, 0]


def test_something_of_the_text_stays_whatever_closes_it():
    assert shortened(tokens(1, 2, 8, 7, 8), Closed(), 2).values.tolist() == [1, 8]


def test_texts_that_fit_are_the_same_object():
    text = tokens(1, 2, 3)
    assert shortened(text, Closed(), 3) is text and shortened(text, Closed(), None) is text


def test_texts_without_special_tokens_lose_their_end():
    text = ByteTokenizer()
    assert text.decode(shortened(text("hello"), text, 3)) == "hel"
    assert closing_specials([1, 2], Closed()) == 0 and closing_specials([1, 8, 7], Closed()) == 2


def test_padding_goes_before_words_do():
    model = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({"a": 0, "b": 1, "c": 2, "[E]": 3, "[P]": 4}, unk_token="[P]")
    )
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.add_special_tokens(["[E]", "[P]"])
    model.post_processor = tokenizers.processors.TemplateProcessing(single="$A [E]", special_tokens=[("[E]", 3)])
    inside = ot.SubwordTokenizer.from_model(model, stop="[E]")
    for pad, most, expected in (
        (4, 5, [0, 1, 2, 3, 4]),
        (4, 4, [0, 1, 3, 4]),
        (3, 5, [0, 1, 2, 3, 3]),
        (3, 3, [0, 1, 3]),
    ):
        padded = ot.PaddedTokenizer(tokenizer=inside, length=9, pad=pad)
        found = shortened(padded("a b c"), padded, most)
        assert found.values.tolist() == expected and len(found.positions) == most
