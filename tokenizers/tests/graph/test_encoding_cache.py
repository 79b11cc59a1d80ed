import networkx as nx
import pytest
import torch
from omniformer_tokenizers import GraphTokenizer
from omniformer_tokenizers.graph import encodings


@pytest.fixture
def graph() -> nx.Graph:
    return nx.random_regular_graph(3, 200, seed=0)


def test_large_graphs_are_computed_once(graph, tmp_path, monkeypatch):
    tokenizer = GraphTokenizer(laplacian=2, random_walk=3, cache_folder=str(tmp_path))
    first = tokenizer(graph)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(list(tmp_path.iterdir())) == 2
    for name in ("_dense_eigenvectors", "_dense_walks"):
        monkeypatch.setattr(encodings, name, None)  # any further computation would fail
    again = tokenizer(graph)
    for name, feature in first.features.items():
        torch.testing.assert_close(again.features[name], feature, rtol=0, atol=0)


def test_distances_are_kept_too(graph, tmp_path, monkeypatch):
    tokenizer = GraphTokenizer(shortest_path=9, cache_folder=str(tmp_path))
    first = tokenizer(graph).pairs["shortest_path"]
    monkeypatch.setattr(encodings, "shortest_paths", None)  # any further computation would fail
    assert torch.equal(tokenizer(graph).pairs["shortest_path"], first)


def test_another_graph_or_width_is_another_entry(graph, tmp_path):
    GraphTokenizer(laplacian=2, cache_folder=str(tmp_path))(graph)
    GraphTokenizer(laplacian=3, cache_folder=str(tmp_path))(graph)
    graph.remove_edge(*next(iter(graph.edges)))
    GraphTokenizer(laplacian=2, cache_folder=str(tmp_path))(graph)
    assert len(list(tmp_path.iterdir())) == 3


def test_small_graphs_leave_no_files(tmp_path):
    GraphTokenizer(laplacian=2, cache_folder=str(tmp_path))(nx.path_graph(20))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_entry_is_replaced(graph, tmp_path, content):
    tokenizer = GraphTokenizer(laplacian=2, cache_folder=str(tmp_path))
    first = tokenizer(graph)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(content)
    torch.testing.assert_close(tokenizer(graph).features["laplacian"], first.features["laplacian"])
    assert path.read_bytes() == whole


def test_the_folder_is_not_saved_with_the_tokenizer(tmp_path):
    assert "cache_folder" not in GraphTokenizer(cache_folder=str(tmp_path)).config()
