import networkx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.layout import Layout
from omniformer.core.rules import Neighbours, Self


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(1, 4), st.data())
def test_hops_are_shortest_paths_along_the_edges(n, hops, data):
    token = st.integers(0, n - 1)
    edges = data.draw(st.lists(st.tuples(token, token), max_size=2 * n))
    layout = Layout(lengths=torch.tensor([n]), edges=torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t())
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(edges)
    expected = torch.zeros(n, n, dtype=torch.bool)
    for source, targets in networkx.all_pairs_shortest_path_length(graph, cutoff=hops):
        for target, distance in targets.items():
            expected[target, source] = distance >= 1 or (source, target) in edges
    assert torch.equal(Neighbours(hops).mask(layout), expected)


def test_the_target_attends_to_the_source_and_to_itself_when_asked():
    layout = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0, 0], [1, 1]]))
    assert Neighbours().mask(layout).nonzero().tolist() == [[1, 0]]
    assert (Neighbours() | Self()).mask(layout).nonzero().tolist() == [[0, 0], [1, 0], [1, 1], [2, 2]]


def test_pairs_come_sorted_by_query_then_key():
    layout = Layout(lengths=torch.tensor([4]), edges=torch.tensor([[3, 1, 2, 0], [0, 2, 0, 2]]))
    assert Neighbours().pairs(layout).t().tolist() == [[0, 2], [0, 3], [2, 0], [2, 1]]


def test_a_graph_without_edges_lets_nobody_attend():
    layout = Layout(lengths=torch.tensor([3, 0]), edges=torch.zeros(2, 0, dtype=torch.long))
    assert not Neighbours(hops=3).mask(layout).any()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="hops=0"):
        Neighbours(hops=0)
    with pytest.raises(ValueError, match=r"Neighbours needs edges.*Layout\(edges="):
        Neighbours().mask(Layout.from_lengths(2))


def test_edges_join_no_tokens_of_two_layouts():
    seen = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0, 1], [1, 2]]))
    new = Layout(lengths=torch.tensor([1]), start=torch.tensor([2]), edges=torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match="Neighbours follows edges within one sequence"):
        Neighbours().mask(new, seen)
