import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from omniformer.core.attention.edges import Edges
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Neighbours, Self, Window
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
