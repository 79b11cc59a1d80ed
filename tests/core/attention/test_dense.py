import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from omniformer.core.attention.dense import Dense, grouped
from omniformer.core.attention.kernel import Weighing
from omniformer.core.attention.reference import Reference
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Window


def test_equally_long_samples_are_views_that_copy_nothing():
    layout = Layout.from_lengths(5, 5)
    kernel = Dense(Causal(), layout, layout)
    q = torch.randn(10, 2, 4)
    (rows,) = kernel._rows(q, q, q)[0]
    assert rows.data_ptr() == q.data_ptr() and kernel.takes_rows
    rows_of_cache = q.view(2, 5, 2, 4)
    assert torch.equal(kernel(q, rows_of_cache, rows_of_cache, scale=1.0), kernel(q, q, q, scale=1.0))


def test_full_and_causal_build_no_mask():
    layout = Layout.from_lengths(3, 3)
    assert all(bucket.mask is None for rule in (Full(), Causal()) for bucket in Dense(rule, layout, layout).buckets)


@pytest.mark.parametrize("held", [[4, 4], [5, 2]], ids=["equal", "ragged"])
@pytest.mark.parametrize("back", [1, 2], ids=["last", "one before"])
def test_in_decoding_the_last_token_needs_no_mask_of_pairs(held, back):
    keys = Layout.from_lengths(*held)
    new = Layout(lengths=torch.tensor([1, 1]), start=keys.lengths - back)
    kernel = Dense(Causal(), new, keys)
    q, k = torch.randn(2, 2, 8), torch.randn(sum(held), 2, 8)
    torch.testing.assert_close(kernel(q, k, k, scale=0.5), Reference(Causal(), new, keys)(q, k, k, scale=0.5))
    if held == [4, 4]:
        assert (kernel.buckets[0].mask is None) == (back == 1)


@pytest.mark.parametrize("rule", [Full(), Causal(), Window(left=1)])
def test_padding_inside_a_bucket_is_seen_by_nobody(rule):
    layout = Layout.from_lengths(2, 5, 0, 3)
    kernel = Dense(rule, layout, layout)
    assert len(kernel.buckets) == 1
    q, k, v = torch.randn(3, layout.n_tokens, 2, 4)
    torch.testing.assert_close(kernel(q, k, v, scale=0.5), Reference(rule, layout, layout)(q, k, v, scale=0.5))


@pytest.mark.parametrize(
    "lengths",
    [[1, 2, 3, 500, 510, 512], [7] * 40 + [900], list(range(1, 100)), [0, 5, 0, 300]],
    ids=["two sizes", "outlier", "even", "empty"],
)
def test_every_sample_with_tokens_is_in_one_bucket_and_few_buckets_suffice(lengths):
    lengths = torch.tensor(lengths)
    groups = grouped(lengths, lengths)
    assert sorted(torch.cat(groups).tolist()) == lengths.nonzero().flatten().tolist()
    assert len(groups) <= 6
    area = sum(len(group) * int(lengths[group].max()) ** 2 for group in groups)
    assert area <= len(lengths) * int(lengths.max()) ** 2


def test_a_packed_batch_costs_the_sum_of_squares_and_not_the_longest_squared():
    lengths = [64] * 60 + [1024]
    layout = Layout.from_lengths(*lengths)
    q = torch.randn(layout.n_tokens, 1, 8)
    kernel = Dense(Window(left=2000), layout, layout)
    with FlopCounterMode(display=False) as counter:
        kernel(q, q, q, scale=1.0, score=torch.tanh)  # written out: fused kernels are not counted on a CPU
    squares = sum(length**2 for length in lengths)
    assert 4 * 8 * squares <= counter.get_total_flops() <= 1.05 * 4 * 8 * squares
    assert counter.get_total_flops() < 0.05 * 4 * 8 * len(lengths) * max(lengths) ** 2


def draws(layout):
    return [torch.randn(layout.n_tokens, heads, 8, requires_grad=True) for heads in (4, 2, 2)]


@pytest.mark.parametrize("rule", [Full(), Causal(), Window(left=60)], ids=str)
def test_long_samples_of_different_lengths_are_views_that_nothing_pads(rule):
    layout = Layout.from_lengths(200, 200, 0, 90, 150)
    kernel = Dense(rule, layout, layout)
    assert kernel.in_order and [bucket.query.shape for bucket in kernel.buckets] == [(2, 200), (1, 90), (1, 150)]
    q, k, v = draws(layout)
    oracle = Reference(rule, layout, layout)
    ours, theirs = (each(q, k, v, scale=0.5) for each in (kernel, oracle))
    torch.testing.assert_close(ours, theirs)
    grad = torch.randn_like(ours)
    for own, other in zip(*(torch.autograd.grad(out, (q, k, v), grad) for out in (ours, theirs)), strict=True):
        torch.testing.assert_close(own, other)
    how = Weighing(0.5, None, None, 0.0)
    torch.testing.assert_close(kernel.lse(q, k, how), oracle.lse(q, k, how))


def test_views_of_queries_and_keys_of_other_lengths():
    layout, keys = Layout.from_lengths(50, 0, 80), Layout.from_lengths(120, 0, 90)
    kernel = Dense(Full(), layout, keys)
    (q, _, _), (_, k, v) = draws(layout), draws(keys)
    assert kernel.in_order
    torch.testing.assert_close(kernel(q, k, v, scale=0.5), Reference(Full(), layout, keys)(q, k, v, scale=0.5))
    # Queries without keys get zeros, and keys without queries are read by nobody: neither is a view.
    for lengths, held in (([3, 2], [90, 0]), ([3, 0], [90, 80])):
        layout, keys = Layout.from_lengths(*lengths), Layout.from_lengths(*held)
        kernel = Dense(Full(), layout, keys)
        (q, _, _), (_, k, v) = draws(layout), draws(keys)
        assert not kernel.in_order
        torch.testing.assert_close(kernel(q, k, v, scale=0.5), Reference(Full(), layout, keys)(q, k, v, scale=0.5))


def test_many_short_samples_are_gathered_into_few_buckets():
    layout = Layout.from_lengths(*([3, 9, 5, 7] * 20))
    assert len(Dense(Causal(), layout, layout).buckets) <= 6
