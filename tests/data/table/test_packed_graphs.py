import pytest
import torch
from omniformer_tokenizers import GraphTokenizer

from omniformer.data.table.packed_graphs import PackedGraphs

# A triangle, a node alone, a pair.
ARRAYS = {
    "node_ptr": [0, 3, 4, 6],
    "edge_ptr": [0, 6, 6, 8],
    "edge_index": [[0, 0, 1, 1, 2, 2, 4, 5], [1, 2, 0, 2, 0, 1, 5, 4]],
    "node_features": [[0, 1], [1, 0], [2, 1], [0, 0], [1, 1], [2, 0]],
    "edge_features": [[0], [1], [0], [0], [1], [0], [1], [1]],
    "node_vocab_sizes": (3, 2),
    "edge_vocab_sizes": (2,),
}


def packed(**changes):
    return PackedGraphs(where="a.npz", **ARRAYS | changes)


def test_each_graph_has_its_own_nodes_and_edges_counted_from_0():
    graphs = packed()
    assert len(graphs) == 3
    first, alone, pair = (graphs.graph(i) for i in range(3))
    assert (first["n_nodes"], alone["n_nodes"], pair["n_nodes"]) == (3, 1, 2)
    assert first["edges"].tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert alone["edges"].shape == (0, 2)
    assert pair["edges"].tolist() == [[0, 1], [1, 0]]
    assert pair["node_features"].tolist() == [[1, 1], [2, 0]]
    assert pair["edge_features"].tolist() == [[1], [1]]
    assert "edge_features" not in packed(edge_features=None, edge_vocab_sizes=()).graph(0)


def test_the_tokenizer_takes_every_graph_as_it_is():
    tokenizer = GraphTokenizer(node_vocab_sizes=(3, 2), edge_vocab_sizes=(2,))
    tokens = [tokenizer(packed().graph(i)) for i in range(3)]
    assert [len(each) for each in tokens] == [3, 1, 2]
    assert torch.equal(tokens[0].values, torch.tensor(ARRAYS["node_features"][:3]))
    assert tokens[0].edges.shape == (2, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node_ptr": [0, 3, 4]}, "node_ptr has 3 entries and edge_ptr 4"),
        ({"node_ptr": [0, 3, 4, 7]}, "node_ptr does not rise from 0 to 6, the number of nodes"),
        ({"edge_ptr": [0, 6, 5, 8]}, "edge_ptr does not rise from 0 to 8, the number of edges"),
        ({"edge_ptr": [0, 5, 6, 8]}, r"an edge of graph 1 ends at \[2, 1\], outside of it"),
        ({"edge_index": [[0, 0, 1, 1, 2, 2, 4, 5], [1, 3, 0, 2, 0, 1, 5, 4]]}, r"an edge of graph 0 ends at \[0, 3\]"),
        ({"node_features": [[0], [1], [2], [0], [1], [2]]}, r"node features have shape \[6, 1\]; expected \[6, 2\]"),
        ({"node_vocab_sizes": (3, 1)}, "node field 1 is category 1 in graph 0; expected 0..0"),
        ({"edge_features": [[0]] * 6 + [[-1]] * 2}, "edge field 0 is category -1 in graph 2; expected 0..1"),
        ({"edge_features": [[0]] * 5}, r"edge features have shape \[5, 1\]; expected \[8, 1\]"),
    ],
)
def test_arrays_that_do_not_fit_are_told_with_file_and_graph(changes, message):
    with pytest.raises(ValueError, match=rf"a\.npz: {message}"):
        packed(**changes)


def test_graphs_that_differ_in_the_order_of_their_nodes_are_alike_and_others_are_not():
    path = {"node_ptr": [0, 3], "edge_ptr": [0, 4], "edge_index": [[0, 1, 1, 2], [1, 0, 2, 1]], "edge_features": None}

    def named(kinds, without=()):
        rows = [[kind, turn] for kind, turn in zip(kinds, (0, 1, 0), strict=True)]
        graphs = PackedGraphs(where="a.npz", **path, node_features=rows, node_vocab_sizes=(3, 2))
        return graphs.alike(without=without)

    assert named([0, 1, 2]) == named([2, 1, 0])
    assert named([0, 1, 2]) != named([1, 0, 2])  # another atom in the middle
    assert named([0, 1, 2]) != named([0, 1, 2], without=[1])
    assert packed().alike()[0] != packed(edge_features=[[1]] * 6 + [[1]] * 2).alike()[0]  # other bonds
    assert len(set(packed().alike())) == 3
