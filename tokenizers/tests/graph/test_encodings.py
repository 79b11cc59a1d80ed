import networkx as nx
import numpy as np
import pytest
import torch
from omniformer_tokenizers.graph import encodings

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
    degrees = counts.sum(1)
    out = np.zeros_like(counts)
    for a in range(len(counts)):
        for b in degrees.nonzero()[0] if degrees[a] else ():
            out[a, b] = (a == b) - counts[a, b] / np.sqrt(degrees[a] * degrees[b])
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


LARGE = {
    **GRAPHS,
    "equal parts": nx.disjoint_union_all([nx.cycle_graph(6)] * 30),
    "parts of several sizes": nx.disjoint_union_all(
        [nx.path_graph(9), nx.empty_graph(7), nx.gnp_random_graph(20, 0.3, seed=2), nx.star_graph(3), nx.path_graph(2)]
    ),
    "half without edges": nx.disjoint_union(nx.empty_graph(20), nx.gnp_random_graph(21, 0.2, seed=3)),
}


def projectors(vectors: np.ndarray, matrix: np.ndarray) -> list[np.ndarray]:
    """What the vectors of each whole eigenspace among them project onto; a space that is cut off at the end is not."""
    spaces: dict[float, list[np.ndarray]] = {}
    for vector in vectors.T[abs(vectors).sum(0) > 0]:
        spaces.setdefault(round(float(vector @ matrix @ vector), 4), []).append(vector)
    found = [np.stack(space, 1) @ np.stack(space, 1).T for _, space in sorted(spaces.items())]
    return found if (vectors[:, -1] == 0).all() else found[:-1]


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize(("k", "largest_dense"), [(2, 256), (2, 0), (8, 256), (8, 0), (60, 256)])
def test_the_method_for_large_graphs_agrees(name, k, largest_dense, monkeypatch):
    graph = LARGE[name]
    pairs = [(edges_of(graph), len(graph))]
    (dense,) = encodings.laplacian_eigenvectors(pairs, k)
    monkeypatch.setattr(encodings, "DENSE_NODES", 0)
    monkeypatch.setattr(encodings, "_DENSE_PART", largest_dense)
    (vectors,) = encodings.laplacian_eigenvectors(pairs, k)
    matrix = laplacian(graph)
    check_eigenvectors(vectors.double().numpy(), matrix, atol=1e-5)
    theirs, ours = projectors(dense.double().numpy(), matrix), projectors(vectors.double().numpy(), matrix)
    assert len(theirs) == len(ours)
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("full", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("directed", [False, True])
def test_walks_of_large_graphs_equal_the_definition(name, full, directed, monkeypatch):
    graph = LARGE[name]
    edges = edges_of(graph)
    if directed:  # loops, parallel edges, and ways that end
        edges = torch.cat([edges[:, ::3], edges[:, :4]], dim=1)
    pairs = [(edges, len(graph))]
    (dense,) = encodings.random_walks(pairs, 7)
    monkeypatch.setattr(encodings, "DENSE_NODES", 0)
    monkeypatch.setattr(encodings, "_FULL", full)
    monkeypatch.setattr(encodings, "_BATCH_NUMBERS", 5 * len(graph))
    torch.testing.assert_close(encodings.random_walks(pairs, 7)[0], dense)


def test_hundreds_of_equal_parts_and_nodes_without_edges_are_no_burden():
    graph = nx.disjoint_union_all([nx.cycle_graph(6)] * 220)
    (vectors,) = encodings.laplacian_eigenvectors([(edges_of(graph), len(graph))], 4)
    np.testing.assert_allclose((vectors.T @ vectors).numpy(), np.eye(4), atol=1e-6)
    path = edges_of(nx.path_graph(1501))
    alone, among = encodings.laplacian_eigenvectors([(path, 1501), (path, 3000)], 4)
    torch.testing.assert_close(among[:1501], alone, rtol=0, atol=0)
    assert (among[1501:] == 0).all()


def test_eigenvalues_of_long_paths_are_not_taken_for_zero():
    n = 23_000  # its first eigenvalue that is not 0 is 9e-9
    (vectors,) = encodings.laplacian_eigenvectors([(edges_of(nx.path_graph(n)), n)], 1)
    expected = np.cos(np.pi * np.arange(n) / (n - 1))
    expected[[0, -1]] /= np.sqrt(2)
    similarity = vectors[:, 0].double().numpy() @ expected / np.linalg.norm(expected)
    assert abs(similarity) > 0.999


@pytest.mark.slow
def test_walks_in_a_large_graph_do_not_fill_a_matrix(monkeypatch):
    n = 50_000
    walks = encodings.random_walks([(edges_of(nx.cycle_graph(n)), n)], 8)[0]
    expected = torch.tensor([0, 1 / 2, 0, 3 / 8, 0, 20 / 64, 0, 70 / 256])
    torch.testing.assert_close(walks, expected.expand(n, 8))


@pytest.mark.slow
def test_a_large_graph_takes_the_sparse_method_and_repeats():
    n = encodings.DENSE_NODES + 2
    graph = nx.random_regular_graph(3, n, seed=0)
    edges = edges_of(graph)
    first, second = (encodings.laplacian_eigenvectors([(edges, n)], 4)[0] for _ in range(2))
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
            assert ours[b, a] == (min(lengths[a][b], 3) if b in lengths[a] else -1)


def test_shortest_paths_follow_directions():
    assert encodings.shortest_paths(torch.tensor([[0], [1]]), 2, longest=5).tolist() == [[0, -1], [1, 0]]
    assert encodings.shortest_paths(torch.zeros(2, 0, dtype=torch.int64), 0, longest=5).shape == (0, 0)


def test_distances_that_do_not_fit_into_memory_are_refused():
    with pytest.raises(
        ValueError, match="shortest_path of a graph of 20001 nodes is a number for each of 400040001 pair"
    ):
        encodings.shortest_paths(torch.zeros(2, 0, dtype=torch.int64), 20_001, longest=5)


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
