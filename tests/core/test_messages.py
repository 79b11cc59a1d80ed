"""Sums along edges: as plain loops have them, blind to the order of nodes, and able to count."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.messages import EdgeSum, MessageBlock
from omniformer.core.rules import Causal, Full
from omniformer.core.transformer import Transformer

KINDS = {"edge_vocab_sizes": [4, 2], "edge_features": 1}
SIZES = {"d_model": 8, "n_layers": 2, "n_heads": 2}


def graphs():
    """Two graphs of four and two nodes; every edge has two categories and a number; one edge is there twice."""
    return Layout(
        lengths=torch.tensor([4, 2]),
        edges=torch.tensor([[0, 1, 1, 3, 0, 5], [1, 0, 2, 2, 1, 4]]),
        edge_features=torch.tensor([[0, 1, 0.5], [3, 0, -1], [2, 1, 0], [1, 1, 2], [0, 1, 0.5], [3, 1, 1]]),
    )


def context(layout):
    return Context(plan=lower(Full(), layout))


def test_a_token_sums_what_arrives_along_its_edges():
    torch.manual_seed(0)
    part, layout, x = EdgeSum(8, **KINDS), graphs(), torch.randn(6, 8)
    torch.nn.init.constant_(part.own, 0.3)
    total = 1.3 * x
    for edge, (source, target) in enumerate(layout.edges.T.tolist()):
        first, second, number = layout.edge_features[edge].tolist()
        said = x[source] + part.table[int(first)] + part.table[4 + int(second)] + number * part.table[6]
        total[target] = total[target] + F.relu(said)
    torch.testing.assert_close(part(x, context(layout)), part.down(F.relu(part.up(total))))


def test_a_block_attends_and_sums_from_the_same_tokens():
    torch.manual_seed(0)
    core = Transformer(**SIZES, block=partial(MessageBlock, **KINDS))
    block, layout, x = core.blocks[0], graphs(), torch.randn(6, 8)
    both = x + block.attention.update(x, context(layout)) + block.messages.update(x, context(layout))
    torch.testing.assert_close(block(x, context(layout)), block.feedforward(both, context(layout)))


def test_samples_do_not_see_each_other_and_the_order_of_nodes_does_not_matter():
    torch.manual_seed(0)
    core, layout, x = Transformer(**SIZES, block=partial(MessageBlock, **KINDS)).eval(), graphs(), torch.randn(6, 8)
    out = core(x, layout)
    alone = Layout(lengths=torch.tensor([2]), edges=torch.tensor([[1], [0]]), edge_features=layout.edge_features[5:])
    torch.testing.assert_close(core(x[4:], alone), out[4:])
    order = torch.tensor([2, 0, 3, 1, 4, 5])
    moved = Layout(lengths=layout.lengths, edges=torch.argsort(order)[layout.edges], edge_features=layout.edge_features)
    torch.testing.assert_close(core(x[order], moved), out[order], rtol=1e-5, atol=1e-6)


def test_a_sum_tells_how_many_neighbours_say_the_same_where_a_mean_cannot():
    part = EdgeSum(8)
    one, two = (
        Layout(lengths=torch.tensor([3]), edges=torch.tensor(edges)) for edges in ([[1], [0]], [[1, 2], [0, 0]])
    )
    x = torch.ones(3, 8)
    assert not torch.allclose(part(x, context(one))[0], part(x, context(two))[0])


def test_tokens_without_edges_pass_and_every_weight_has_a_gradient():
    core, layout = Transformer(**SIZES, block=partial(MessageBlock, **KINDS)), Layout.from_lengths(3, 2)
    core(torch.randn(5, 8), layout).sum().backward()
    assert [name for name, each in core.named_parameters() if each.grad is None] == []


def test_edges_of_another_kind_are_told():
    layout = graphs()
    plain = Layout(lengths=layout.lengths, edges=layout.edges)
    with pytest.raises(ValueError, match="edges have 3 features; this EdgeSum has 1 fields and 0 features"):
        EdgeSum(8, edge_vocab_sizes=[4])(torch.zeros(6, 8), context(layout))
    with pytest.raises(ValueError, match="EdgeSum needs edge features, and the layout has none"):
        EdgeSum(8, edge_features=1)(torch.zeros(6, 8), context(plain))


def test_a_cache_which_keeps_no_edges_is_refused():
    core = Transformer(**SIZES, block=MessageBlock)
    cache = KVCache(n_layers=2, n_samples=1)
    new, _ = cache.extend(torch.tensor([3]))
    with pytest.raises(ValueError, match="EdgeSum joins tokens of one sequence by its edges, which a cache does not"):
        core(torch.zeros(3, 8), new, Causal(), cache=cache)
