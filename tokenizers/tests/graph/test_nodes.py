import json
from types import SimpleNamespace

import hypothesis.strategies as st
import networkx as nx
import pytest
import torch
from hypothesis import given
from omniformer_tokenizers import GraphTokenizer, MediaError
from omniformer_tokenizers.graph.input import both_directions

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12)


def edge_list(tokens) -> list[tuple[int, int]]:
    return sorted(map(tuple, tokens.edges.T.tolist()))


@given(PAIRS)
def test_every_edge_has_its_opposite_as_often_and_nothing_else_is_added(pairs):
    edges = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    out, origin = both_directions(edges, torch.arange(len(pairs)))
    found = list(map(tuple, out.T.tolist()))
    for a, b in set(found):
        assert found.count((a, b)) == found.count((b, a))
        assert found.count((a, b)) == max(pairs.count((a, b)), pairs.count((b, a)))
    for (a, b), i in zip(found, origin.tolist(), strict=True):
        assert pairs[i] in ((a, b), (b, a))


@given(PAIRS)
def test_symmetrising_twice_changes_nothing(pairs):
    edges = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    once, _ = both_directions(edges)
    twice, _ = both_directions(once)
    assert torch.equal(once, twice)


def test_all_ways_to_give_a_graph_agree(tmp_path, pyg):
    graph = nx.Graph([(0, 1), (1, 2), (3, 3)])
    graph.add_node(4)
    graph = nx.relabel_nodes(graph, {i: i for i in range(5)})
    pairs = [[0, 1], [1, 2], [3, 3]]
    path = tmp_path / "graph.json"
    path.write_text(json.dumps({"n_nodes": 5, "edges": pairs}))
    both = torch.tensor([[0, 1, 1, 2, 3], [1, 0, 2, 1, 3]])
    forms = [
        graph,
        {"n_nodes": 5, "edges": pairs},
        {"nodes": list("abcde"), "edges": [["a", "b"], ["b", "c"], ["d", "d"]]},
        {"n_nodes": 5, "edges": torch.tensor(pairs)},
        path,
        str(path),
        pyg.data.Data(edge_index=both, num_nodes=5),
    ]
    for form in forms:
        tokens = GraphTokenizer()(form)
        assert edge_list(tokens) == [(0, 1), (1, 0), (1, 2), (2, 1), (3, 3)]
        assert tokens.features["degree"].tolist() == [1, 2, 1, 1, 0]
        assert tokens.values.tolist() == [[0]] * 5


def test_directed_graphs_stay_directed():
    assert edge_list(GraphTokenizer(directed=True)(nx.DiGraph([(0, 1), (2, 1)]))) == [(0, 1), (2, 1)]


def test_multi_edges_and_their_features_are_kept():
    graph = {"n_nodes": 2, "edges": [[0, 1], [0, 1]], "edge_features": [[0], [1]]}
    tokens = GraphTokenizer(edge_vocab_sizes=(2,))(graph)
    assert tokens.edges.T.tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]
    assert tokens.edge_features.tolist() == [[0], [1], [0], [1]]


def test_permuting_nodes_permutes_tokens():
    graph = nx.gnp_random_graph(9, 0.4, seed=3)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    edges = torch.tensor(list(graph.edges))
    rows = torch.randn(9, 2)
    tokenizer = GraphTokenizer(node_features=2, laplacian=4, random_walk=5)
    tokens = tokenizer({"n_nodes": 9, "edges": edges, "node_features": rows})
    moved = tokenizer({"n_nodes": 9, "edges": order.argsort()[edges], "node_features": rows[order]})
    torch.testing.assert_close(moved.values, tokens.values[order])
    torch.testing.assert_close(moved.features["degree"], tokens.features["degree"][order])
    torch.testing.assert_close(moved.features["random_walk"], tokens.features["random_walk"][order])
    torch.testing.assert_close(moved.features["laplacian"], tokens.features["laplacian"][order], rtol=1e-4, atol=1e-5)


def test_features_of_every_kind_go_where_they_belong(pyg):
    data = pyg.data.Data(
        x=torch.tensor([[2.0, 0.5], [1.0, -1.5]]),
        edge_index=torch.tensor([[0, 1], [1, 0]]),
        edge_attr=torch.tensor([[0.25], [0.75]]),
        num_nodes=2,
    )
    mixed = GraphTokenizer(node_vocab_sizes=(3,), node_features=1, edge_features=1)(data)
    assert mixed.values.tolist() == [[2], [1]]
    assert mixed.features["continuous"].tolist() == [[0.5], [-1.5]]
    assert mixed.edge_features.tolist() == [[0.25], [0.75]]
    numbers = GraphTokenizer(node_features=2, edge_features=1)(data)
    assert numbers.values.tolist() == [[2.0, 0.5], [1.0, -1.5]]
    both = GraphTokenizer(node_features=2, edge_vocab_sizes=(4,), edge_features=1)
    data.edge_attr = torch.tensor([[3, 0.25], [0, 0.75]])
    assert both(data).edge_features.tolist() == [[3.0, 0.25], [0.0, 0.75]]


def test_one_field_may_come_without_columns():
    graph = {"n_nodes": 2, "edges": [[0, 1]], "node_features": [1, 0], "edge_features": [2]}
    tokens = GraphTokenizer(node_vocab_sizes=(2,), edge_vocab_sizes=(3,))(graph)
    assert tokens.values.tolist() == [[1], [0]]
    assert tokens.edge_features.tolist() == [[2], [2]]


def test_networkx_attributes_are_read():
    graph = nx.Graph()
    graph.add_node("a", features=[1.0])
    graph.add_node("b", features=[2.0])
    graph.add_edge("a", "b", features=[3])
    tokens = GraphTokenizer(node_features=1, edge_vocab_sizes=(4,))(graph)
    assert tokens.values.tolist() == [[1.0], [2.0]]
    assert tokens.edge_features.tolist() == [[3], [3]]
    graph.add_node("c")
    with pytest.raises(ValueError, match="some nodes have the attribute 'features' and node 2 has not"):
        GraphTokenizer(node_features=1)(graph)


def test_distances_go_from_the_column_to_the_row_along_edges():
    one_way = {"n_nodes": 4, "edges": [[0, 1], [1, 2]]}
    directed = GraphTokenizer(directed=True, shortest_path=5)(one_way).pairs["shortest_path"]
    assert directed.tolist() == [[0, -1, -1, -1], [1, 0, -1, -1], [2, 1, 0, -1], [-1, -1, -1, 0]]
    capped = GraphTokenizer(shortest_path=2)(nx.path_graph(5)).pairs["shortest_path"]
    assert capped[0].tolist() == [0, 1, 2, 2, 2]


def test_tokens_that_are_no_nodes_have_no_distances():
    pairs = GraphTokenizer(shortest_path=3, virtual_node=True)(nx.path_graph(2)).pairs["shortest_path"]
    assert pairs.tolist() == [[0, 1, -1], [1, 0, -1], [-1, -1, -1]]


def test_degrees_are_counted_up_to_the_limit():
    tokenizer = GraphTokenizer(max_degree=3)
    assert tokenizer(nx.star_graph(5)).features["degree"].tolist() == [3, 1, 1, 1, 1, 1]
    assert "degree" not in GraphTokenizer(max_degree=0)(nx.star_graph(5)).features


def test_many_graphs_together_equal_one_by_one():
    graphs = [nx.gnp_random_graph(n, 0.5, seed=n) for n in (5, 7, 5, 1, 6, 7, 7)]
    tokenizer = GraphTokenizer(laplacian=3, random_walk=4)
    for graph, tokens in zip(graphs, tokenizer.encode_batch(graphs), strict=True):
        for name, feature in tokenizer(graph).features.items():
            torch.testing.assert_close(tokens.features[name], feature, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"n_nodes": 2, "edges": [[0, 2]]}, r"edges point at nodes 0..2; the graph has 2 nodes"),
        ({"n_nodes": 2, "edges": [[-1, 0]]}, r"edges point at nodes -1..0"),
        ({"n_nodes": 2, "edges": [[0, 1, 1]]}, r"edges have shape \[1, 3\]"),
        ({"n_nodes": 2, "edges": [[0], [0, 1]]}, "edges are not a list of pairs"),
        ({"n_nodes": 2, "edges": [[0.5, 1.0]]}, "torch.float32; expected pairs of node numbers"),
        ({"n_nodes": 2, "edges": 3}, "edges are not a list of pairs"),
        ({"n_nodes": -1, "edges": []}, "n_nodes=-1; expected a whole number"),
        ({"n_nodes": True, "edges": []}, "n_nodes=True"),
        ({"n_nodes": 10**12, "edges": []}, "n_nodes=1000000000000; at most"),
        ({"edges": []}, r"either 'n_nodes' or 'nodes'; received \['edges'\]"),
        ({"n_nodes": 1, "nodes": ["a"], "edges": []}, "either 'n_nodes' or 'nodes'"),
        ({"n_nodes": 1, "edges": [], "feature": []}, "no key 'feature'; known: edges"),
        ({"nodes": ["a", "a"], "edges": []}, "names a node twice"),
        ({"nodes": ["a"], "edges": [["a", "b"]]}, "an edge names 'b', which is not among 'nodes'"),
    ],
)
def test_impossible_graphs_are_refused(graph, message):
    with pytest.raises(ValueError, match=message):
        GraphTokenizer()(graph)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "no node features; 1 categorical and 1 continuous expected"),
        ([[0], [1]], r"node features have shape \[2, 1\]; expected \[2, 2\]: 1 categorical and 1 continuous"),
        ([[0, 1], [3, 1]], r"node field 0 holds 0..3; expected 0..2"),
        ([[-1, 1], [0, 1]], r"node field 0 holds -1..0"),
        ([[0.5, 1], [0, 1]], "numbers that are not whole"),
        ([[0, 1], [0]], "node_features are not rows of numbers of one length"),
        ([[0, 1], [0, float("nan")]], "not finite"),
        ([[float("nan"), 1], [0, 1]], "not finite"),
    ],
)
def test_features_that_were_not_announced_are_refused(rows, message):
    graph = {"n_nodes": 2, "edges": [], "node_features": rows}
    with pytest.raises(ValueError, match=message):
        GraphTokenizer(node_vocab_sizes=(3,), node_features=1)(graph)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"n_nodes": 2}', '{"n_nodes": 2, "edges": [[0, 5]]}', "[" * 9000]
)
def test_a_file_that_is_no_graph_is_named(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(MediaError, match=r"bad\.json"):
        GraphTokenizer()(path)


def test_a_molecule_is_no_file_and_its_tokenizer_is_named():
    with pytest.raises(MediaError, match="CC=O: no such file; .* for SMILES there is the MoleculeTokenizer"):
        GraphTokenizer()("CC=O")


def test_a_file_of_lies_costs_nothing(tmp_path):
    path = tmp_path / "huge.json"
    path.write_text('{"n_nodes": 1000000000, "edges": [[0, 999999999]]}')
    with pytest.raises(MediaError, match=r"huge\.json.*n_nodes=1000000000; at most"):
        GraphTokenizer()(path)


def test_tokens_that_are_not_nodes_have_no_inverse():
    for arguments in ({"virtual_node": True}, {"edge_tokens": True}):
        tokenizer = GraphTokenizer(**arguments)
        with pytest.raises(TypeError, match="no inverse with virtual_node or edge_tokens"):
            tokenizer.decode(tokenizer(nx.path_graph(3)))


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"node_vocab_sizes=\(0,\): each field needs at least one"):
        GraphTokenizer(node_vocab_sizes=(0,))
    with pytest.raises(ValueError, match="laplacian=-1 is too small; give 0"):
        GraphTokenizer(laplacian=-1)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"node_features": torch.rand(2, 5)},
            r"node_features of shape \[2, 5\] .* give it node_features=5 \(or node_vocab",
        ),
        ({"node_features": [[1], [0]]}, r"node_features of shape \[2, 1\] .* give it node_vocab_sizes, 1 number"),
        ({"edge_features": [0.5]}, r"edge_features of shape \[1\] .* give it edge_features=1 \(or edge_vocab_sizes"),
        ({"edge_features": [[1, 2]]}, r"edge_features of shape \[1, 2\] .* give it edge_vocab_sizes, 2 number"),
    ],
)
def test_features_that_no_argument_takes_are_refused(features, message):
    graph = {"n_nodes": 2, "edges": [[0, 1]], **features}
    with pytest.raises(ValueError, match=message):
        GraphTokenizer()(graph)
    rows = {name: torch.as_tensor(value) for name, value in features.items()}
    data = SimpleNamespace(  # as PyG's
        num_nodes=2,
        edge_index=torch.tensor([[0], [1]]),
        x=rows.get("node_features"),
        edge_attr=rows.get("edge_features"),
    )
    with pytest.raises(ValueError, match=message):
        GraphTokenizer(random_walk=1)(data)


def test_no_features_are_no_features():
    graph = {"n_nodes": 2, "edges": [[0, 1]], "node_features": torch.zeros(2, 0), "edge_features": torch.zeros(1, 0)}
    assert GraphTokenizer()(graph).values.tolist() == [[0], [0]]
