import networkx as nx
import numpy as np
import pytest
import torch
from omniformer_tokenizers import encodings

GRAPHS = {
    "path": nx.path_graph(6),
    "star": nx.star_graph(5),
    "ring": nx.cycle_graph(7),
    "complete": nx.complete_graph(5),
    "two parts": nx.disjoint_union(nx.path_graph(4), nx.cycle_graph(3)),
    "isolated": nx.empty_graph(3),
    "loop": nx.Graph([(0, 0), (0, 1), (1, 2)]),
    "one": nx.empty_graph(1),
    "random": nx.gnp_random_graph(12, 0.3, seed=1),
}


def edges_of(graph: nx.Graph) -> torch.Tensor:
    pairs = [(a, b) for a, b in graph.edges] + [(b, a) for a, b in graph.edges if a != b]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T


def laplacian(graph: nx.Graph) -> np.ndarray:
    counts = nx.to_numpy_array(graph)
    out = np.zeros_like(counts)
    for a in range(len(counts)):
        for b in range(len(counts)):
            if counts[a].sum() and counts[b].sum():
                out[a, b] = (a == b) - counts[a, b] / np.sqrt(counts[a].sum() * counts[b].sum())
    return out


@pytest.fixture(params=GRAPHS)
def graph(request) -> nx.Graph:
    return GRAPHS[request.param]


def check_eigenvectors(vectors: np.ndarray, matrix: np.ndarray, atol: float) -> None:
    """Unit eigenvectors of the smallest eigenvalues above 0, in order, then zeros."""
    values = np.linalg.eigvalsh(matrix)
    expected = values[values > 1e-8][: vectors.shape[1]]
    for i in range(vectors.shape[1]):
        if i < len(expected):
            np.testing.assert_allclose(matrix @ vectors[:, i], expected[i] * vectors[:, i], atol=atol)
            assert np.linalg.norm(vectors[:, i]) == pytest.approx(1, abs=atol)
        else:
            assert (vectors[:, i] == 0).all()
    present = vectors[:, : len(expected)]
    np.testing.assert_allclose(present.T @ present, np.eye(present.shape[1]), atol=10 * atol)


@pytest.mark.parametrize("k", [1, 4, 20])
def test_eigenvectors_solve_the_eigenvalue_problem(graph, k):
    (vectors,) = encodings.laplacian_eigenvectors([(edges_of(graph), len(graph))], k)
    assert vectors.shape == (len(graph), k)
    check_eigenvectors(vectors.double().numpy(), laplacian(graph), atol=1e-6)


@pytest.mark.parametrize("name", ["path", "two parts", "random", "isolated"])
def test_the_sparse_method_agrees(name, monkeypatch):
    monkeypatch.setattr(encodings, "DENSE_NODES", 0)
    graph = GRAPHS[name]
    (vectors,) = encodings.laplacian_eigenvectors([(edges_of(graph), len(graph))], 2)
    check_eigenvectors(vectors.double().numpy(), laplacian(graph), atol=1e-5)
    (walks,) = encodings.random_walks([(edges_of(graph), len(graph))], 5)
    monkeypatch.undo()
    (dense,) = encodings.random_walks([(edges_of(graph), len(graph))], 5)
    torch.testing.assert_close(walks, dense)


def test_a_large_graph_takes_the_sparse_method_and_repeats():
    graph = nx.random_regular_graph(3, 1500, seed=0)
    edges = edges_of(graph)
    first, second = (encodings.laplacian_eigenvectors([(edges, 1500)], 4)[0] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    check_eigenvectors(first.double().numpy(), laplacian(graph), atol=1e-5)


def test_against_the_transforms_of_pytorch_geometric(pyg):
    graph = nx.gnp_random_graph(15, 0.4, seed=5)
    edges = edges_of(graph)
    data = pyg.data.Data(edge_index=edges, num_nodes=15)
    theirs = pyg.transforms.AddLaplacianEigenvectorPE(4, is_undirected=True)(data.clone()).laplacian_eigenvector_pe
    (ours,) = encodings.laplacian_eigenvectors([(edges, 15)], 4)
    torch.testing.assert_close(ours.abs(), theirs.abs(), rtol=1e-3, atol=1e-4)
    walks = pyg.transforms.AddRandomWalkPE(6)(data.clone()).random_walk_pe
    torch.testing.assert_close(encodings.random_walks([(edges, 15)], 6)[0], walks)


def test_random_walks_equal_matrix_powers(graph):
    counts = nx.to_numpy_array(graph)
    step = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    (ours,) = encodings.random_walks([(edges_of(graph), len(graph))], 5)
    for i in range(5):
        expected = np.linalg.matrix_power(step, i + 1).diagonal()
        np.testing.assert_allclose(ours[:, i].numpy(), expected, atol=1e-6)


def test_shortest_paths_equal_networkx(graph):
    ours = encodings.shortest_paths(edges_of(graph), len(graph), longest=3)
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    for a in range(len(graph)):
        for b in range(len(graph)):
            assert ours[a, b] == (min(lengths[a][b], 3) if b in lengths[a] else -1)


def test_shortest_paths_follow_directions():
    assert encodings.shortest_paths(torch.tensor([[0], [1]]), 2, longest=5).tolist() == [[0, 1], [-1, 0]]
    assert encodings.shortest_paths(torch.zeros(2, 0, dtype=torch.int64), 0, longest=5).shape == (0, 0)


def test_empty_graphs_have_empty_encodings():
    nothing = (torch.zeros(2, 0, dtype=torch.int64), 0)
    for encode in (encodings.laplacian_eigenvectors, encodings.random_walks):
        assert [rows.shape for rows in encode([nothing, nothing], 3)] == [(0, 3), (0, 3)]
        assert encode([], 3) == []


def test_permuting_nodes_keeps_what_equal_eigenvalues_span():
    graph = nx.cycle_graph(8)  # its eigenvalues come in pairs
    edges = edges_of(graph)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    plain, moved = encodings.laplacian_eigenvectors([(edges, 8), (order.argsort()[edges], 8)], 4)
    for pair in (slice(0, 2), slice(2, 4)):
        torch.testing.assert_close(
            moved[:, pair] @ moved[:, pair].T, (plain[:, pair] @ plain[:, pair].T)[order][:, order], atol=1e-5, rtol=0
        )
