import pytest
import torch
from omniformer_tokenizers import BPETokenizer, ByteTokenizer, PatchTokenizer

from omniformer.generation.places import Places, answer_in, places_of

TEXT = BPETokenizer(vocab_size=270).fit(["a cat sat, a cat ran"])


def test_tokens_say_where_they_stand():
    places = places_of("a cat ran", {"text": TEXT})
    assert places is not None
    n_tokens = len(TEXT("a cat ran"))
    assert "".join(places.of(i, i)[0] for i in range(n_tokens)) == "a cat ran"
    assert places.of(0, n_tokens - 1) == ("a cat ran", (0, 9))
    assert places.answers.all()


def test_of_a_text_that_was_cut_the_places_of_what_is_left_remain():
    places = places_of("a cat ran", {"text": TEXT})
    assert places is not None and len(places.text) > 2
    short = places.cut(2)
    assert len(short.text) == 2 and short.of(0, 1) == places.of(0, 1)
    assert len(places.cut(99).text) == len(places.text)
    closed = Places(texts=("ab",), text=torch.tensor([-1, 0, 0, -1, -1]), offsets=torch.zeros(5, 2, dtype=torch.int64))
    assert closed.cut(4).text.tolist() == [-1, 0, -1, -1]


def test_files_are_read_as_the_texts_in_them(tmp_path):
    path = tmp_path / "cat.txt"
    path.write_text("a cat")
    places = places_of(path, {"text": TEXT})
    assert places is not None and places.of(0, 0)[0] == "a"


@pytest.mark.parametrize(
    ("raw", "tokenizers"),
    [
        (("a", "cat"), {"text": ByteTokenizer()}),
        ("a cat", {"text": TEXT, "vision": PatchTokenizer(patch_size=4)}),
        (torch.zeros(3, 8, 8), {"vision": PatchTokenizer(patch_size=4)}),
    ],
    ids=["a pair for one text", "more than text", "a picture"],
)
def test_where_nobody_can_say_there_are_no_places(raw, tokenizers):
    assert places_of(raw, tokenizers) is None


def test_the_best_answer_keeps_to_what_is_allowed():
    scores = torch.randn(7, 2, generator=torch.Generator().manual_seed(0)) * 3
    allowed = torch.tensor([False, True, True, False, True, True, False])
    start, end = (scores[:, i][allowed].softmax(0) for i in (0, 1))
    pairs = {(i, j): float(start[i] * end[j]) for i in range(4) for j in range(i, 4)}
    best = max(pairs, key=lambda pair: pairs[pair])
    kept = allowed.nonzero().flatten()
    first, last, score = answer_in(scores, allowed)
    assert (first, last) == tuple(kept[list(best)].tolist())
    assert score == pytest.approx(pairs[best], rel=1e-5)


def test_there_is_no_answer_where_none_is_allowed():
    assert answer_in(torch.zeros(2, 2), torch.tensor([False, False])) is None
    assert answer_in(torch.zeros(0, 2), torch.zeros(0, dtype=torch.bool)) is None
