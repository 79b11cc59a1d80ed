import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.chunks import chunks_of
from omniformer.core.layout import Layout

LENGTHS = st.lists(st.integers(0, 9), max_size=5)


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS, size=st.integers(1, 5))
def test_packed_is_the_inverse_of_rows(lengths, size):
    x = torch.arange(sum(lengths) * 2.0).view(-1, 2) + 1
    chunks = chunks_of(Layout.from_lengths(*lengths), size)
    rows = chunks.rows(x)
    assert torch.equal(chunks.packed(rows), x)
    assert rows.sum() == x.sum()  # what is filled up is zero


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS, size=st.integers(1, 5))
def test_sums_of_rows_stay_within_their_sample(lengths, size):
    x = torch.arange(float(sum(lengths))) ** 2 + 1
    chunks = chunks_of(Layout.from_lengths(*lengths), size)
    sums = chunks.rows(x).sum(1)
    total, before = chunks.sum_by_sample(sums), chunks.sum_before(sums)
    start, row = 0, 0
    for i, n in enumerate(lengths):
        sample = x[start : start + n]
        assert total[i] == sample.sum()
        for first in range(0, n, size):
            assert before[row] == sample[:first].sum()
            row += 1
        start += n
    assert row == len(sums)
