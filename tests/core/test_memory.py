import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.layout import Layout
from omniformer.core.memory import Memory, tokens_of


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=5), data=st.data())
def test_taken_samples_are_copies_of_the_old_ones_with_all_their_facts(lengths, data):
    samples = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=6))
    n = sum(lengths)
    layout = Layout(
        lengths=torch.tensor(lengths),
        positions=torch.rand(n, 2),
        modality=torch.arange(n),
        prefix=torch.arange(len(lengths)),
        features={"mark": torch.rand(n)},
    )
    memory = Memory(x=torch.randn(n, 3), layout=layout)
    taken = memory.take(torch.tensor(samples, dtype=torch.long))

    def pieces(values, lengths):
        return list(values.split(list(lengths)))

    for get in (
        lambda m: m.x,
        lambda m: m.layout.positions,
        lambda m: m.layout.modality,
        lambda m: m.layout.features["mark"],
        lambda m: m.layout.index,
    ):
        old, new = pieces(get(memory), lengths), pieces(get(taken), taken.layout.lengths.tolist())
        assert len(new) == len(samples)
        assert all(torch.equal(piece, old[sample]) for piece, sample in zip(new, samples, strict=True))
    assert taken.layout.prefix.tolist() == samples


def test_samples_without_memory_are_empty_and_the_others_keep_all_their_facts():
    layout = Layout(
        lengths=torch.tensor([2, 0, 1, 3]),
        positions=torch.rand(6, 2),
        modality=torch.arange(6),
        prefix=torch.arange(4),
        features={"mark": torch.rand(6)},
    )
    memory = Memory(x=torch.randn(6, 3), layout=layout)
    rest = memory.without(torch.tensor([True, False, False, False]))
    assert rest.layout.lengths.tolist() == [0, 0, 1, 3]
    assert rest.layout.prefix.tolist() == [0, 1, 2, 3]
    assert torch.equal(rest.x, memory.x[2:]) and torch.equal(rest.layout.positions, layout.positions[2:])
    assert torch.equal(rest.layout.modality, layout.modality[2:])
    assert torch.equal(rest.layout.features["mark"], layout.features["mark"][2:])
    assert len(memory.without(torch.ones(4, dtype=torch.bool)).x) == 0


def test_tokens_of_no_samples_are_none():
    assert tokens_of(Layout.from_lengths(2, 3), torch.zeros(0, dtype=torch.long)).tolist() == []


def test_a_memory_that_does_not_fit_its_layout_is_told():
    with pytest.raises(ValueError, match="memory has 4 rows, its layout has 5 tokens"):
        Memory(x=torch.zeros(4, 2), layout=Layout.from_lengths(2, 3))
