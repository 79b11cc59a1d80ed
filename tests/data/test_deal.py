import itertools
from statistics import mean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omniformer.data.deal import Share, Work, deal
from omniformer.data.plan import Limits, train_batches

CORE = Work(token=768.0, pair=1.0)  # a narrow core: the longest sample costs almost four times its tokens


def unevenness(costs, shares):
    """By how much the costliest share exceeds the mean."""
    loads = [sum(costs[place] for place in share) for share in shares]
    return max(loads) / (sum(loads) / len(loads)) - 1


def steps(budget):
    lengths = torch.randint(16, 2049, (3000,), generator=torch.Generator().manual_seed(0)).tolist()
    *batches, _ = train_batches(len(lengths), lengths, Limits(tokens_per_batch=budget), seed=0, epoch=0, name="x")
    return [[CORE.of(lengths[i]) for i in batch] for batch in batches]


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(1, 6))
def test_everything_is_dealt_once_and_the_same_way_each_time(costs, n):
    shares = deal(costs, n)
    assert sorted(itertools.chain(*shares)) == list(range(len(costs)))
    assert all(share == sorted(share) for share in shares)
    assert shares == deal(costs, n)


@pytest.mark.parametrize(("budget", "n"), [(16_384, 2), (32_768, 4), (65_536, 8)])
def test_lengths_of_16_to_2048_are_dealt_within_two_percent(budget, n):
    assert max(unevenness(costs, deal(costs, n)) for costs in steps(budget)) <= 0.02


def test_where_a_rank_gets_three_or_four_samples_most_steps_are_within_two_percent():
    found = [unevenness(costs, deal(costs, 4)) for costs in steps(16_384)]
    assert mean(found) < 0.01
    assert mean(each <= 0.02 for each in found) > 0.9


def test_few_things_are_mostly_dealt_as_well_as_any_deal_could():
    chance = torch.Generator().manual_seed(0)
    missed = 0
    for _ in range(30):
        costs = torch.randint(1, 50, (7,), generator=chance).tolist()
        every = itertools.product(range(3), repeat=len(costs))
        deals = ([[i for i, rank in enumerate(ranks) if rank == own] for own in range(3)] for ranks in every)
        missed += unevenness(costs, deal(costs, 3)) > max(min(unevenness(costs, each) for each in deals) + 1e-9, 0.01)
    assert missed <= 2


@pytest.mark.parametrize("right", [0, 3, float("inf")])
@pytest.mark.parametrize("left", [0, 2, float("inf")])
def test_work_counts_the_pairs_within_reach(left, right):
    for length in range(8):
        pairs = sum(-left <= k - q <= right for q in range(length) for k in range(length))
        assert Work(token=10.0, pair=0.5, left=left, right=right).of(length) == 10 * length + 0.5 * pairs


@given(st.lists(st.integers(), unique=True, min_size=1, max_size=30), st.integers(1, 8))
def test_ranks_share_a_batch_by_number_without_loss_or_repetition(batch, world_size):
    shares = [Share(rank=rank, world_size=world_size).of(batch) for rank in range(world_size)]
    assert sorted(itertools.chain(*shares)) == sorted(batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_rank_may_be_left_with_nothing_rather_than_with_what_another_has():
    assert [Share(rank=rank, world_size=3).of([7, 8]) for rank in range(3)] == [[7], [8], []]


def test_ranks_share_by_work_where_lengths_are_known_each_in_the_order_of_the_step():
    lengths = [0, 10, 40, 10, 20]
    assert [Share(rank=rank, world_size=2, lengths=lengths).of([4, 3, 2, 1]) for rank in range(2)] == [[2], [4, 3, 1]]
