"""Generalised PageRank: as PyG and dense powers have it, sample by sample."""

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.propagation import GeneralizedPageRank, propagated

# A loop, an edge one way alone, an edge that is there twice, a token without an edge; then another sample.
EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 1, 5], [1, 0, 2, 1, 2, 1, 1, 3, 6]])


def graphs():
    return Layout(lengths=torch.tensor([5, 2]), edges=EDGES)


def adjacency():
    """`D^-1/2 (A + I) D^-1/2`, entry by entry."""
    counted = torch.eye(7)
    for source, target in EDGES.T.tolist():
        counted[target, source] += source != target
    root = counted.sum(1).rsqrt()
    return root[:, None] * counted * root[None, :]


def test_a_step_is_a_product_with_the_normalised_adjacency():
    x = torch.randn(7, 3)
    torch.testing.assert_close(propagated(x, graphs()), adjacency() @ x)


def test_it_begins_as_personalized_pagerank_of_pyg():
    appnp = pytest.importorskip("torch_geometric.nn").APPNP(K=4, alpha=0.2)
    x = torch.randn(7, 3)
    part = GeneralizedPageRank(steps=4, teleport=0.2)
    torch.testing.assert_close(part(x, graphs()), appnp(x, EDGES))


def test_weights_that_were_learned_weigh_powers_of_the_adjacency():
    part, x, a = GeneralizedPageRank(steps=2), torch.randn(7, 3), adjacency()
    with torch.no_grad():
        part.weights.copy_(torch.tensor([0.5, -2.0, 3.0]))
    torch.testing.assert_close(part(x, graphs()), 0.5 * x - 2 * a @ x + 3 * a @ a @ x)
    part(x, graphs()).square().sum().backward()
    assert part.weights.grad.abs().min() > 0


def test_samples_do_not_see_each_other_and_without_edges_rows_stay_where_they_are():
    part, x = GeneralizedPageRank(), torch.randn(7, 3)
    alone = Layout(lengths=torch.tensor([2]), edges=torch.tensor([[0], [1]]))
    torch.testing.assert_close(part(x, graphs())[5:], part(x[5:], alone))
    torch.testing.assert_close(part(x, Layout.from_lengths(5, 2)), x)


@pytest.mark.parametrize(("wrong", "says"), [({"steps": 0}, "steps=0"), ({"teleport": 0.0}, "teleport=0.0 must be")])
def test_numbers_out_of_range_are_told(wrong, says):
    with pytest.raises(ValueError, match=says):
        GeneralizedPageRank(**wrong)
