import pytest
import torch
from omniformer_tokenizers import ClassTokens, PatchTokenizer, pack

from omniformer.config import build
from omniformer.core.norm import LayerNorm
from omniformer.core.positions import Learned
from omniformer.embedders import VectorEmbedder
from omniformer.embedders.class_tokens import ClassTokenEmbedder

PATCHES = PatchTokenizer(patch_size=4, channels=1)
PICTURES = [torch.rand(1, 8, 8), torch.rand(1, 4, 12)]


def embedder(n=2, **parts):
    torch.manual_seed(0)
    patches = VectorEmbedder(d_model=6, features=16, axes=2, position=lambda **sizes: Learned(**sizes, sizes=[2, 3]))
    return ClassTokenEmbedder(d_model=6, embedder=patches, n_class_tokens=n, **parts)


def packed(n=2):
    tokenizer = ClassTokens(tokenizer=PATCHES, n=n)
    return pack([tokenizer(picture) for picture in PICTURES])


def test_class_tokens_are_learned_and_the_others_are_embedded_as_ever():
    it = embedder()
    x = it(packed()).split([6, 5])
    for rows, picture in zip(x, PICTURES, strict=True):
        assert torch.equal(rows[:2], it.vectors + it.positions)
        assert torch.equal(rows[2:], it.embedder(pack([PATCHES(picture)])))


def test_the_norm_is_over_everything():
    it = embedder(norm=LayerNorm)
    x = it(packed())
    torch.testing.assert_close(x.mean(1), torch.zeros(11), rtol=0, atol=1e-6)


def test_every_parameter_learns_and_a_patch_in_the_first_corner_alone_moves_its_position():
    it = embedder()
    it(packed()).sum().backward()
    for name, parameter in it.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    # Two patches lie in the corner; the four class tokens do not count, though they have its coordinates.
    assert it.embedder.position.table.grad[0, 0].tolist() == [2.0] * 6


def test_facts_of_the_tokenizer_reach_both_embedders():
    node = {
        "_target_": "omniformer.embedders.ClassTokenEmbedder",
        "embedder": {"_target_": "omniformer.embedders.VectorEmbedder"},
    }
    it = build(node, "embedder", d_model=6, **ClassTokens(tokenizer=PATCHES, n=3).facts)
    assert it.vectors.shape == (3, 6)
    assert it.embedder.map.in_features == 16


def test_tokens_without_class_tokens_are_refused():
    with pytest.raises(ValueError, match="'vision' have no feature 'class_token'.*wrap their tokenizer"):
        embedder()(pack([PATCHES(PICTURES[0])]))


def test_registers_are_class_tokens_that_stand_nowhere():
    it = embedder(n=3, n_registers=2)
    assert it.positions.shape == (1, 6)
    first = it(packed(3))[:3]
    assert torch.equal(first, torch.stack([it.vectors[0] + it.positions[0], *it.vectors[1:]]))
    first.sum().backward()
    assert torch.equal(it.positions.grad, torch.ones(1, 6))
    with pytest.raises(ValueError, match="n_registers=3 must be at most n_class_tokens=2"):
        embedder(n=2, n_registers=3)


def test_where_all_are_registers_none_has_a_position():
    it = embedder(n=2, n_registers=2)
    assert it.positions is None and torch.equal(it(packed())[:2], it.vectors)


def test_more_class_tokens_than_vectors_are_refused():
    with pytest.raises(ValueError, match="a sample has 3 class tokens, this embedder 2 vectors; set n_class_tokens=3"):
        embedder()(packed(3))
    with pytest.raises(ValueError, match="n_class_tokens=0 must be at least 1"):
        embedder(0)
