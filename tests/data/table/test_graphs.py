from omniformer.data.table.graphs import GraphFacts


def test_whole_numbers_are_categories_and_others_numbers():
    facts = GraphFacts()
    facts.add({"n_nodes": 1, "edges": [], "node_features": [[3, 0]], "edge_features": [[0.5]]})
    facts.add({"n_nodes": 2, "edges": [], "node_features": [[1, 4], [0, 0]], "edge_features": [[1.5]]})
    assert facts.told() == {"edge_features": 1, "node_vocab_sizes": (4, 5)}


def test_graphs_without_features_or_with_strange_ones_tell_nothing():
    facts = GraphFacts()
    for features in (None, [], [["a"]], [[1], [1, 2]]):
        facts.add({"n_nodes": 1, "edges": [], "node_features": features})
    assert facts.told() == {}
