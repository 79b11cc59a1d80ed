import gc

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from omniformer.core import layout as layout_file
from omniformer.core.attention.edges import Edges
from omniformer.core.attention.reference import Reference
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Global, Neighbours, Self, Window
from omniformer.data.pyg_dataset import pyg


def graph(n_tokens, n_edges, seed=0):
    generator = torch.Generator().manual_seed(seed)
    number = torch.randperm(n_tokens * n_tokens, generator=generator)[:n_edges]
    return Layout(lengths=torch.tensor([n_tokens]), edges=torch.stack([number // n_tokens, number % n_tokens]))


class EdgeTable(torch.nn.Module):
    """A free number for each head and pair of tokens."""

    def __init__(self, n_heads, n_tokens):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(n_heads, n_tokens, n_tokens, dtype=torch.float64))

    def forward(self, query, key):
        return self.table[:, query.token, key.token]


@pytest.mark.quick(1)
@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_written_out_derivatives_are_those_of_finite_differences(n_kv_heads):
    layout = graph(6, 14)
    kernel, bias = Edges(Neighbours(), layout, layout), EdgeTable(4, 6)
    q, k, v = (torch.randn(6, n, 3, dtype=torch.float64, requires_grad=True) for n in (4, n_kv_heads, n_kv_heads))

    def attend(q, k, v, table):
        bias.table = torch.nn.Parameter(table.detach())
        del bias.table
        bias.table = table
        return kernel(q, k, v, scale=0.7, bias=bias)

    table = bias.table.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(attend, (q, k, v, table))


def test_dropout_uses_the_same_draw_forward_and_backward():
    layout = graph(6, 14)
    kernel = Edges(Neighbours() | Self(), layout, layout)
    q, k, v = (torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(3))

    def attend(q, k, v):
        torch.manual_seed(0)
        return kernel(q, k, v, scale=0.7, dropout=0.4)

    assert torch.autograd.gradcheck(attend, (q, k, v))


def test_against_pyg_transformer_conv_with_its_weights():
    pyg("datasets")  # imports PyG without its own deprecation notices
    from torch_geometric.nn import TransformerConv

    conv = TransformerConv(8, 4, heads=3, root_weight=False)
    layout = graph(20, 60)
    x = torch.randn(20, 8, requires_grad=True)
    q, k, v = (
        torch.nn.functional.linear(x, lin.weight, lin.bias).view(20, 3, 4)
        for lin in (conv.lin_query, conv.lin_key, conv.lin_value)
    )
    ours = Edges(Neighbours(), layout, layout)(q, k, v, scale=4**-0.5).flatten(1)
    theirs = conv(x, layout.edges)
    torch.testing.assert_close(ours, theirs)
    weight, leaves = torch.randn_like(theirs), [x, *(p for n, p in conv.named_parameters() if "skip" not in n)]
    for a, b in zip(
        torch.autograd.grad(ours, leaves, weight), torch.autograd.grad(theirs, leaves, weight), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_between_the_passes_only_one_number_for_each_pair_and_head_is_kept():
    layout = graph(50, 1000)
    q, k, v = (torch.randn(50, 4, 16, requires_grad=True) for _ in range(3))
    saved = {}

    def count(tensor):
        saved[tensor.data_ptr()] = tensor.numel()
        return tensor

    with saved_tensors_hooks(count, lambda tensor: tensor):
        Edges(Neighbours(), layout, layout)(q, k, v, scale=0.25)
    one_a_query = 50 * 4
    assert sum(saved.values()) <= 4 * q.numel() + 1000 * 4 + one_a_query


def test_what_is_kept_lies_as_the_backward_pass_reads_it_and_keeps_nothing_else_alive():
    layout = graph(50, 100)
    joined = torch.randn(50, 12, 16, requires_grad=True) * 2  # a projection, of which each is a part of every row
    saved = []

    def keep(tensor):
        saved.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        Edges(Neighbours(), layout, layout)(*joined.split(4, dim=1), scale=0.25)
    assert all(each.is_contiguous() and each.untyped_storage().nbytes() == 4 * each.numel() for each in saved)


def test_the_order_of_the_edges_does_not_matter():
    layout = graph(20, 60)
    turned = Layout(lengths=layout.lengths, edges=layout.edges[:, torch.randperm(60)])
    q, k, v = (torch.randn(20, 2, 4) for _ in range(3))
    one, other = (Edges(Neighbours(), each, each)(q, k, v, scale=0.5) for each in (layout, turned))
    assert torch.equal(one, other)


def test_nodes_may_be_renumbered():
    layout, order = graph(20, 60), torch.randperm(20)
    place = torch.argsort(order)
    turned = Layout(lengths=layout.lengths, edges=place[layout.edges])
    q, k, v = (torch.randn(20, 2, 4, dtype=torch.float64) for _ in range(3))
    one = Edges(Neighbours(), layout, layout)(q, k, v, scale=0.5)
    other = Edges(Neighbours(), turned, turned)(q[order], k[order], v[order], scale=0.5)
    torch.testing.assert_close(one[order], other)


def test_large_scores_do_not_overflow():
    layout = graph(10, 40)
    q = torch.full((10, 1, 4), 1e3, requires_grad=True)
    out = Edges(Neighbours(), layout, layout)(q, q * torch.rand(10, 1, 1), torch.randn(10, 1, 4), scale=1.0)
    out.sum().backward()
    assert out.isfinite().all() and q.grad.isfinite().all()


@pytest.mark.parametrize("rule", [Causal(), Window(1, 1), ~Neighbours()], ids=str)
def test_a_rule_that_cannot_name_its_pairs_is_refused(rule):
    layout = graph(3, 2)
    with pytest.raises(ValueError, match=r"kernel 'edges' needs a rule that names its pairs"):
        Edges(rule, layout, layout)


def test_queries_and_keys_from_different_tokens_are_refused():
    with pytest.raises(ValueError, match="the same tokens"):
        Edges(Neighbours(), graph(3, 2), graph(3, 2))


RULES_OF_EDGES = [Neighbours(), Neighbours(hops=2), Neighbours() | Self()]


@pytest.mark.parametrize("rule", RULES_OF_EDGES, ids=str)
def test_a_graph_that_comes_again_is_not_sorted_again(rule):
    first = graph(30, 90)
    again = Layout(lengths=torch.tensor([30]), edges=first.edges)
    other = Layout(lengths=torch.tensor([10, 20]), edges=torch.tensor([[0, 11], [1, 12]]))
    kernel = Edges(rule, first, first)
    assert Edges(rule, again, again).key is kernel.key
    assert Edges(rule, other, other).key is not kernel.key
    copy = Layout(lengths=first.lengths, edges=first.edges.clone())
    assert Edges(rule, copy, copy).key is not kernel.key
    torch.testing.assert_close(Edges(rule, copy, copy).key, kernel.key)


def test_a_graph_that_was_changed_is_sorted_again():
    layout = graph(6, 9)
    before = Edges(Neighbours(), layout, layout).key
    layout.edges.copy_(torch.randint(6, (2, 9), generator=torch.Generator().manual_seed(3)))
    changed = Layout(lengths=layout.lengths, edges=layout.edges)
    fresh = Layout(lengths=layout.lengths, edges=layout.edges.clone())
    assert Edges(Neighbours(), changed, changed).key is not before
    assert torch.equal(Edges(Neighbours(), changed, changed).key, Edges(Neighbours(), fresh, fresh).key)


def test_what_a_rule_reads_besides_edges_is_asked_anew():
    edges = graph(6, 20).edges
    lengths = torch.tensor([6])
    found = []
    for stars in (torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)):
        layout = Layout(lengths=lengths, edges=edges, features={"star": stars})
        found.append(len(Edges(Neighbours() & Global(feature="star"), layout, layout).key))
    assert found[0] > 0 == found[1]


def test_a_graph_that_a_validation_read_first_can_be_learned_from():
    layout = graph(12, 40)
    q = torch.randn(12, 2, 4, requires_grad=True)
    with torch.inference_mode():
        seen = Layout(lengths=layout.lengths, edges=layout.edges)
        Edges(Neighbours(), seen, seen)(q, q, q, scale=1.0)
    kernel = Edges(Neighbours(), layout, layout)
    for score in (None, torch.tanh):
        out = kernel(q, q, q, scale=1.0, score=score)
        expected = Reference(Neighbours(), layout, layout)(q, q, q, scale=1.0, score=score)
        grads = [torch.autograd.grad(each.square().sum(), q)[0] for each in (out, expected)]
        torch.testing.assert_close(*grads)


def test_nothing_is_kept_of_a_graph_that_is_gone():
    gc.collect()
    before = len(layout_file._OF_GRAPHS)
    layout = graph(12, 40)
    kernel = Edges(Neighbours(), layout, layout)
    assert len(layout_file._OF_GRAPHS) == before + 1
    del layout, kernel
    gc.collect()
    assert len(layout_file._OF_GRAPHS) == before
