import gc
import multiprocessing
import os
import signal
import time

import pytest
import torch

from omniformer.data.loader import Evaluation, Feed
from omniformer.data.samples import SampleError
from omniformer.data.source import Raw, Source
from omniformer.data.stream import Stream


@pytest.fixture
def feed(lists, ints, monkeypatch):
    # torch waits so long for each worker of an iterator that it throws away, dead and stuck ones of other tests too.
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.5)

    def make(train=20, *, rank=0, world_size=1, seed=0, augment=None, **options):
        options.setdefault("batch_size", 4)
        stream = Stream(source=lists(train), augment=augment, **options)
        samples = stream.samples("train", {"text": ints}, name="x", seed=seed)
        return Feed(samples, stream, name="x", seed=seed, rank=rank, world_size=world_size)

    return make


@pytest.fixture
def evaluation(lists, ints):
    def make(val=20, *, rank=0, world_size=1, **options):
        options.setdefault("batch_size", 4)
        stream = Stream(source=lists(val=val), **options)
        samples = stream.samples("val", {"text": ints}, name="x", seed=0)
        return Evaluation(samples, stream, name="x", seed=0, rank=rank, world_size=world_size)

    return make


def draw(feed, n):
    return [next(feed) for _ in range(n)]


def ids(batches):
    return [batch.ids for batch in batches]


def random_token(content, generator):
    return [*content, int(torch.randint(1 << 40, (), generator=generator))]


def same(ours, theirs):
    return all(
        a.ids == b.ids and torch.equal(a.parts["text"].values, b.parts["text"].values)
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("workers", [1, 4])
def test_batches_do_not_depend_on_the_number_of_workers(feed, workers):
    ours = draw(feed(augment=random_token), 12)
    assert same(ours, draw(feed(augment=random_token, num_workers=workers), 12))


@pytest.mark.parametrize("options", [{}, {"batch_size": None, "tokens_per_batch": 12}, {"window": 8}])
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_take_the_samples_that_one_rank_takes_in_each_step(feed, world_size, options):
    alone = draw(feed(**options), 12)
    ranks = [draw(feed(rank=rank, world_size=world_size, **options), 12) for rank in range(world_size)]
    for step, batch in enumerate(alone):
        shared = [i for rank in ranks for i in rank[step].ids]
        assert sorted(shared) == sorted(batch.ids)  # a rank may be left with none


def test_every_epoch_visits_every_sample_once(feed):
    batches = draw(feed(10), 9)
    for epoch in range(3):
        seen = [i for batch in batches[3 * epoch : 3 * epoch + 3] for i in batch.ids]
        assert sorted(seen) == sorted(f"train-{i}" for i in range(10))


@pytest.mark.quick(6)
@pytest.mark.parametrize("taken", [0, 1, 4, 5, 6, 13])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 0), (0, 2)])
def test_a_resumed_feed_goes_on_with_the_next_batch_whatever_the_workers(feed, taken, before, after):
    options = {"augment": random_token, "batch_size": None, "tokens_per_batch": 12}
    first = feed(num_workers=before, **options)
    draw(first, taken)
    state = first.state_dict()
    second = feed(num_workers=after, **options)
    second.load_state_dict(state)
    assert same(draw(first, 9), draw(second, 9))


def test_a_feed_resumed_on_four_ranks_instead_of_two_repeats_and_loses_nothing(feed):
    two = [feed(rank=rank, world_size=2) for rank in range(2)]
    seen = [i for rank in two for batch in draw(rank, 2) for i in batch.ids]
    four = [feed(rank=rank, world_size=4) for rank in range(4)]
    for rank in four:
        rank.load_state_dict(two[0].state_dict())
        seen += [i for batch in draw(rank, 3) for i in batch.ids]
    assert sorted(seen) == sorted(f"train-{i}" for i in range(20))


def test_within_windows_every_epoch_is_whole_and_a_resumed_feed_goes_on(feed):
    batches = draw(feed(20, window=8), 12)
    assert sorted(i for batch in ids(batches[:5]) for i in batch) == sorted(f"train-{i}" for i in range(20))
    assert ids(batches[:5]) != ids(batches[5:10]) != ids(draw(feed(20), 10)[5:])
    stopped = feed(20, window=8)
    draw(stopped, 7)
    resumed = feed(20, window=8, num_workers=1)
    resumed.load_state_dict(stopped.state_dict())
    assert same(draw(resumed, 5), batches[7:])


def test_a_state_can_be_read_twice_and_goes_backwards_too(feed):
    ours = feed()
    state = ours.state_dict()
    first = ids(draw(ours, 7))
    ours.load_state_dict(state)
    assert ids(draw(ours, 7)) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": 19}, "samples was 20 when the checkpoint was written and is 19 now"),
        ({"batch_size": 5}, "batch_size was 4 when the checkpoint was written and is 5 now; restore batch_size=4"),
        ({"window": 8}, "window was None"),
        ({"seed": 1}, "seed was 0"),
    ],
)
def test_a_state_of_other_data_or_batches_is_refused(feed, options, message):
    with pytest.raises(ValueError, match=message):
        feed(**options).load_state_dict(feed().state_dict())


@pytest.fixture
def rare(ints):
    """A feed of 20 samples, of which every fifth is of a rare class."""

    class Rare(Source):
        def split(self, name):
            raws = [(i, {"label": torch.tensor(int(i % 5 == 0))}) for i in range(20)]
            return [Raw(id=f"{i % 5 == 0}/{i}", contents={"text": [7]}, targets=targets) for i, targets in raws]

    def make(*, rank=0, world_size=1, sampling="balanced", fold=None):
        stream = Stream(source=Rare(), batch_size=4, sampling=sampling, fold=fold)
        samples = stream.samples("train", {"text": ints}, name="x", seed=0)
        return Feed(samples, stream, name="x", seed=0, rank=rank, world_size=world_size)

    return make


def test_balanced_samples_are_the_same_on_any_number_of_ranks_and_after_a_break(rare):
    alone = rare()
    batches = draw(alone, 12)
    assert sum(i.startswith("True") for batch in batches[:5] for i in batch.ids) == 10
    ranks = [draw(rare(rank=rank, world_size=2), 12) for rank in range(2)]
    assert [sorted(batch.ids) for batch in batches] == [
        sorted([*one.ids, *other.ids]) for one, other in zip(*ranks, strict=True)
    ]
    begun, after = rare(), rare()
    draw(begun, 7)
    after.load_state_dict(begun.state_dict())
    assert ids(draw(after, 5)) == ids(batches[7:])


def test_a_place_among_other_samples_is_refused(rare):
    with pytest.raises(ValueError, match="cannot resume, sampling was balanced when .* and is None now"):
        rare(sampling="all").load_state_dict(rare().state_dict())
    old = rare(sampling="all").state_dict()
    old["plan"] = {key: value for key, value in old["plan"].items() if key not in ("sampling", "fold")}
    rare(sampling="all").load_state_dict(old)  # as it was written before there were any
    first, second = rare(fold=0), rare(fold=1)
    with pytest.raises(ValueError, match="cannot resume, .* when the checkpoint was written"):
        second.load_state_dict(first.state_dict())


def test_balance_needs_classes(ints):
    class Numbers(Source):
        def split(self, name):
            return [Raw(id="a", contents={"text": [7]}, targets={"value": torch.tensor(1.0)})]

    stream = Stream(source=Numbers(), sampling="balanced")
    samples = stream.samples("train", {"text": ints}, name="x", seed=0)
    with pytest.raises(ValueError, match="x: sampling=balanced draws samples by their target label, and sample 'a'"):
        Feed(samples, stream, name="x", seed=0)


def test_a_sample_longer_than_the_budget_is_named(feed):
    with pytest.raises(ValueError, match="'train-1' has 9 tokens, more than tokens_per_batch=8"):
        feed([[1], [1] * 9], batch_size=None, tokens_per_batch=8)


def test_no_training_samples_are_refused(feed):
    with pytest.raises(ValueError, match="x has no training samples"):
        feed(0)


def test_a_batch_that_does_not_divide_between_ranks_is_refused(feed):
    with pytest.raises(ValueError, match="batch_size=4 counts all ranks together and does not divide between 3"):
        feed(world_size=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_sample_stops_the_run_and_is_named(feed, workers):
    with pytest.raises(SampleError, match="sample 'train-2' of x: damaged header"):
        draw(feed([[1], [1], "corrupt", [1]], num_workers=workers), 1)


def test_skipping_replaces_a_corrupt_sample_the_same_way_each_time_and_counts_it(feed):
    contents = [[1]] * 10 + ["corrupt"]
    options = {"on_error": "skip", "max_bad_fraction": 0.1}
    first, second = feed(contents, **options), feed(contents, num_workers=2, **options)
    batches = draw(first, 6)
    assert ids(batches) == ids(draw(second, 6))
    assert [len(batch) for batch in batches] == [4, 4, 3, 4, 4, 3]
    assert first.bad.ids == second.bad.ids == {"train-10"}
    assert first.state_dict()["bad"] == ["train-10"]


def test_skipping_leaves_corrupt_samples_out_where_tokens_are_counted(feed):
    contents = [[1, 1]] * 10 + ["corrupt"]
    ours = feed(contents, batch_size=None, tokens_per_batch=6, on_error="skip", max_bad_fraction=0.1)
    batches = draw(ours, ours.n_batches)
    assert sorted(i for batch in batches for i in batch.ids) == sorted(f"train-{i}" for i in range(10))
    assert max(batch.n_tokens for batch in batches) <= 6


def test_too_many_corrupt_samples_stop_the_run_even_when_skipping(feed):
    ours = feed([[1]] * 10 + ["corrupt"] * 3, on_error="skip", max_bad_fraction=0.2)
    with pytest.raises(SampleError, match=r"3 of 13 samples of x cannot be read, more than max_bad_fraction=0\.2"):
        draw(ours, 20)


def test_nothing_but_corrupt_samples_ends_with_an_error(feed):
    with pytest.raises(SampleError, match="in a row cannot be read"):
        draw(feed(["corrupt"] * 5, on_error="skip", max_bad_fraction=1), 1)


def test_a_stuck_worker_ends_the_run_and_the_samples_it_had_are_named(feed):
    message = r"data of x: no worker had a batch ready within worker_timeout=1 seconds; .*waited for: train-0"
    with pytest.raises(RuntimeError, match=message):
        draw(feed(["stuck"], num_workers=1, worker_timeout=1.0), 1)


@pytest.fixture
def deaf():
    """As after Lightning, which puts back the signal handlers it found: torch hears of no dead worker."""
    from torch.utils.data._utils import signal_handling

    previous = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    known, signal_handling._SIGCHLD_handler_set = signal_handling._SIGCHLD_handler_set, True
    yield
    signal_handling._SIGCHLD_handler_set = known
    signal.signal(signal.SIGCHLD, previous)


def test_a_killed_worker_ends_the_run_and_the_samples_it_had_are_named(feed):
    with pytest.raises(RuntimeError, match=r"data of x: .*waited for: train-0"):
        draw(feed(["killed"], num_workers=1), 1)


def test_a_killed_worker_is_noticed_without_torchs_signal_handler(feed, deaf, monkeypatch):
    monkeypatch.setattr("omniformer.data.workers._WAIT", 0.5)
    with pytest.raises(RuntimeError, match=r"data of x: .*waited for: train-0"):
        draw(feed(["killed"], num_workers=1), 1)


def test_a_slow_batch_is_waited_for_while_workers_live(feed, ints, monkeypatch):
    monkeypatch.setattr("omniformer.data.workers._WAIT", 0.1)

    class Slow(type(ints)):
        def __call__(self, raw):
            time.sleep(0.5)
            return super().__call__(raw)

    ours = feed([[1], [2]], batch_size=1, num_workers=1)
    expected = ids(draw(feed([[1], [2]], batch_size=1), 2))
    ours.samples.tokenizers = {"text": Slow()}
    assert ids(draw(ours, 2)) == expected


def test_workers_end_with_the_feed(feed):
    others = set(multiprocessing.active_children())  # of feeds of other tests, which garbage may still hold
    ours = feed(num_workers=2)
    next(ours)
    workers = set(multiprocessing.active_children()) - others
    assert len(workers) == 2
    del ours
    assert not any(worker.is_alive() for worker in workers)


def test_workers_leave_garbage_that_they_inherit_to_the_process_that_made_it(feed, ints, tmp_path):
    class DeadLoader:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            (tmp_path / f"cleaned by {os.getpid()}").touch()

    class Collecting(type(ints)):
        def __call__(self, raw):
            gc.collect()
            return super().__call__([int(gc.isenabled())])

    ours = feed(4, num_workers=1)
    ours.samples.tokenizers = {"text": Collecting()}
    put_aside = bool(gc.get_freeze_count())
    DeadLoader()
    assert next(ours).parts["text"].values.tolist() == [1, 1, 1, 1]
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == [f"cleaned by {os.getpid()}"]
    assert gc.isenabled() and bool(gc.get_freeze_count()) == put_aside  # here all is as it was


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("val", [1, 5, 20])
def test_evaluation_counts_every_sample_once_in_equally_many_steps_on_all_ranks(evaluation, world_size, val):
    ranks = [list(evaluation(val, batch_size=24, rank=r, world_size=world_size)) for r in range(world_size)]
    assert len({len(rank) for rank in ranks}) == 1
    assert sorted(i for rank in ranks for batch in rank for i in batch.ids) == sorted(f"val-{i}" for i in range(val))


def test_evaluation_is_the_same_every_time_and_with_workers(evaluation):
    ours = evaluation()
    assert ids(ours) == ids(ours) == ids(evaluation(num_workers=2))


def test_evaluation_leaves_a_corrupt_sample_out_when_skipping(evaluation):
    ours = evaluation([[1], "corrupt", [1]], on_error="skip", max_bad_fraction=0.5)
    assert [i for batch in ours for i in batch.ids] == ["val-0", "val-2"]
    assert ours.bad.ids == {"val-1"}


def test_workers_see_no_threads_of_the_tokenizers_library(feed, ints):
    class Asking(type(ints)):
        def __call__(self, raw):
            return super().__call__([int(os.environ.get("TOKENIZERS_PARALLELISM") == "false")])

    ours = feed(4, num_workers=1)
    ours.samples.tokenizers = {"text": Asking()}
    assert next(ours).parts["text"].values.tolist() == [1, 1, 1, 1]
