from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omniformer_tokenizers.graph import encodings

from omniformer.core.attention.plan import lower
from omniformer.core.graph_biases import EdgeBias, ShortestPath, shortest_paths
from omniformer.core.layout import Layout
from omniformer.core.rules import Full, Neighbours, Self

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=4)


def graphs(lengths, seed, per_node=1.5):
    """A layout of random directed graphs with loops and several edges between the same two nodes."""
    generator = torch.Generator().manual_seed(seed)
    edges, start = [], 0
    for length in lengths:
        n_edges = int(per_node * length)
        edges.append(torch.randint(0, max(length, 1), (2, n_edges), generator=generator) + start)
        start += length
    edges = torch.cat(edges, dim=1)
    categories = torch.randint(0, 3, (edges.shape[1], 2), generator=generator)
    numbers = torch.randn(edges.shape[1], 2, generator=generator)
    features = torch.cat([categories.float(), numbers], dim=1)
    return Layout(lengths=torch.tensor(lengths), edges=edges, edge_features=features)


def breadth_first(layout):
    """Distance from key to query along edges, one search a node."""
    follows = {}
    for source, target in layout.edges.T.tolist():
        follows.setdefault(source, set()).add(target)
    distance = {}
    for key in range(layout.n_tokens):
        distance[key, key] = 0
        waiting = deque([key])
        while waiting:
            node = waiting.popleft()
            for following in follows.get(node, ()):
                if (following, key) not in distance:
                    distance[following, key] = distance[node, key] + 1
                    waiting.append(following)
    return distance


def pairs_of(layout):
    for start, stop in zip(layout.offsets[:-1].tolist(), layout.offsets[1:].tolist(), strict=True):
        for query in range(start, stop):
            for key in range(start, stop):
                yield query, key


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS, seed=st.integers(0, 1000))
def test_shortest_paths_equal_a_search_from_every_node(lengths, seed):
    layout = graphs(lengths, seed)
    distance = breadth_first(layout)
    assert shortest_paths(layout).tolist() == [distance.get(pair, -1) for pair in pairs_of(layout)]


def test_the_tokenizers_tell_the_same_distances():
    edges = torch.tensor([[0, 1, 2, 1], [1, 2, 3, 0]])
    theirs = encodings.shortest_paths(edges, 5, longest=9)
    assert theirs.flatten().tolist() == shortest_paths(Layout(lengths=torch.tensor([5]), edges=edges)).tolist()


@pytest.mark.parametrize("given_distances", [True, False])
def test_shortest_path_bias_in_plain_loops(given_distances):
    torch.manual_seed(0)
    layout = graphs([6, 0, 7], seed=1)
    if given_distances:
        layout = Layout(lengths=layout.lengths, pairs={"shortest_path": shortest_paths(layout)}, edges=layout.edges)
    bias = ShortestPath(n_heads=3, max_distance=2)
    distance = breadth_first(layout)
    for query, key in pairs_of(layout):
        steps = distance.get((query, key))
        row = 4 if steps is None else min(steps, 3)
        out = bias(layout.view(torch.tensor(query)), layout.view(torch.tensor(key)))
        assert torch.equal(out, bias.table[row])


def test_edge_bias_in_plain_loops_sums_over_edges_between_the_same_nodes():
    torch.manual_seed(0)
    layout = graphs([5, 0, 4], seed=2, per_node=3)
    bias = EdgeBias(n_heads=3, edge_vocab_sizes=[3, 3], edge_features=2)
    out = bias(layout.view()[:, None], layout.view()[None, :])
    expected = torch.zeros(3, 9, 9)
    for (source, target), row in zip(layout.edges.T.tolist(), layout.edge_features, strict=True):
        first, second = int(row[0]), int(row[1])
        score = bias.table[first] + bias.table[3 + second] + row[2] * bias.table[6] + row[3] * bias.table[7]
        expected[:, target, source] += score.detach()
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    assert len(layout.edges.T.unique(dim=0)) < layout.edges.shape[1]


@pytest.mark.parametrize("rule", [Full(), Neighbours() | Self()])
@pytest.mark.parametrize("kernel", ["dense", "edges", "reference"])
@pytest.mark.parametrize(
    "bias", [lambda: ShortestPath(n_heads=2), lambda: EdgeBias(n_heads=2, edge_vocab_sizes=[3, 3], edge_features=2)]
)
def test_every_kernel_gives_the_same_outputs_and_gradients(bias, kernel, rule):
    if kernel == "edges" and rule == Full():
        pytest.skip("a rule without a list of pairs")
    torch.manual_seed(0)
    bias, layout = bias(), graphs([5, 0, 8], seed=3)
    q, k, v = torch.randn(3, 13, 2, 4)
    bias.reset_parameters()
    with torch.no_grad():
        bias.table.mul_(50)
    out = lower(rule, layout, kernel=kernel).attend(q, k, v, bias=bias)
    scores = torch.einsum("qhd,khd->hqk", q, k) / 2 + bias(layout.view()[:, None], layout.view()[None, :])
    weights = scores.masked_fill(~rule.mask(layout), -torch.inf).softmax(-1)
    expected = torch.einsum("hqk,khd->qhd", weights, v)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn(out.shape)
    ours, theirs = (torch.autograd.grad((each * weight).sum(), bias.table)[0] for each in (out, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [ShortestPath(n_heads=2), EdgeBias(n_heads=2, edge_features=1)])
def test_graphs_without_edges_and_batches_without_nodes_are_legal(bias):
    none = torch.zeros(2, 0, dtype=torch.long)
    for lengths in ([], [0, 0], [1, 3]):
        layout = Layout(lengths=torch.tensor(lengths, dtype=torch.long), edges=none, edge_features=torch.zeros(0, 1))
        n = sum(lengths)
        out = lower(Full(), layout).attend(*torch.randn(3, n, 2, 4), bias=bias)
        assert out.shape == (n, 2, 4)
        assert out.isfinite().all()


def test_impossible_arguments_and_layouts_are_told():
    plain = Layout.from_lengths(3)
    edges = torch.tensor([[0], [1]])
    with pytest.raises(ValueError, match="max_distance=0"):
        ShortestPath(n_heads=1, max_distance=0)
    with pytest.raises(ValueError, match=r"edge_vocab_sizes=\[\] and edge_features=0"):
        EdgeBias(n_heads=1)
    with pytest.raises(ValueError, match="shortest paths need edges"):
        ShortestPath(n_heads=1)(plain.view(), plain.view())
    bias = EdgeBias(n_heads=1, edge_vocab_sizes=[3])
    with pytest.raises(ValueError, match="EdgeBias needs edges"):
        bias(plain.view(), plain.view())
    bare = Layout(lengths=torch.tensor([3]), edges=edges)
    with pytest.raises(ValueError, match="EdgeBias needs edge features"):
        bias(bare.view(), bare.view())
    wide = Layout(lengths=torch.tensor([3]), edges=edges, edge_features=torch.zeros(1, 2))
    with pytest.raises(ValueError, match="edges have 2 features; this EdgeBias has 1 fields and 0 features"):
        bias(wide.view(), wide.view())
    strange = Layout(lengths=torch.tensor([3]), edges=edges, edge_features=torch.tensor([[7]]))
    with pytest.raises(ValueError, match=r"a category outside edge_vocab_sizes=\[3\]: \[7\]"):
        bias(strange.view(), strange.view())
    with pytest.raises(ValueError, match="queries and keys come from two"):
        ShortestPath(n_heads=1)(plain.view(), Layout.from_lengths(3).view())
