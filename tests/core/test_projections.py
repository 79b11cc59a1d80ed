"""Layers say which rows of their maps mean what, and the rows do mean that."""

from functools import partial

import pytest
import torch

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.feedforward import FeedForward, GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.projections import Projection, stack
from omniformer.core.rules import Full

LAYOUT = Layout.from_lengths(2, 3)
X = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))


def test_rows_lie_below_each_other():
    found = stack("qkv", query=4, key=2, value=2)
    assert found["key"] == Projection(module="qkv", first=4, last=6)
    assert [(each.first, each.last) for each in found.values()] == [(0, 4), (4, 6), (6, 8)]


@pytest.mark.parametrize(
    "make",
    [
        partial(SelfAttention, d_model=8, n_heads=4, n_kv_heads=2),
        partial(CrossAttention, d_model=8, n_heads=2, d_memory=6),
        partial(FeedForward, 8),
        partial(GatedFeedForward, 8),
    ],
)
def test_every_row_of_every_map_means_one_thing(make):
    layer = make()
    rows: dict[str, list[int]] = {}
    for part in layer.projections.values():
        rows.setdefault(part.module, []).extend(range(part.first, part.last))
    maps = {name: linear.out_features for name, linear in layer.named_children() if isinstance(linear, torch.nn.Linear)}
    assert {name: sorted(found) for name, found in rows.items()} == {name: list(range(n)) for name, n in maps.items()}


def test_without_values_nothing_is_collected_and_without_queries_everybody_gets_the_mean():
    context = Context(plan=lower(Full(), LAYOUT))
    for name in ("value", "query"):
        layer = SelfAttention(d_model=8, n_heads=2, bias=False)
        part = layer.projections[name]
        with torch.no_grad():
            layer.qkv.weight[part.first : part.last] = 0
        out = layer(X, context)
        if name == "value":
            assert not out.any()
        else:
            torch.testing.assert_close(out[0], out[1])
            torch.testing.assert_close(out[2], out[4])


def test_without_up_a_gated_layer_says_nothing():
    layer = GatedFeedForward(8)
    part = layer.projections["up"]
    with torch.no_grad():
        layer.gate_up.weight[part.first : part.last] = 0
    assert not layer(X).any()
