import pytest

from omniformer.data.table.graph_lines import GraphLineRows

TEXT = "2\n3 5\n7 2 2 1\n9 1 0\n7 1 0\n1 -1\n9 0\n"


def test_graphs_come_with_sorted_edges_and_numbered_kinds_and_classes(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    rows = GraphLineRows(tmp_path / "a.txt")
    first, second = (rows.row(i) for i in range(2))
    assert first["graph"]["edges"].tolist() == [[0, 1], [0, 2], [1, 0], [2, 0]]
    assert first["graph"]["node_features"].tolist() == [[0], [1], [0]]
    assert (first["y"], second["y"], second["graph"]["n_nodes"]) == (1, 0, 1)
    assert rows.facts() == {"node_vocab_sizes": (2,)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2\n3 5", "two\n3 5", "expected the number of graphs as 1 whole numbers, received 'two'"),
        ("3 5", "3", "expected the nodes and the class of graph 0 as 2 whole numbers"),
        ("7 2 2 1", "7 3 2 1", "node 0 of graph 0 announces 3 neighbours and names 2"),
        ("9 0\n", "", "expected node 0 of graph 1 as 2 whole numbers, received ''"),
        ("9 1 0", "9 1 5", "an edge of graph 0 ends at .*, outside of it"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, old, new, message):
    (tmp_path / "a.txt").write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"a\.txt: {message}"):
        GraphLineRows(tmp_path / "a.txt")
