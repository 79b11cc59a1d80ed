"""Pictures through a tower of their own."""

from dataclasses import replace

import pytest
import torch
from omniformer_tokenizers import ClassTokens, PatchTokenizer, pack, unpack

from omniformer.core import Transformer
from omniformer.core.layout import Layout
from omniformer.embedders import ClassTokenEmbedder, TowerEmbedder, VectorEmbedder

PATCHES = PatchTokenizer(patch_size=4, channels=1)


def pictures(tokenizer, *sizes):
    generator = torch.Generator().manual_seed(0)
    return pack([tokenizer(torch.rand(1, *size, generator=generator)) for size in sizes])


def tower_of(n_class_tokens, **options):
    torch.manual_seed(0)
    embedder = VectorEmbedder(d_model=8, features=16, axes=2)
    if n_class_tokens:
        embedder = ClassTokenEmbedder(d_model=8, embedder=embedder, n_class_tokens=n_class_tokens)
    tower = Transformer(d_model=8, n_layers=3, n_heads=2)
    return TowerEmbedder(d_model=6, embedder=embedder, tower=tower, n_class_tokens=n_class_tokens, **options).double()


def test_class_tokens_are_of_the_tower_alone():
    embedder = tower_of(2)
    sizes = [(8, 8), (4, 12)]
    found = embedder(pictures(PATCHES, *sizes))
    with_class = pictures(ClassTokens(tokenizer=PATCHES, n=2), *sizes)
    x = embedder.tower(embedder.embedder(with_class), Layout(lengths=with_class.lengths))
    torch.testing.assert_close(found, embedder.map(x[with_class.features["class_token"] == 0]))


def test_a_picture_does_not_see_its_neighbours_and_one_without_tokens_takes_no_place():
    embedder, sizes = tower_of(1), [(8, 8), (4, 12)]
    first, second = unpack(pictures(PATCHES, *sizes))
    empty = replace(first, values=first.values[:0], positions=first.positions[:0])
    found = embedder(pack([first, empty, second]))
    torch.testing.assert_close(found, torch.cat([embedder(pack([each])) for each in (first, second)]))


def test_an_inner_layer_is_read_before_the_norm_through_two_maps():
    embedder, packed = tower_of(0, read=2, activation="relu"), pictures(PATCHES, (8, 8))
    stages: dict = {}
    embedder.tower(embedder.embedder(packed), Layout(lengths=packed.lengths), stages=stages)
    expected = embedder.second(embedder.map(stages["blocks.1"]).relu())
    found = embedder(packed)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    # What nobody reads has a gradient all the same, of zero: other processes would wait for it.
    assert all(each.grad is not None for each in embedder.parameters())
    assert embedder.tower.blocks[2].attention.branch.qkv.weight.grad.abs().max() == 0


def test_more_blocks_than_there_are_are_refused():
    with pytest.raises(ValueError, match="read=4 is more than the tower's n_layers=3"):
        tower_of(0, read=4)
