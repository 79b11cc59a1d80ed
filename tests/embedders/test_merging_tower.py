"""Blocks of patches through a tower that sees patches."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from omniformer_tokenizers import PatchBlockTokenizer, pack

from omniformer.core import Transformer
from omniformer.core.layer_kinds import LayerKind
from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Alike
from omniformer.embedders import MergingTowerEmbedder, VectorEmbedder

BLOCKS = PatchBlockTokenizer(patch_size=2, block=2, frames=1, channels=1)
SIZES = [(12, 8), (4, 4), (20, 12)]


def pictures(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [BLOCKS(torch.rand(1, *size, generator=generator)) for size in sizes]


def merging(**options):
    torch.manual_seed(0)
    kinds = {"all": LayerKind(), "near": LayerKind(rule=Alike(feature="window"))} if "window" in options else None
    rotary = partial(Rotary, n_axes=2)
    tower = Transformer(d_model=8, n_layers=2, n_heads=2, rotary=rotary, kinds=kinds, pattern=kinds and list(kinds))
    patches = VectorEmbedder(d_model=8, features=4, axes=2)
    return MergingTowerEmbedder(d_model=6, embedder=patches, tower=tower, **options).double()


def slowly(embedder, picture):
    """One picture, patch by patch in rows, each block picked out of the grid."""
    rows, columns = ((picture.positions[:, 1:].amax(0) + 1) * 2).long().tolist()
    grid = torch.zeros(rows, columns, 4, dtype=torch.double)
    for values, (_, row, column) in zip(picture.values.double(), picture.positions.long().tolist(), strict=True):
        for i, patch in enumerate(values.view(4, 4)):
            grid[2 * row + i // 2, 2 * column + i % 2] = patch
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    n = embedder.window or max(rows, columns)
    window = (places[:, 0] // n) * 1000 + places[:, 1] // n
    layout = Layout(lengths=torch.tensor([rows * columns]), positions=places.double(), features={"window": window})
    x = embedder.tower(embedder.embedder.map(grid.view(-1, 4)), layout).view(rows, columns, -1)
    found = []
    for _, row, column in picture.positions.long().tolist():
        joined = torch.cat([x[2 * row + i // 2, 2 * column + i % 2] for i in range(4)])
        y = embedder.map(joined)
        found.append(y if embedder.second is None else embedder.second(torch.nn.functional.gelu(y)))
    return torch.stack(found)


@pytest.mark.parametrize(
    "options", [{}, {"hidden": 12}, {"hidden": 5, "window": 4}, {"window": 8, "bias": False}], ids=str
)
def test_patches_see_each_other_as_in_a_grid_and_blocks_are_joined(options):
    embedder, packed = merging(**options), pictures(*SIZES)
    expected = torch.cat([slowly(embedder, each) for each in packed])
    torch.testing.assert_close(embedder(pack(packed)), expected)


def test_a_picture_does_not_see_its_neighbours_and_one_without_tokens_takes_no_place():
    embedder, (first, second, _) = merging(window=4), pictures(*SIZES)
    empty = replace(first, values=first.values[:0], positions=first.positions[:0])
    found = embedder(pack([first, empty, second]))
    torch.testing.assert_close(found, torch.cat([embedder(pack([each])) for each in (first, second)]))
    assert embedder(pack([empty])).shape == (0, 6)


def test_frames_of_a_picture_see_themselves_alone():
    embedder, (picture, *_) = merging(window=4), pictures((12, 8))
    later = replace(picture, positions=picture.positions + torch.tensor([1.0, 0.0, 0.0]), values=-picture.values)
    both = {name: torch.cat([getattr(picture, name), getattr(later, name)]) for name in ("values", "positions")}
    found = embedder(pack([replace(picture, **both)]))
    torch.testing.assert_close(found, torch.cat([embedder(pack([each])) for each in (picture, later)]))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="window=3 is no multiple of block=2"):
        merging(window=3)
    packed = pack(pictures((4, 4)))
    with pytest.raises(ValueError, match="positions of 1 axes; row and column are needed"):
        merging()(replace(packed, positions=packed.positions[:, :1]))
    with pytest.raises(ValueError, match="tokens of 15 numbers are no blocks of 2 x 2 patches"):
        merging()(replace(packed, values=packed.values[:, :15]))
