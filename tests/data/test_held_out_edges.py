import networkx as nx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omniformer_tokenizers import BPETokenizer, GraphTokenizer, Tokens

from omniformer.batch import collate
from omniformer.data import held_out_edges
from omniformer.data.held_out_edges import HeldOutEdges
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw

RING = {"n_nodes": 12, "edges": [[i, (i + 1) % 12] for i in range(12)]}
PLAIN = GraphTokenizer(max_degree=0)


def divided(*graphs, split="train", seed=0, tokenizer=PLAIN, contents=None, **how):
    raws = [Raw(id=f"g{i}", contents={"graph": graph, **(contents or {})}) for i, graph in enumerate(graphs)]
    tokenizers = {"graph": tokenizer, "text": BPETokenizer(vocab_size=257).fit(["a"])}
    return HeldOutEdges(**how)(raws, tokenizers, name="x", seed=seed, split=split)


def undirected(edges) -> set[tuple[int, int]]:
    return {(min(a, b), max(a, b)) for a, b in edges if a != b}


def seen(sample) -> set[tuple[int, int]]:
    return undirected(sample.pieces[-1].edges.T.tolist())


def asked(sample, joined) -> set[tuple[int, int]]:
    return undirected(sample.answer[0].values[sample.answer[0].values[:, 2] == joined, :2].tolist())


@st.composite
def graphs(draw):
    n = draw(st.integers(0, 9))
    pairs = [[a, b] for a in range(n) for b in range(n)]
    return {"n_nodes": n, "edges": draw(st.lists(st.sampled_from(pairs), max_size=30)) if pairs else []}


@given(graphs(), st.floats(0.05, 0.95), st.booleans(), st.integers(0, 2))
def test_edges_are_seen_or_asked_for_and_never_both(graph, share, directed, epoch):
    samples = divided(graph, share=share, tokenizer=GraphTokenizer(max_degree=0, directed=directed))
    sample = samples(epoch, 0)
    whole, n = undirected(graph["edges"]), graph["n_nodes"]
    positives, negatives = asked(sample, 1), asked(sample, 0)
    assert seen(sample) | positives == whole
    assert not seen(sample) & positives
    assert len(positives) == (max(1, round(share * len(whole))) if whole else 0)
    assert not negatives & whole
    assert len(negatives) == min(len(positives), n * (n - 1) // 2 - len(whole))
    assert len(sample.answer[0]) == len(positives) + len(negatives)


def test_large_graphs_draw_pairs_without_listing_all(monkeypatch):
    monkeypatch.setattr(held_out_edges, "_MANY_NODES", 2)
    sample = divided(RING, share=0.9)(0, 0)
    assert len(asked(sample, 0)) == len(asked(sample, 1)) == 11
    assert not asked(sample, 0) & undirected(RING["edges"])


def test_features_know_nothing_of_the_edges_taken_out():
    tokenizer = GraphTokenizer(random_walk=3, shortest_path=4, edge_vocab_sizes=(2,), node_vocab_sizes=(3,))
    graph = RING | {"node_features": [[i % 3] for i in range(12)], "edge_features": [[i % 2] for i in range(12)]}
    sample = divided(graph, share=0.3, tokenizer=tokenizer)(0, 0)
    rest = sorted(seen(sample))
    labels = {tuple(sorted(edge)): label for edge, label in zip(graph["edges"], graph["edge_features"], strict=True)}
    again = tokenizer(graph | {"edges": rest, "edge_features": [labels[edge] for edge in rest]})
    (piece,) = sample.pieces
    assert torch.equal(piece.features["degree"], again.features["degree"])
    torch.testing.assert_close(piece.features["random_walk"], again.features["random_walk"])
    assert torch.equal(piece.pairs["shortest_path"], again.pairs["shortest_path"])
    assert torch.equal(piece.values, again.values)
    for (a, b), label in zip(piece.edges.T.tolist(), piece.edge_features.tolist(), strict=True):
        assert label == labels[min(a, b), max(a, b)]


def test_a_graph_whose_features_cannot_be_made_again_is_told():
    with pytest.raises(SampleError, match="sample 'g0' of x: .*virtual_node.* give away the edges"):
        divided(RING, tokenizer=GraphTokenizer(virtual_node=True))(0, 0)


def test_training_takes_others_out_each_epoch_and_evaluation_always_the_same():
    first, again, other = (asked(divided(RING, share=0.5)(epoch, 0), 1) for epoch in (1, 1, 2))
    assert first == again != other
    fixed = [asked(divided(RING, share=0.5, split="val", seed=seed)(seed, 0), 1) for seed in (0, 1)]
    assert fixed[0] == fixed[1]


def test_where_all_splits_hold_the_same_graph_edges_of_evaluation_never_reach_training():
    graph = {"n_nodes": 30, "edges": [list(edge) for edge in nx.path_graph(30).edges]}
    each = [asked(divided(graph, share=0.2, same_graph=True, split=split)(0, 0), 1) for split in ("val", "test")]
    assert [len(edges) for edges in each] == [6, 6]
    assert not each[0] & each[1]
    held = each[0] | each[1]
    train = divided(graph, share=0.2, same_graph=True, seed=5)
    for epoch in range(10):
        sample = train(epoch, 0)
        assert not held & (seen(sample) | asked(sample, 1) | asked(sample, 0))
        assert len(asked(sample, 1)) == round(0.2 * 17)


def test_tokens_are_counted_within_the_sample_and_samples_make_one_batch():
    samples = divided(RING, {"n_nodes": 0, "edges": []}, RING, share=0.2)
    batch = collate([samples(0, i) for i in range(3)])
    assert batch.answer.counts["links"].tolist() == [4, 0, 4]
    raw = Raw(id="a", contents={"text": "aaa", "graph": RING})
    tokenizers = {"graph": PLAIN, "text": BPETokenizer(vocab_size=257).fit(["a"])}
    sample = HeldOutEdges(share=0.2)([raw], tokenizers, name="x", seed=0, split="train")(0, 0)
    links = sample.answer[0].values
    assert undirected((links[links[:, 2] == 1, :2] - 3).tolist()) == undirected(RING["edges"]) - seen(sample)


def test_pieces_without_edges_are_left_alone():
    class Bare(type(PLAIN)):
        def __call__(self, raw):
            return Tokens(values=torch.zeros(3, 1).long(), positions=torch.zeros(3, 0), modality="graph")

    assert len(divided(RING, tokenizer=Bare())(0, 0).answer[0]) == 0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match=f"share={share} must be above 0 and below 1"):
        HeldOutEdges(share=share)


def test_a_modality_without_tokenizer_is_told():
    with pytest.raises(ValueError, match="modality='molecule' has no tokenizer"):
        divided(RING, modality="molecule")
