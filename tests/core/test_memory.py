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


def test_tokens_of_no_samples_are_none():
    assert tokens_of(Layout.from_lengths(2, 3), torch.zeros(0, dtype=torch.long)).tolist() == []


def test_a_memory_that_does_not_fit_its_layout_is_told():
    with pytest.raises(ValueError, match="memory has 4 rows, its layout has 5 tokens"):
        Memory(x=torch.zeros(4, 2), layout=Layout.from_lengths(2, 3))
