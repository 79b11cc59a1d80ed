from functools import partial

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.heads.contrastive import ContrastiveHead
from omniformer.heads.pooling import AttentionPool, DenseLastToken, FirstToken, LastToken, MeanPool

LAYOUT = Layout.from_lengths(2, 0, 3)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def head(**changes) -> ContrastiveHead:
    torch.manual_seed(0)
    return ContrastiveHead(**{"d_model": 4, "modalities": ["a", "b"], "d_embedding": 6, **changes})


def test_embeddings_are_mapped_means_of_length_one_and_zero_for_no_tokens(x):
    it = head()
    mapped = torch.stack([x[:2].mean(0), x[2:].mean(0)]) @ it.maps["b"].weight.T
    found = it.embed(x, LAYOUT, "b")
    torch.testing.assert_close(found[[0, 2]], mapped / mapped.norm(dim=1, keepdim=True))
    assert not found[1].any()


def test_each_modality_has_its_own_map_and_forward_gives_them_all(x):
    it = head(pool=AttentionPool)
    rows = it(x, LAYOUT)
    assert rows.shape == (3, 2, 6)
    torch.testing.assert_close(rows[:, 1], it.embed(x, LAYOUT, "b"))
    assert not torch.allclose(rows[0, 0], rows[0, 1])


def test_the_scale_starts_at_the_inverse_temperature_and_stops_at_one_hundred():
    it = head(temperature=0.05)
    assert it.scale().item() == pytest.approx(20)
    with torch.no_grad():
        it.log_scale.fill_(9.0)
    assert it.scale().item() == pytest.approx(100)
    (gradient,) = torch.autograd.grad(it.scale(), it.log_scale)
    assert gradient.item() == pytest.approx(100)


def test_the_scale_grows_without_bound_where_it_has_none():
    it = head(temperature=0.001, max_scale=None)
    assert it.train().scale().item() == pytest.approx(1000, rel=1e-4)


def test_without_maps_the_pooled_vectors_are_compared(x):
    it = head(d_embedding=None)
    found, pooled = it.embed(x, LAYOUT, "b"), MeanPool(d_model=4)(x, LAYOUT)
    torch.testing.assert_close(found, torch.nn.functional.normalize(pooled, dim=-1))
    assert it.d_embedding == 4 and not list(it.maps.parameters())


def test_only_a_head_with_a_bias_has_one():
    assert head().bias is None
    assert head(bias=-10.0).bias.item() == -10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"modalities": ["a"]}, "two or more different"),
        ({"modalities": ["a", "a", "b"]}, "two or more different"),
        ({"d_model": {"a": 4}}, "d_model is given for a; this head has modalities a, b"),
        ({"pool": {"a": FirstToken, "b": FirstToken, "c": FirstToken}}, "pool is given for a, b, c; this head has"),
        ({"temperature": 0.0}, "temperature=0.0 must be at least 0.01"),
        ({"temperature": 0.0, "max_scale": None}, "temperature=0.0 must be above 0"),
        ({"max_scale": 0.0}, "max_scale=0.0 must be above 0"),
        (
            {"d_embedding": None, "pool": {"a": FirstToken, "b": partial(DenseLastToken, d_out=3)}},
            "d_embedding=None needs poolings of one width, received {'a': 4, 'b': 3}",
        ),
    ],
)
def test_impossible_heads_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        head(**wrong)


def test_modalities_may_have_widths_and_poolings_of_their_own(x):
    it = head(d_model={"a": 4, "b": 3}, pool={"a": FirstToken, "b": LastToken})
    vectors = it.embed(x[:, :3], LAYOUT, "b")[[0, 2]]
    mapped = x[[1, 4], :3] @ it.maps["b"].weight.T
    torch.testing.assert_close(vectors, mapped / mapped.norm(dim=1, keepdim=True))
    assert it.embed(x, LAYOUT, "a").shape == (3, 6)
    with pytest.raises(ValueError, match=r"widths {'a': 4, 'b': 3} are read by embed"):
        it(x, LAYOUT)


def test_no_tokens_fit_every_width():
    it = head(d_model={"a": 4, "b": 3})
    assert not it.embed(torch.zeros(0, 4), Layout.from_lengths(0, 0), "b").any()


def test_an_unknown_modality_is_told_with_the_known_ones(x):
    with pytest.raises(ValueError, match="no map for modality 'c'; this head has a, b"):
        head().embed(x, LAYOUT, "c")
