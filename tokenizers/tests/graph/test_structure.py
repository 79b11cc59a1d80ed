import networkx as nx
import torch
from omniformer_tokenizers import GraphTokenizer


def test_a_virtual_node_is_last_and_joined_to_all_in_both_directions():
    tokens = GraphTokenizer(virtual_node=True, random_walk=2)(nx.path_graph(3))
    assert tokens.features["kind"].tolist() == [0, 0, 0, 1]
    pairs = set(map(tuple, tokens.edges.T.tolist()))
    assert {(i, 3) for i in range(3)} | {(3, i) for i in range(3)} <= pairs
    assert len(pairs) == tokens.edges.shape[1] == 4 + 6
    assert tokens.features["degree"].tolist() == [1, 2, 1, 0]
    assert tokens.features["random_walk"][3].tolist() == [0, 0]


def test_edges_to_the_virtual_node_have_zero_features():
    graph = {"n_nodes": 2, "edges": [[0, 1]], "edge_features": [[2]]}
    tokens = GraphTokenizer(virtual_node=True, edge_vocab_sizes=(3,))(graph)
    assert tokens.edge_features.flatten().tolist() == [2, 2, 0, 0, 0, 0]


def test_each_undirected_edge_is_one_token_between_its_ends():
    graph = {"n_nodes": 3, "edges": [[1, 0], [1, 2], [2, 2]], "edge_features": [[5], [6], [7]]}
    tokens = GraphTokenizer(edge_tokens=True, edge_vocab_sizes=(8,))(graph)
    assert tokens.features["kind"].tolist() == [0, 0, 0, 2, 2, 2]
    found = {}
    pairs = list(map(tuple, tokens.edges.T.tolist()))
    assert len(pairs) == len(set(pairs))
    for token in (3, 4, 5):
        ends = {b for a, b in pairs if a == token}
        assert ends == {a for a, b in pairs if b == token}
        found[tuple(sorted(ends))] = tokens.features["edge"][token].item()
    assert found == {(0, 1): 5, (1, 2): 6, (2,): 7}
    assert tokens.features["edge"][:3].flatten().tolist() == [0, 0, 0]
    assert tokens.edge_features is None


def test_each_directed_edge_is_a_token():
    tokens = GraphTokenizer(edge_tokens=True, directed=True)(nx.DiGraph([(0, 1), (1, 0)]))
    assert tokens.features["kind"].tolist() == [0, 0, 2, 2]


def test_edge_tokens_carry_the_identifiers_of_both_ends():
    tokenizer = GraphTokenizer(edge_tokens=True, laplacian=3)
    assert tokenizer.facts["laplacian"] == 6
    graph = nx.path_graph(4)
    plain = GraphTokenizer(laplacian=3)(graph).features["laplacian"]
    tokens = tokenizer(graph)
    rows = tokens.features["laplacian"]
    torch.testing.assert_close(rows[:4], torch.cat([plain, plain], dim=1))
    for token in range(4, 7):
        ends = sorted(b for a, b in tokens.edges.T.tolist() if a == token)
        torch.testing.assert_close(rows[token], torch.cat([plain[ends[0]], plain[ends[1]]]))
