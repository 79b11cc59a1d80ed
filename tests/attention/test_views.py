"""How weights are drawn on pictures, sounds, graphs and texts."""

import pytest
import torch
from omniformer_tokenizers import ClassTokens, GraphTokenizer, PatchTokenizer, SpectrogramTokenizer, WordTokenizer

from omniformer.attention.views import Panel, grid, most_read, names, view_of
from omniformer.pages.drawing import drawn

WORDS = WordTokenizer().fit(["a dog runs in the snow"])
PATCHES = PatchTokenizer(patch_size=4, channels=1)
PICTURE = torch.randint(0, 256, (1, 8, 12), dtype=torch.uint8)
SOUND = torch.randn(4000)
FRAMES = SpectrogramTokenizer(sample_rate=8000, n_mels=8, frames_per_token=2)
SQUARES = SpectrogramTokenizer(sample_rate=8000, n_mels=8, frames_per_token=4, bands_per_token=4)
PATH = {"n_nodes": 3, "edges": [[0, 1], [1, 2]]}


def panel(tokenizer, raw, rows=3):
    piece = tokenizer(raw)
    weights = torch.rand(rows, len(piece))
    return Panel(piece=piece, tokenizer=tokenizer, weights=weights, labels=[f"row {i}" for i in range(rows)])


CASES = {
    "OnPicture": (PATCHES, PICTURE),
    "OverSound": (FRAMES, SOUND),
    "OnSpectrogram": (SQUARES, SOUND),
    "OnGraph": (GraphTokenizer(), PATH),
    "Beside": (WORDS, "a dog runs"),
    "Long": (WORDS, "a dog " * 40),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_piece_has_its_view_and_names_every_row(kind):
    pytest.importorskip("matplotlib")
    shown = panel(*CASES[kind])
    view = view_of(shown)
    assert type(view).__name__ == kind
    svg = drawn(lambda figure: view.draw(figure, shown), 8.0, view.height(shown))
    for label in shown.labels:
        assert f">{label}<" in svg


def test_more_rows_than_fit_beside_each_other_make_a_drawing_higher():
    shown = panel(PATCHES, PICTURE, rows=14)
    view = view_of(shown)
    assert view.height(shown) > 2 * view.height(panel(PATCHES, PICTURE, rows=5))


def test_class_tokens_are_no_patches_and_their_weight_is_told():
    shown = panel(ClassTokens(tokenizer=PATCHES), PICTURE, rows=1)
    bare = shown.bare()
    assert len(bare.piece) == 6 and torch.equal(bare.weights, shown.weights[:, 1:]) and bare.tokenizer is PATCHES
    assert bare.labels == [f"row 0 ({float(shown.weights[0, 0]):.2f} class token)"]


def test_tokens_of_texts_are_named_by_what_they_say_and_others_by_number():
    assert names(panel(WORDS, "a dog")) == ["a", "dog"]
    assert names(panel(GraphTokenizer(), PATH)) == ["0", "1", "2"]


def test_the_stretch_that_counts_most_holds_most_weight():
    weights = torch.zeros(2, 90)
    weights[0, 40], weights[1, 47], weights[1, 3] = 1.0, 0.6, 0.4
    first, last = most_read(weights, n=10)
    assert last - first == 10 and first <= 40 and last > 47


def test_patches_lie_where_their_coordinates_say():
    tokens = PATCHES(PICTURE)
    order = torch.tensor([5, 0, 3, 1, 2, 4])
    weights = torch.arange(6.0)
    shuffled = grid(tokens.positions[order], weights[order])
    assert shuffled.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
