from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniformer.data.loader import Evaluation, Feed
from omniformer.data.mixture import EvaluationLoader, MixtureLoader, RepeatedLoader, shares
from omniformer.data.module import OmniDataModule
from omniformer.data.stream import Stream


@pytest.fixture
def mixture(lists, ints):
    """A mixture from (samples, weight) by name."""

    def make(members, **options):
        feeds = {}
        for name, (n, _) in members.items():
            stream = Stream(source=lists(n), batch_size=4)
            feeds[name] = Feed(stream.samples("train", {"text": ints}, name=name, seed=0), stream, name=name, seed=0)
        return MixtureLoader(feeds, {name: weight for name, (_, weight) in members.items()}, **options)

    return make


def ids(steps):
    return [{name: batch.ids for name, batch in step.items()} for step in steps]


def test_an_epoch_passes_the_longest_data_set_once(mixture):
    assert len(mixture({"a": (20, 1), "b": (8, 1)})) == 5
    assert len(mixture({"a": (20, 1), "b": (8, 0.25)})) == 8


def test_every_step_has_a_batch_of_each_member_that_is_due(mixture):
    names = [sorted(step) for step in mixture({"a": (20, 1), "b": (8, 0.5)})]
    assert names == [["a"], ["a", "b"], ["a"], ["a", "b"], ["a"]]


def test_members_cycle_through_their_own_epochs(mixture):
    steps = list(mixture({"a": (20, 1), "b": (8, 1)}))
    first, second = ([i for step in part for i in step["b"].ids] for part in (steps[:2], steps[2:4]))
    assert sorted(first) == sorted(second) == sorted(f"train-{i}" for i in range(8))
    assert first != second


@given(st.integers(1, 100), st.integers(1, 500))
def test_weights_are_kept_to_one_step_at_any_time(percent, steps):
    loader = MixtureLoader({"a": None, "b": None}, {"a": 1.0, "b": percent / 100})
    due = sum("b" in loader.due(step) for step in range(steps))
    assert abs(due - Fraction(percent, 100) * steps) < 1


def test_a_member_is_the_same_alone_and_in_a_mixture(mixture):
    alone = [step["a"].ids for step in mixture({"a": (20, 1)})]
    assert alone == [step["a"].ids for step in mixture({"a": (20, 1), "b": (8, 0.5)})]


@pytest.mark.parametrize("taken", [0, 1, 4, 5, 7, 11])
def test_a_resumed_mixture_goes_on_with_the_next_step(mixture, taken):
    members = {"a": (20, 1), "b": (10, 0.4)}

    def endless(loader):
        while True:
            yield from loader

    first = mixture(members)
    walk = endless(first)
    for _ in range(taken):
        next(walk)
    state = first.state_dict()
    second = mixture(members)
    second.load_state_dict(state)
    other = endless(second)
    assert ids(next(walk) for _ in range(12)) == ids(next(other) for _ in range(12))


def test_the_data_of_a_step_do_not_depend_on_where_epochs_are_cut(mixture):
    long, short = mixture({"a": (20, 1)}, steps_per_epoch=12), mixture({"a": (20, 1)}, steps_per_epoch=3)
    assert ids(long) == [step for _ in range(4) for step in ids(short)]


def test_asking_for_an_iterator_takes_no_batch(mixture):
    loader = mixture({"a": (20, 1)})
    iter(loader)
    assert loader.state_dict()["step"] == 0


def test_a_state_of_other_members_is_refused(mixture):
    state = mixture({"a": (20, 1)}).state_dict()
    with pytest.raises(ValueError, match=r"written with the data sets \['a'\]; this run has \['b'\]"):
        mixture({"b": (20, 1)}).load_state_dict(state)


def test_a_mixture_in_which_some_steps_would_be_empty_is_refused(mixture):
    with pytest.raises(ValueError, match="some steps would have no data"):
        mixture({"a": (20, 0.5)})


def test_a_mixture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one data set"):
        MixtureLoader({}, {})


def test_the_repeated_loader_gives_the_same_first_steps_each_time(mixture):
    repeated = RepeatedLoader(mixture({"a": (20, 1)}), 2)
    assert len(repeated) == 2
    assert ids(repeated) == ids(repeated) == ids(mixture({"a": (20, 1)}))[:2]


def test_evaluation_takes_one_member_a_step_in_turn(lists, ints):
    def evaluation(n):
        stream = Stream(source=lists(val=n), batch_size=4)
        return Evaluation(stream.samples("val", {"text": ints}, name="x", seed=0), stream, name="x", seed=0)

    loader = EvaluationLoader({"a": evaluation(8), "b": evaluation(3)})
    assert [list(step) for step in loader] == [["a"], ["b"], ["a"]]
    assert len(loader) == 3


@pytest.mark.parametrize(("temperature", "small"), [(None, 0.5), (1.0, 0.05), (2.0, 0.5 * 0.1**0.5), (1e9, 0.5)])
def test_temperature_turns_sizes_into_shares_beside_the_weights(temperature, small):
    found = shares({"large": 100, "small": 10}, {"large": 1.0, "small": 0.5}, temperature)
    assert found == pytest.approx({"large": 1.0, "small": small}, rel=1e-6)


def test_in_proportion_to_size_all_sets_end_their_epochs_together(lists, ints):
    module = OmniDataModule(
        streams={name: Stream(source=lists(train=n), batch_size=2) for name, n in (("large", 40), ("small", 10))},
        tokenizers={name: {"text": ints} for name in ("large", "small")},
        seed=0,
        mixture_temperature=1.0,
    )
    loader = module.train_dataloader()
    seen = [name for step in loader for name in step]
    assert len(loader) == 20 and seen.count("large") == 20 and seen.count("small") == 5


def test_a_temperature_of_nought_is_refused():
    with pytest.raises(ValueError, match="mixture_temperature=0 must be above 0"):
        shares({"a": 1}, {"a": 1.0}, 0)
