import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from omniformer_tokenizers import pack_lengths


def first_fit_decreasing(lengths: list[int], capacity: int) -> list[list[int]]:
    """The textbook's loops: the lengths of each row."""
    rows: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        for row in rows:
            if sum(row) + length <= capacity:
                row.append(length)
                break
        else:
            rows.append([length])
    return rows


@given(st.integers(1, 30).flatmap(lambda c: st.tuples(st.just(c), st.lists(st.integers(0, c), max_size=60))))
def test_rows_are_those_of_first_fit_decreasing(drawn):
    capacity, lengths = drawn
    rows = pack_lengths(lengths, capacity)
    assert sorted(rows.order.tolist()) == list(range(len(lengths)))
    ours = sorted(sorted(lengths[i] for i in rows[r] if lengths[i]) for r in range(len(rows)))
    theirs = sorted(sorted(length for length in row if length) for row in first_fit_decreasing(lengths, capacity))
    assert [row for row in ours if row] == [row for row in theirs if row]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=80))
def test_no_row_is_overfull_and_fill_is_true(lengths):
    rows = pack_lengths(lengths, 50)
    totals = [sum(lengths[i] for i in rows[r]) for r in range(len(rows))]
    assert max(totals) <= 50
    assert rows.fill == pytest.approx(sum(totals) / (50 * len(rows)))


@pytest.mark.parametrize("mean", [100, 400])
def test_a_million_lengths_fill_rows_to_99_percent(mean):
    lengths = np.random.default_rng(0).exponential(mean, 1_000_000).astype(int).clip(1, 2048)
    rows = pack_lengths(lengths, 2048)
    assert rows.fill >= 0.99
    totals = np.add.reduceat(lengths[rows.order], rows.starts[:-1])
    assert totals.max() <= 2048
    np.testing.assert_array_equal(np.sort(rows.order), np.arange(1_000_000))


def test_no_samples_make_no_rows():
    assert len(pack_lengths([], 8)) == 0


@pytest.mark.parametrize("bad", [9, -1])
def test_a_sample_that_fits_no_row_is_named(bad):
    with pytest.raises(ValueError, match=f"sample 2 has {bad} tokens; rows hold 0 to 8"):
        pack_lengths([1, 2, bad], 8)


def test_a_row_outside_is_refused():
    with pytest.raises(IndexError, match="row 1 is outside"):
        pack_lengths([1], 8)[1]
