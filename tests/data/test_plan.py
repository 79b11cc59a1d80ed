import itertools
import tracemalloc
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omniformer.data.deal import Share
from omniformer.data.plan import Limits, TrainPlan, balanced, eval_batches, train_batches
from omniformer.data.random import windowed

lengths_of_samples = st.lists(st.integers(0, 50), min_size=1, max_size=200)


def flat(batches):
    return [i for batch in batches for i in batch]


def plan(lengths, limits, *, epoch=0, seed=0):
    return list(train_batches(len(lengths), lengths, limits, seed=seed, epoch=epoch, name="x"))


@given(lengths_of_samples, st.integers(50, 200), st.none() | st.integers(1, 20), st.integers(0, 3))
def test_an_epoch_holds_every_sample_once_and_no_batch_passes_a_limit(lengths, budget, size, epoch):
    batches = plan(lengths, Limits(batch_size=size, tokens_per_batch=budget), epoch=epoch)
    assert sorted(flat(batches)) == list(range(len(lengths)))
    assert all(batch and sum(lengths[i] for i in batch) <= budget for batch in batches)
    assert size is None or max(map(len, batches)) <= size


def test_token_batches_are_at_least_95_percent_full():
    lengths = torch.randint(16, 513, (5000,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = plan(lengths, Limits(tokens_per_batch=8192))
    assert sum(lengths) / (8192 * len(batches)) >= 0.95


def test_token_batches_join_long_and_short_samples_so_that_they_can_be_divided_evenly():
    lengths = torch.randint(16, 513, (5000,), generator=torch.Generator().manual_seed(0)).tolist()
    *batches, _ = plan(lengths, Limits(tokens_per_batch=8192))
    assert all(min(sizes) < 256 < max(sizes) for sizes in ([lengths[i] for i in batch] for batch in batches))


def test_epochs_have_different_batches_and_the_same_epoch_has_the_same():
    limits = Limits(batch_size=4)
    assert plan([1] * 40, limits, epoch=1) == plan([1] * 40, limits, epoch=1)
    assert plan([1] * 40, limits, epoch=1) != plan([1] * 40, limits, epoch=2)
    assert plan([1] * 40, limits, epoch=1, seed=1) != plan([1] * 40, limits, epoch=1)


def test_training_drops_no_sample_of_the_last_incomplete_batch():
    assert sorted(map(len, plan([1] * 10, Limits(batch_size=4)))) == [2, 4, 4]


@given(st.integers(0, 300), st.integers(1, 40))
def test_evaluation_keeps_the_order_and_makes_even_batches(length, size):
    batches = eval_batches(length, None, Limits(batch_size=size))
    assert flat(batches) == list(range(length))
    sizes = {len(batch) for batch in batches}
    assert len(sizes) < 3
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert max(sizes, default=0) <= size


@given(lengths_of_samples)
def test_evaluation_by_tokens_keeps_order_and_budget(lengths):
    batches = eval_batches(len(lengths), lengths, Limits(tokens_per_batch=50))
    assert flat(batches) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in batch) <= 50 for batch in batches)


def test_the_order_of_very_many_samples_takes_eight_bytes_each():
    tracemalloc.start()
    batches = train_batches(1_000_000, None, Limits(batch_size=8), seed=0, epoch=0, name="x")
    assert len(batches) == 125_000
    assert len(batches[-1]) == len(batches[-2:][0]) == 8
    assert len(eval_batches(10**12, None, Limits(batch_size=8))) == 125_000_000_000
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000  # of Python; the order itself is one tensor


def test_a_batch_behind_the_last_one_is_refused():
    with pytest.raises(IndexError):
        eval_batches(5, None, Limits(batch_size=4))[2]


def test_a_batch_without_any_limit_is_refused():
    with pytest.raises(ValueError, match="both null"):
        Limits()


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="tokens_per_batch=0 must be at least 1"):
        Limits(tokens_per_batch=0)


def test_an_epoch_that_is_gone_on_with_begins_at_its_next_batch():
    batches = TrainPlan(10, None, Limits(batch_size=4), seed=0, name="set")
    whole = list(itertools.islice(batches.keys(0, 0, Share()), 6))
    assert list(itertools.islice(batches.keys(0, 2, Share()), 4)) == whole[2:]


CLASSES = st.lists(st.sampled_from([0, 0, 0, 0, 2, 5]), min_size=1, max_size=80)


@given(CLASSES, st.integers(0, 3))
def test_as_many_samples_are_drawn_each_class_equally_often_and_each_sample_of_it(classes, seed):
    order = balanced(classes, torch.Generator().manual_seed(seed))
    assert len(order) == len(classes)
    often = Counter(classes[i] for i in order)
    assert often.keys() == set(classes) or len(classes) < len(set(classes))
    assert max(often.values()) - min(often.values()) <= 1
    for label in often:
        times = [order.count(i) for i, each in enumerate(classes) if each == label]
        assert max(times) - min(times) <= 1


def test_balanced_epochs_draw_others_of_a_frequent_class_and_the_same_epoch_the_same():
    classes = [0] * 36 + [1] * 4

    def epoch(number, seed=0):
        limits = Limits(batch_size=8)
        return list(train_batches(40, None, limits, seed=seed, epoch=number, name="x", classes=classes))

    assert epoch(1) == epoch(1)
    assert {i for i in flat(epoch(1)) if i < 36} != {i for i in flat(epoch(2)) if i < 36}
    assert epoch(1) != epoch(1, seed=1)
    assert [len(batch) for batch in epoch(0)] == [8] * 5


def test_balanced_batches_keep_a_budget_of_tokens():
    lengths, classes = [1 + i % 5 for i in range(60)], [int(i % 10 == 0) for i in range(60)]
    limits = Limits(tokens_per_batch=12)
    batches = train_batches(60, lengths, limits, seed=0, epoch=0, name="x", classes=classes)
    assert all(sum(lengths[i] for i in batch) <= 12 for batch in batches)
    assert Counter(classes[i] for i in flat(batches)) == {0: 30, 1: 30}


@given(st.integers(0, 200), st.integers(1, 100), st.integers(0, 3))
def test_windows_hold_every_sample_once_and_epochs_differ(length, window, epoch):
    order = windowed(length, window, seed=0, epoch=epoch, name="x").tolist()
    assert sorted(order) == list(range(length))
    assert order == windowed(length, window, seed=0, epoch=epoch, name="x").tolist()


def test_a_window_reads_few_stretches_and_mixes_them():
    order = windowed(100_000, 1600, seed=0, epoch=0, name="x")
    for part in order.split(1600)[:5]:
        assert len({i // 100 for i in part.tolist()}) == 16
        assert len({i // 100 for i in part[:100].tolist()}) > 10
    assert not torch.equal(order, windowed(100_000, 1600, seed=0, epoch=1, name="x"))


def test_batches_keep_to_windows():
    batches = train_batches(100, None, Limits(batch_size=10), seed=0, epoch=0, name="x", window=20)
    assert flat(batches) == windowed(100, 20, 0, 0, "x").tolist()
