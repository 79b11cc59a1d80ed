from itertools import combinations, permutations

import networkx
import pytest

from omniformer.data.sets import atlas
from omniformer.data.sets.atlas import GraphAtlas

SPLITS = ("train", "val", "test")


def raws():
    return [raw for name in SPLITS for raw in GraphAtlas().split(name)]


def graph_of(raw):
    graph = networkx.empty_graph(raw.contents["graph"]["n_nodes"])
    graph.add_edges_from(raw.contents["graph"]["edges"])
    return graph


def edge_set(graph):
    return {frozenset(edge) for edge in graph.edges()}


def reachable(graph):
    """Nodes reached from node 0, by plain loops."""
    reached = {0} if len(graph) else set()
    for _ in graph:
        reached |= {b for a, b in [*graph.edges(), *((b, a) for a, b in graph.edges())] if a in reached}
    return reached


def slow_answers(graph):
    """Connected, bipartite, Eulerian, triangle, Hamiltonian: each straight from its definition."""
    nodes, edges = list(graph), edge_set(graph)
    connected = len(nodes) > 0 and reachable(graph) == set(nodes)
    sides = range(2 ** max(len(nodes) - 1, 0))
    bipartite = any(all((side >> a & 1) != (side >> b & 1) for a, b in graph.edges()) for side in sides)
    even = all(sum(node in edge for edge in edges) % 2 == 0 for node in nodes)
    triangle = any({frozenset(p) for p in combinations(t, 2)} <= edges for t in combinations(nodes, 3))
    hamiltonian = len(nodes) >= 3 and any(
        all(frozenset((a, b)) in edges for a, b in zip((0, *order), (*order, 0), strict=True))
        for order in permutations(nodes[1:])
    )
    return connected, bipartite, connected and even, triangle, hamiltonian


@pytest.mark.slow
def test_the_splits_hold_all_1253_graphs_once():
    assert [len(GraphAtlas().split(name)) for name in SPLITS] == [877, 125, 251]
    assert len({raw.id for raw in raws()}) == 1253


@pytest.mark.slow
def test_the_graphs_are_those_of_networkx():
    originals = networkx.graph_atlas_g()
    for raw in raws():
        original = originals[int(raw.id.split("/")[1])]
        assert edge_set(graph_of(raw)) == edge_set(original)
        assert len(graph_of(raw)) == len(original)


@pytest.mark.parametrize("part", range(8))
def test_answers_follow_from_the_definitions(part):
    columns = [GraphAtlas().labels.index(n) for n in ("connected", "bipartite", "eulerian", "triangle", "hamiltonian")]
    for raw in raws()[part::40]:
        assert tuple(raw.targets["labels"][columns].bool().tolist()) == slow_answers(graph_of(raw)), raw.id


def minors(edges):
    """The edge set and all that contracting edges makes of it."""
    seen, waiting = {edges}, [edges]
    while waiting:
        current = waiting.pop()
        for a, b in map(tuple, current):
            merged = frozenset(frozenset(a if node == b else node for node in edge) for edge in current)
            merged = frozenset(edge for edge in merged if len(edge) == 2)
            if merged not in seen:
                seen.add(merged)
                waiting.append(merged)
    return seen


def contains_kuratowski(edges):
    """Whether five nodes are joined pairwise, or three nodes each to three others."""
    nodes = set().union(*edges) if edges else set()
    for five in combinations(nodes, 5):
        if all(frozenset(pair) in edges for pair in combinations(five, 2)):
            return True
    for left in combinations(nodes, 3):
        for right in combinations(nodes - set(left), 3):
            if all(frozenset((a, b)) in edges for a in left for b in right):
                return True
    return False


def test_a_graph_is_planar_unless_contracting_edges_gives_a_kuratowski_graph():
    column = GraphAtlas().labels.index("planar")
    for raw in raws()[::25]:
        planar = not any(contains_kuratowski(minor) for minor in minors(frozenset(edge_set(graph_of(raw)))))
        assert bool(raw.targets["labels"][column]) == planar, raw.id


def test_tiny_and_disconnected_graphs_are_answered_as_stated():
    empty, single = networkx.empty_graph(0), networkx.empty_graph(1)
    edge, two_triangles = networkx.path_graph(2), networkx.disjoint_union(*[networkx.complete_graph(3)] * 2)
    assert [atlas.is_connected(g) for g in (empty, single, edge, two_triangles)] == [False, True, True, False]
    assert [atlas.is_eulerian(g) for g in (empty, single, edge, two_triangles)] == [False, True, False, False]
    assert [atlas.is_hamiltonian(g) for g in (empty, single, edge, two_triangles)] == [False] * 4
    assert [atlas.is_planar(g) for g in (empty, single, networkx.complete_graph(5))] == [True, True, False]
    assert [atlas.is_bipartite(g) for g in (empty, single, edge, two_triangles)] == [True, True, True, False]


def test_the_graph_without_nodes_is_a_sample_of_no_tokens():
    from omniformer_tokenizers import GraphTokenizer

    raw = next(raw for raw in raws() if raw.contents["graph"]["n_nodes"] == 0)
    assert len(GraphTokenizer(laplacian=2, random_walk=2)(raw.contents["graph"])) == 0
