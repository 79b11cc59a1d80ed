import dataclasses

import pytest
import torch
from omniformer_tokenizers import Tokens, framed, pack, unpack


def graph(n: int, edges: list[list[int]], **more) -> Tokens:
    index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T
    return Tokens(values=torch.arange(n), positions=torch.zeros(n, 0), edges=index, modality="graph", **more)


def word(n: int, modality: str = "text") -> Tokens:
    return Tokens(values=torch.arange(n), positions=torch.arange(float(n))[:, None], modality=modality)


def test_edges_of_a_pack_point_at_the_samples_own_tokens():
    packed = pack([graph(2, [[0, 1]]), graph(0, []), graph(3, [[2, 0], [1, 1]])])
    assert packed.edges.T.tolist() == [[0, 1], [4, 2], [3, 3]]
    assert packed.edge_lengths.tolist() == [1, 0, 2]
    assert [sample.edges.T.tolist() for sample in unpack(packed)] == [[[0, 1]], [], [[2, 0], [1, 1]]]


def test_lengths_stay_on_the_host_when_a_pack_moves():
    packed = pack([graph(2, [[0, 1]])]).to("meta")
    assert packed.values.is_meta
    assert packed.edges.is_meta
    assert packed.lengths.tolist() == [2]
    assert packed.edge_lengths.tolist() == [1]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (word(2, "vision"), "modality is vision in sample 1 but text in sample 0"),
        (dataclasses.replace(word(2), values=torch.zeros(2, 3)), r"values is float32 .* in sample 1 but int64"),
        (dataclasses.replace(word(2), features={"x": torch.zeros(2)}), r"features\['x'\] is float32"),
        (dataclasses.replace(word(2), facts={"size": torch.zeros(2)}), r"facts\['size'\] is float32"),
        (dataclasses.replace(word(2), edges=torch.zeros(2, 0, dtype=torch.int64)), "edges is present in sample 1"),
    ],
)
def test_packing_samples_that_differ_says_how(other, message):
    with pytest.raises(ValueError, match=message):
        pack([word(2), other])


def test_packing_nothing_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        pack([])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"positions": torch.zeros(3, 1)}, r"positions have shape \[3, 1\]; expected \[2, axes\]"),
        ({"features": {"degree": torch.zeros(1)}}, "feature 'degree' has 1 rows for 2 tokens"),
        ({"pairs": {"distance": torch.zeros(2, 1)}}, r"pairs 'distance' have shape \[2, 1\] for 2 tokens"),
        ({"edges": torch.tensor([[0], [2]])}, r"edges point at tokens 0..2; the sample has tokens 0..1"),
        ({"edges": torch.tensor([[-1], [0]])}, r"edges point at tokens -1..0"),
        ({"edges": torch.zeros(3, 1, dtype=torch.int64)}, r"expected \[2, edges\]"),
        ({"edge_features": torch.zeros(1, 1)}, "edge_features given without edges"),
        ({"edges": torch.tensor([[0], [1]]), "edge_features": torch.zeros(2, 1)}, "2 edge_features for 1 edges"),
    ],
)
def test_fields_that_disagree_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(word(2), **fields)


def test_ids_are_framed_by_one_or_by_several():
    word = Tokens(values=torch.tensor([7]), positions=torch.tensor([[5.0]]), modality="text")
    assert framed(word, start=[1, 2], stop=3).values.tolist() == [1, 2, 7, 3]
    assert framed(word, start=[1, 2], stop=3).positions[:, 0].tolist() == [0, 1, 2, 3]
    assert framed(word, start=1).values.tolist() == framed(word, start=[1]).values.tolist() == [1, 7]
    assert framed(word, start=()) is word
