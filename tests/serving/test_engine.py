"""What waits for the model, and in which batches it is done."""

import asyncio
import random
import threading
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass

import pytest

from omniformer.serving.engine import BusyError, Engine
from omniformer.serving.metrics import Metrics
from omniformer.serving.work import Work, Writing


class Door:
    """Holds the model up until it is opened, and notes what it was given."""

    def __init__(self):
        self.open = threading.Event()
        self.batches = []


@dataclass(frozen=True)
class Doubling(Work):
    door: Door
    option: int = 0

    def run(self, predictor, named):
        assert self.door.open.wait(30)
        self.door.batches.append([raw for _, raw in named])
        if any(raw == "fault" for _, raw in named):
            raise RuntimeError("a fault")
        return [ValueError(f"{name} is bad") if raw == "bad" else raw * 2 for name, raw in named]


class Letters(Writing):
    """Streams the letters of its prompt."""

    def stream(self, predictor, raw):
        return iter(raw)


@pytest.fixture
def engine():
    made = []

    def make(**options):
        made.append(Engine(None, Metrics(), **{"window": 0.0, **options}))
        return made[-1]

    yield make
    for each in made:
        assert each.close(30)


def named(*raws):
    return [(f"input {i}", raw) for i, raw in enumerate(raws)]


def busy(engine, door):
    """Gives the engine something to do until the door is opened."""
    (held,) = engine.submit(Doubling(door, option=-1), named(0))
    while held.running() is False:
        pass
    return held


def test_inputs_of_many_clients_with_the_same_wish_are_one_batch_and_get_their_own_answers(engine):
    made, door = engine(max_batch=3), Door()
    busy(made, door)
    futures = [made.submit(Doubling(door, option=i % 2), named(i))[0] for i in range(7)]
    door.open.set()
    assert [future.result(30) for future in futures] == [2 * i for i in range(7)]
    assert door.batches == [[0], [0, 2, 4], [1, 3, 5], [6]]


def test_a_bad_input_spoils_no_other_and_a_fault_reaches_everyone(engine, caplog):
    made, door = engine(), Door()
    door.open.set()
    good, bad = made.submit(Doubling(door), named(1, "bad"))
    assert good.result(30) == 2
    with pytest.raises(ValueError, match="input 1 is bad"):
        bad.result(30)
    assert not caplog.messages
    with pytest.raises(RuntimeError, match="a fault"):
        made.submit(Doubling(door), named("fault"))[0].result(30)
    assert caplog.messages == ["a batch failed"]
    assert made.submit(Doubling(door), named(4))[0].result(30) == 8  # and it goes on


def test_more_than_may_wait_is_refused_whole(engine):
    made, door = engine(max_waiting=4), Door()
    busy(made, door)
    kept = made.submit(Doubling(door), named(1, 2))
    with pytest.raises(BusyError, match="3 inputs wait already and 2 more are too many"):
        made.submit(Doubling(door), named(3, 4))
    kept += made.submit(Doubling(door), named(5))
    door.open.set()
    assert [each.result(30) for each in kept] == [2, 4, 10]


def test_what_is_cancelled_while_it_waits_is_never_done(engine):
    made, door = engine(), Door()
    busy(made, door)
    gone, kept = made.submit(Doubling(door), named(1, 2))
    assert gone.cancel()
    door.open.set()
    assert kept.result(30) == 4
    assert door.batches == [[0], [2]]


def test_at_the_end_what_was_taken_is_finished_and_nothing_new_is_taken(engine):
    made, door = engine(), Door()
    busy(made, door)
    kept = made.submit(Doubling(door), named(1, 2, 3))
    assert not made.close(0.01)
    with pytest.raises(BusyError, match="about to end"):
        made.submit(Doubling(door), named(4))
    door.open.set()
    assert made.close(30) and not made.alive
    assert [each.result(0) for each in kept] == [2, 4, 6]


def test_a_window_lets_others_join(engine):
    made, door = engine(window=0.3), Door()
    door.open.set()
    first = made.submit(Doubling(door), named(1))
    second = made.submit(Doubling(door), named(2))
    assert [first[0].result(30), second[0].result(30)] == [2, 4]
    assert door.batches == [[1, 2]]


def test_streams_take_turns_with_each_other_and_with_batches(engine):
    made, door = engine(max_streams=2), Door()
    busy(made, door)
    told = []
    futures = [made.stream(Letters(), "prompt", text, told.append) for text in ("abc", "123", "xy")]
    batch = made.submit(Doubling(door), named(1))
    door.open.set()
    for future in (*futures, *batch):
        future.result(30)
    said = "".join(told)
    assert sorted(said) == sorted("abc123xy")
    assert said.index("1") < said.index("c") < said.index("x")  # two at a time, by turns; the third when there is room
    for text in ("abc", "123", "xy"):
        assert "".join(each for each in said if each in text) == text


def test_who_wants_no_more_of_a_stream_ends_it(engine):
    made = engine()
    told = []

    def hear(piece):
        if len(told) == 2:
            raise CancelledError
        told.append(piece)

    made.stream(Letters(), "prompt", "abcdef", hear)
    assert made.close(30)
    assert told == ["a", "b"]


@pytest.mark.parametrize("options", [{"max_batch": 0}, {"max_waiting": 0}, {"max_streams": 0}, {"window": -1.0}])
def test_numbers_below_their_least_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.* must be at least"):
        Engine(None, Metrics(), **options)


def test_one_fault_in_a_batch_spoils_no_other_answer(engine, caplog):
    made, door = engine(), Door()
    busy(made, door)
    good, fault, other = made.submit(Doubling(door), named(1, "fault", 2))
    door.open.set()
    assert (good.result(30), other.result(30)) == (2, 4)
    with pytest.raises(RuntimeError, match="a fault"):
        fault.result(30)
    assert caplog.messages == ["a batch failed"]


def test_where_all_texts_are_streamed_nothing_is_said_to_wait(engine):
    made = engine()
    made.stream(Letters(), "prompt", "ab", lambda piece: None).result(30)
    for _ in range(3000):
        if "omniformer_waiting_inputs 0.0" in made.metrics.text().decode():
            break
        time.sleep(0.01)
    else:
        pytest.fail("a text that is whole still counts as waiting")


@dataclass(frozen=True)
class Forgetful(Work):
    """Gives fewer results than it has inputs."""

    def run(self, predictor, named):
        return []


def test_a_work_that_forgets_an_answer_is_told_and_the_engine_goes_on(engine, caplog):
    made, door = engine(), Door()
    door.open.set()
    for future in made.submit(Forgetful(), named(1, 2)):
        with pytest.raises(RuntimeError, match=r"Forgetful.* gave 0 results for 1 inputs"):
            future.result(30)
    assert made.submit(Doubling(door), named(4))[0].result(30) == 8


def test_a_fault_of_the_engine_itself_leaves_nobody_waiting(engine, monkeypatch, caplog):
    made, door = engine(), Door()
    door.open.set()

    def broken(*_):
        raise OverflowError("no more numbers")

    monkeypatch.setattr(made.metrics, "batch", broken)
    with pytest.raises(OverflowError, match="no more numbers"):
        made.submit(Doubling(door), named(1))[0].result(30)
    monkeypatch.undo()
    assert made.submit(Doubling(door), named(4))[0].result(30) == 8


@dataclass(frozen=True, eq=False)
class Incomparable(Doubling):
    """Breaks the engine where it looks for inputs that could join."""

    def __eq__(self, other):
        raise SystemExit("a library ends the thread")

    __hash__ = None


def test_who_waits_when_the_thread_ends_is_told_so_at_once(engine, caplog):
    made, door = engine(max_streams=1), Door()
    busy(made, door)
    waiting = made.submit(Incomparable(door), named(1, 2))
    gone = made.submit(Doubling(door), named(3))[0]
    assert gone.cancel()
    streamed = [made.stream(Letters(), "prompt", "abc", lambda piece: None) for _ in range(2)]
    door.open.set()
    for future in (*waiting, *streamed):
        with pytest.raises(RuntimeError, match="the thread of the model has ended"):
            future.result(30)
    made.close(30)
    assert not made.alive and gone.cancelled() and caplog.messages == ["the thread of the model ends"]
    with pytest.raises(BusyError, match="about to end"):
        made.submit(Doubling(door), named(4))


def test_a_stream_that_nobody_wants_leaves_nobody_waiting_for_its_end(engine):
    def hear(piece):
        raise CancelledError

    with pytest.raises(CancelledError):
        engine().stream(Letters(), "prompt", "abc", hear).result(30)


@dataclass(frozen=True)
class Empty(Work):
    """Asks an empty iterator for its next, as a fault in a model may."""

    def run(self, predictor, named):
        return [next(iter(()))]


def test_a_fault_that_asyncio_would_swallow_reaches_who_waits(engine):
    async def asked():
        (future,) = engine().submit(Empty(), named(1))
        return await asyncio.wait_for(asyncio.wrap_future(future), 30)

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(asked())


def test_of_those_who_ask_while_it_closes_each_is_answered_or_refused(engine):
    for _ in range(20):
        made, door, told = engine(max_batch=3), Door(), []
        door.open.set()

        def ask(made=made, door=door, told=told):
            try:
                for i in range(50):
                    told.append((i, made.submit(Doubling(door), named(i))[0]))
            except BusyError:
                pass

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for each in clients:
            each.start()
        assert made.close(30)
        for each in clients:
            each.join()
        assert all(future.result(0) == 2 * i for i, future in told)


@pytest.mark.slow
def test_of_many_thousand_answers_none_is_lost_or_mixed_though_clients_leave(engine):
    """Clients that ask, some of whom leave at once or lose patience, and streams that are broken off."""
    made, door = engine(max_waiting=100_000, max_batch=7), Door()
    door.open.set()
    assert lost_or_mixed(made, door, 20_000) == []


def lost_or_mixed(made, door, n):
    """What went wrong with `n` inputs of 8 clients."""
    wrong: list[str] = []

    def client(number):
        chance = random.Random(number)
        for i in range(n // 8):
            raw, kind = number * n + i, chance.random()
            if kind < 0.1:
                said: list[str] = []
                stop = chance.randrange(1, 12)

                def told(piece, said=said, stop=stop):
                    if len(said) == stop:
                        raise CancelledError
                    said.append(piece)

                done = made.stream(Letters(), "prompt", str(raw), told)
                if stop >= len(str(raw)):
                    done.result(60)
                    wrong.extend([f"stream {raw}"] * ("".join(said) != str(raw)))
                continue
            (future,) = made.submit(Doubling(door, option=chance.randrange(3)), named("fault" if kind < 0.12 else raw))
            if kind < 0.3:
                future.cancel()
                continue
            try:
                result = future.result(60)
            except RuntimeError:
                result = None if 0.1 <= kind < 0.12 else "a fault of another"
            wrong.extend([f"{raw}: {result}"] * (result not in (2 * raw, None)))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    return wrong
