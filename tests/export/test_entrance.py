from functools import partial

import pytest
import torch
from omniformer_tokenizers import ClassTokens, PatchTokenizer, PixelTokenizer, SpelledWordTokenizer, Tokens, pack

from omniformer.core.positions import Learned, Sinusoidal
from omniformer.embedders import (
    ClassTokenEmbedder,
    ConvStem,
    GridStem,
    IdEmbedder,
    Maskable,
    NGramEmbedder,
    NodeEmbedder,
    VectorEmbedder,
)
from omniformer.embedders.reads import Reads
from omniformer.export.entrance import Entrance, axes_of


def names(entrance):
    return [port.name for port in entrance.ports]


def test_text_comes_under_the_names_that_serving_programs_give_it():
    entrance = Entrance("text", IdEmbedder(d_model=8, vocab_size=9, segments=2), axes=1)
    assert names(entrance) == ["input_ids", "token_type_ids", "attention_mask"]


def test_other_modalities_bring_their_positions():
    vision = Entrance("vision", VectorEmbedder(d_model=8, features=16, axes=2), axes=2, seq="vision_seq")
    assert names(vision) == ["vision_values", "vision_positions", "vision_mask"]
    assert vision.ports[0].shape == ("batch", "vision_seq", 16)
    pixels = Entrance("pixels", IdEmbedder(d_model=8, vocab_size=9, axes=2), axes=2)
    assert names(pixels) == ["pixels_ids", "pixels_positions", "pixels_mask"]


@pytest.mark.parametrize("left", [False, True])
def test_padded_tokens_become_the_vectors_of_packed_ones(left):
    embedder = IdEmbedder(d_model=8, vocab_size=9, segments=3, position=Sinusoidal)
    entrance = Entrance("text", embedder, axes=1)
    generator = torch.Generator().manual_seed(0)
    pieces = [entrance.drawn(n, generator) for n in (4, 0, 2)]
    x, layout = entrance(entrance.fed(pieces, left=left))
    torch.testing.assert_close(x[layout.valid.flatten()], embedder(pack(pieces)))


def test_what_stands_in_padding_is_not_looked_at():
    entrance = Entrance("vision", VectorEmbedder(d_model=8, features=4, axes=2), axes=2)
    pieces = [entrance.drawn(n, torch.Generator().manual_seed(0)) for n in (3, 1)]
    tensors = entrance.fed(pieces)
    clean, _ = entrance(tensors)
    for each in tensors[:-1]:
        each[1, 1:] = torch.nan
    assert torch.equal(entrance(tensors)[0], clean)
    ids = Entrance("text", IdEmbedder(d_model=8, vocab_size=9), axes=1)
    assert ids([torch.tensor([[3, -100]]), torch.tensor([[1, 0]])])[0].isfinite().all()


def test_a_modality_that_is_absent_everywhere_has_no_columns():
    entrance = Entrance("text", IdEmbedder(d_model=8, vocab_size=9), axes=1)
    x, layout = entrance(entrance.fed([None, None]))
    assert (x.shape, layout.valid.shape) == ((0, 8), (2, 0))


def test_drawn_tokens_lie_on_the_grid_of_learned_positions():
    embedder = VectorEmbedder(d_model=8, features=4, axes=2, position=partial(Learned, sizes=[2, 3]))
    positions = Entrance("vision", embedder, axes=2).drawn(50, torch.Generator().manual_seed(0)).positions
    assert positions.amin() == 0
    assert positions.amax(0).tolist() == [1, 2]


def test_the_longest_text_is_as_long_as_its_learned_positions():
    embedder = IdEmbedder(d_model=8, vocab_size=9, position=partial(Learned, sizes=[12], first=2))
    entrance = Entrance("text", embedder, axes=1)
    assert [entrance.fitting(n) for n in (0, 4, 50)] == [0, 4, 10]


def test_the_number_of_axes_comes_from_positions_or_the_tokenizer():
    plain = IdEmbedder(d_model=8, vocab_size=9)
    assert axes_of(plain, None) == 1
    assert axes_of(plain, PixelTokenizer(image_size=[2, 2])) == 3  # row, column, channel
    placed = VectorEmbedder(d_model=8, features=4, axes=2, position=Sinusoidal)
    assert axes_of(Maskable(d_model=8, embedder=placed), None) == 2
    assert axes_of(VectorEmbedder(d_model=8, features=16), PatchTokenizer(patch_size=4, channels=1)) == 2


def test_nodes_of_graphs_are_refused_by_name():
    nodes = NodeEmbedder(d_model=8, vocab_sizes=[3])
    with pytest.raises(ValueError, match="embedder of 'graph' is a NodeEmbedder, which cannot be exported"):
        Entrance("graph", nodes, axes=0)
    with pytest.raises(ValueError, match="embedder of 'graph' is a Maskable, which cannot be exported"):
        Entrance("graph", Maskable(d_model=8, embedder=nodes), axes=0)


def test_pieces_keep_their_values():
    entrance = Entrance("text", IdEmbedder(d_model=8, vocab_size=9), axes=1)
    piece = Tokens(values=torch.tensor([4, 2]), positions=torch.tensor([[0.0], [1.0]]), modality="text")
    ids, mask = entrance.fed([piece, None], left=True)
    assert ids.tolist() == [[4, 2], [0, 0]]
    assert mask.tolist() == [[1, 1], [0, 0]]


def test_class_tokens_come_in_as_their_tokenizer_numbers_them():
    embedder = ClassTokenEmbedder(
        d_model=8, n_class_tokens=2, embedder=VectorEmbedder(d_model=8, features=16, axes=2, position=Sinusoidal)
    )
    entrance = Entrance("vision", embedder, axes=2)
    assert names(entrance) == ["vision_values", "vision_class_token", "vision_positions", "vision_mask"]
    tokenizer = ClassTokens(tokenizer=PatchTokenizer(patch_size=4, channels=1), n=2)
    pieces = [tokenizer(torch.rand(1, 8, 4 * n, generator=torch.Generator().manual_seed(n))) for n in (1, 3)]
    x, layout = entrance(entrance.fed(pieces))
    torch.testing.assert_close(x[layout.valid.flatten()], embedder(pack(pieces)))


@pytest.mark.parametrize("left", [False, True])
def test_letters_come_in_as_several_numbers_a_token(left):
    tokenizer = SpelledWordTokenizer(letters=6).fit(["the cat"])
    embedder = NGramEmbedder(d_model=8, **tokenizer.facts)
    entrance = Entrance("text", embedder, axes=1)
    assert [(port.name, port.shape[2:]) for port in entrance.ports] == [
        ("input_ids", ()),
        ("letters", (6,)),
        ("attention_mask", ()),
    ]
    pieces = [tokenizer(text) for text in ("the cats sat", "", "a")]
    x, layout = entrance(entrance.fed(pieces, left=left))
    torch.testing.assert_close(x[layout.valid.flatten()], embedder(pack(pieces)))
    assert entrance.drawn(4, torch.Generator()).features["letters"].shape == (4, 6)


@pytest.mark.parametrize("left", [False, True])
def test_a_picture_in_a_padded_row_is_convolved_as_one_by_itself(left):
    tokenizer = PatchTokenizer(patch_size=4, channels=1, image_size=(8, 12))
    stem = GridStem(d_model=8, **tokenizer.facts)
    torch.nn.init.normal_(stem.convs[0].bias)
    entrance = Entrance("vision", stem, axes=2)
    pieces = [entrance.drawn(entrance.fitting(n), torch.Generator().manual_seed(n)) for n in (2, 99, 5)]
    assert [len(piece) for piece in pieces] == [2, 6, 5]
    x, layout = entrance(entrance.fed([pieces[0], None, *pieces[1:]], left=left))
    torch.testing.assert_close(x[layout.valid.flatten()], stem(pack(pieces)))


@pytest.mark.parametrize("left", [False, True])
def test_a_sound_in_a_padded_row_is_heard_as_one_by_itself(left):
    stem = ConvStem(d_model=8, features=6, position=Sinusoidal)
    entrance = Entrance("audio", stem, axes=1)
    sounds = [entrance.drawn(n, torch.Generator().manual_seed(n)) for n in (4, 0, 1, 7)]
    x, layout = entrance(entrance.fed(sounds, left=left))
    torch.testing.assert_close(x[layout.valid.flatten()], stem(pack(sounds)))


def test_an_embedder_of_ones_own_comes_in_by_what_it_says_it_reads():
    class Scaled(torch.nn.Module):
        reads = Reads(numbers=1)

        def forward(self, packed):
            return packed.values * torch.ones(8)

    entrance = Entrance("series", Scaled(), axes=1)
    assert names(entrance) == ["series_values", "series_positions", "series_mask"]
    pieces = [entrance.drawn(n, torch.Generator().manual_seed(n)) for n in (2, 3)]
    x, layout = entrance(entrance.fed(pieces))
    assert torch.equal(x[layout.valid.flatten()], Scaled()(pack(pieces)))
