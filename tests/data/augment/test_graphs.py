import networkx as nx
import pytest
import torch
from omniformer_tokenizers import GraphTokenizer, Tokens

from omniformer.data.augment import DropEdges, DropFeatures


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def pairs(edges):
    return set(map(tuple, edges.T.tolist()))


def test_both_directions_of_an_edge_are_left_out_together_with_their_features():
    raw = {"n_nodes": 30, "edges": [list(edge) for edge in nx.gnm_random_graph(30, 200, seed=0).edges]}
    raw["edge_features"] = [[n % 7] for n in range(200)]
    tokens = GraphTokenizer(edge_vocab_sizes=[7])(raw)
    kind = dict(zip(map(tuple, tokens.edges.T.tolist()), tokens.edge_features[:, 0].tolist(), strict=True))
    fewer = DropEdges(p=0.25)(tokens, chance())
    left = pairs(fewer.edges)
    assert left < pairs(tokens.edges) and left == {(b, a) for a, b in left}
    assert 120 < len(left) / 2 < 180
    for edge, feature in zip(map(tuple, fewer.edges.T.tolist()), fewer.edge_features[:, 0].tolist(), strict=True):
        assert kind[edge] == feature


def test_edges_depend_on_the_generator_alone():
    tokens = GraphTokenizer()(nx.cycle_graph(20))
    drawn = [pairs(DropEdges(p=0.5)(tokens, chance(seed)).edges) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert pairs(DropEdges(p=0)(tokens, chance()).edges) == pairs(tokens.edges)


def test_a_graph_without_edges_stays_one():
    assert DropEdges(p=0.5)(GraphTokenizer()({"n_nodes": 3, "edges": []}), chance()).edges.shape == (2, 0)


def test_a_feature_is_left_out_of_all_nodes_or_of_none():
    tokens = Tokens(values=torch.ones(50, 400), positions=torch.zeros(50, 0), modality="graph")
    values = DropFeatures(p=0.25)(tokens, chance()).values
    assert torch.equal(values, values[:1].expand(50, -1))
    assert 240 < int(values[0].sum()) < 360


def test_tokens_that_cannot_are_refused():
    ids = Tokens(values=torch.ones(3, 2, dtype=torch.long), positions=torch.zeros(3, 0), modality="graph")
    with pytest.raises(ValueError, match="DropFeatures received ids, of which none means nothing"):
        DropFeatures()(ids, chance())
    with pytest.raises(ValueError, match="DropEdges received tokens without edges"):
        DropEdges()(ids, chance())
    for part in (DropEdges, DropFeatures):
        with pytest.raises(ValueError, match="p=1 must be at least 0 and below 1"):
            part(p=1)
