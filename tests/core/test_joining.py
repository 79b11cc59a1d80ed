import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omniformer.core.joining import join
from omniformer.core.layout import Layout


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6))
def test_every_sample_is_its_first_tokens_followed_by_its_second(lengths):
    a, b = ([pair[i] for pair in lengths] for i in (0, 1))
    first, second = Layout.from_lengths(*a), Layout.from_lengths(*b)
    x, y = torch.arange(float(sum(a)))[:, None], 100 + torch.arange(float(sum(b)))[:, None]
    joined = join(first, second)
    rows = joined.tokens(x, y).split((joined.layout.lengths).tolist())
    for row, left, right in zip(rows, x.split(a), y.split(b), strict=True):
        assert torch.equal(row, torch.cat([left, right]))
    assert joined.layout.prefix.tolist() == a


def test_a_prefix_may_reach_into_the_second_sequence():
    first = Layout(lengths=torch.tensor([2, 1]), prefix=torch.tensor([0, 3]))
    assert join(first, Layout.from_lengths(2, 2)).layout.prefix.tolist() == [2, 3]


def test_coordinates_modalities_and_edges_come_along():
    first = Layout(
        lengths=torch.tensor([2, 1]),
        positions=torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        modality=torch.tensor([1, 1, 1]),
        edges=torch.tensor([[0, 2], [1, 2]]),
        edge_features=torch.tensor([7, 8]),
    )
    second = Layout(lengths=torch.tensor([1, 1]), positions=torch.tensor([[9.0], [8.0]]), modality=torch.tensor([0, 0]))
    layout = join(first, second).layout
    assert layout.positions.tolist() == [[1, 2], [3, 4], [9, 0], [5, 6], [8, 0]]
    assert layout.modality.tolist() == [1, 1, 0, 1, 0]
    assert layout.edges.tolist() == [[0, 3], [1, 3]]
    assert layout.edge_features.tolist() == [7, 8]


def test_what_cannot_be_joined_is_told():
    with pytest.raises(ValueError, match="cannot join 2 samples with 1"):
        join(Layout.from_lengths(1, 1), Layout.from_lengths(1))
    pairs = Layout(lengths=torch.tensor([1]), pairs={"shortest_path": torch.zeros(1)})
    with pytest.raises(ValueError, match="carry shortest_path"):
        join(pairs, Layout.from_lengths(1))
