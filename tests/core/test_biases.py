"""Biases in plain loops; beside Hugging Face's they stand in test_against_huggingface.py."""

import math
from functools import partial

import pytest
import torch

from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi, ClassRelativeTable, RelativeTable, T5Buckets
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full, Window

KINDS = [
    ALiBi,
    T5Buckets,
    partial(T5Buckets, n_buckets=4, max_distance=5, bidirectional=False),
    partial(RelativeTable, max_distances=[3]),
    partial(ClassRelativeTable, max_distances=[3]),
]


def dense(bias, layout):
    return bias(layout.view()[:, None], layout.view()[None, :])


def test_alibi_is_a_slope_for_each_head_times_the_distance():
    bias = dense(ALiBi(n_heads=4), Layout.from_lengths(6))
    for head in range(4):
        for i in range(6):
            for j in range(6):
                assert bias[head, i, j].item() == pytest.approx(-(2 ** -(2 * (head + 1))) * abs(i - j))


def test_alibi_counts_places_within_each_sample():
    layout = Layout.from_lengths(2, 3)
    view = layout.view()
    bias = ALiBi(n_heads=1)(view, layout.view(torch.tensor([0, 0, 2, 2, 2])))
    assert (bias[0] / ALiBi(n_heads=1).slopes()).tolist() == [0, -1, 0, -1, -2]


def test_relative_table_holds_a_number_for_each_clipped_difference():
    torch.manual_seed(0)
    table = RelativeTable(n_heads=2, max_distances=[2])
    bias = dense(table, Layout.from_lengths(6))
    for i in range(6):
        for j in range(6):
            expected = table.table[max(-2, min(2, j - i)) + 2]
            assert torch.equal(bias[:, i, j], expected)


def test_relative_table_in_two_dimensions_reads_coordinates():
    torch.manual_seed(0)
    places = [(r, c) for r in range(3) for c in range(4)]
    layout = Layout(lengths=torch.tensor([12]), positions=torch.tensor(places).float())
    table = RelativeTable(n_heads=3, max_distances=[2, 3])
    bias = dense(table, layout)
    for i, (row, column) in enumerate(places):
        for j, (other_row, other_column) in enumerate(places):
            assert torch.equal(bias[:, i, j], table.table[other_row - row + 2, other_column - column + 3])


def test_a_class_token_has_numbers_of_its_own_beside_the_offsets():
    torch.manual_seed(0)
    places = [(0, 0), *((r, c) for r in range(2) for c in range(3))]
    layout = Layout(lengths=torch.tensor([7, 7]), positions=torch.tensor(places * 2).float())
    table = ClassRelativeTable(n_heads=2, max_distances=[1, 2])
    bias = dense(table, layout)
    assert torch.equal(bias[:, :7, :7], bias[:, 7:, 7:])
    for i, (row, column) in enumerate(places):
        for j, (other_row, other_column) in enumerate(places):
            expected = table.table[row - other_row + 1, column - other_column + 2]
            if i == 0 or j == 0:
                expected = table.class_table[2 if i == j else 0 if i == 0 else 1]
            assert torch.equal(bias[:, i, j], expected)


@pytest.mark.parametrize("kernel", ["dense", "reference"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", [Full(), Causal(), Causal() & Window(left=2)])
def test_every_kernel_adds_the_same_bias_and_gives_it_the_same_gradient(kind, rule, kernel):
    torch.manual_seed(0)
    bias, layout = kind(n_heads=4), Layout.from_lengths(5, 0, 3)
    q, v = torch.randn(8, 4, 6), torch.randn(8, 2, 6)
    k = torch.randn(8, 2, 6)
    out = lower(rule, layout, kernel=kernel).attend(q, k, v, bias=bias)
    expected = by_hand(q, k, v, dense(bias, layout), rule.mask(layout))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
    if parameters := list(bias.parameters()):
        weights = torch.randn(out.shape)
        ours, theirs = (torch.autograd.grad((each * weights).sum(), parameters)[0] for each in (out, expected))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def by_hand(q, k, v, bias, mask):
    k, v = (each.repeat_interleave(2, dim=1) for each in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) / 6**0.5 + bias
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, v)


@pytest.mark.parametrize("kind", KINDS)
def test_views_of_any_shape_get_the_numbers_of_their_pairs(kind):
    bias, layout = kind(n_heads=2), Layout.from_lengths(7)
    query, key = torch.randint(0, 7, (2, 3, 5))
    everything = dense(bias, layout)
    assert torch.equal(bias(layout.view(query), layout.view(key)), everything[:, query, key])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ALiBi(n_heads=0), "n_heads=0"),
        (lambda: T5Buckets(n_heads=2, n_buckets=2), "n_buckets=2 gives 1 buckets a side"),
        (lambda: T5Buckets(n_heads=2, max_distance=8), "max_distance=8 must exceed 8"),
        (lambda: RelativeTable(n_heads=2, max_distances=[]), r"max_distances=\[\]"),
        (lambda: RelativeTable(n_heads=2, max_distances=[-1]), r"max_distances=\[-1\]"),
    ],
)
def test_impossible_arguments_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("axes", "given"), [(2, 1), (1, 2)])
def test_positions_with_another_number_of_axes_are_told(axes, given):
    layout = Layout(lengths=torch.tensor([3]), positions=torch.zeros(3, given))
    with pytest.raises(ValueError, match=f"positions have {given} axes, this table has {axes}"):
        dense(RelativeTable(n_heads=1, max_distances=[2] * axes), layout)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("max_distance", [9, 20, 128])
def test_t5_distances_share_the_last_bucket_from_the_largest_distance_on_and_no_earlier(bidirectional, max_distance):
    bias = T5Buckets(n_heads=1, n_buckets=16, max_distance=max_distance, bidirectional=bidirectional)
    side = 8 if bidirectional else 16
    before = bias.bucket(-torch.arange(300))
    assert (before[max_distance:] == side - 1).all()
    # The last bucket begins where the logarithmic scale, which `max_distance` ends, enters its last step.
    near = side // 2
    begins = near * (max_distance / near) ** ((side - near - 1) / (side - near))
    assert int((before == side - 1).nonzero()[0]) == math.ceil(begins - 1e-4)
