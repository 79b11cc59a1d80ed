"""Answers that look wrong are drawn again; the comparison with the reference is in test_whisper.py."""

import logging
import zlib

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.generation import Draft, Fallback, Greedy, Sampling, Session, Written, write
from omniformer.generation.fallback import compression_ratio


def one(i):
    frames = torch.randn(3 + i, 3, generator=torch.Generator().manual_seed(i))
    sound = Tokens(values=frames, positions=torch.arange(3.0 + i)[:, None], modality="audio")
    start = Tokens(values=torch.tensor([1]), positions=torch.zeros(1, 1), modality="text")
    return Sample(id=f"s{i}", pieces=[sound], answer=[start])


@pytest.fixture
def model(make):
    return make("encoder and decoder")


@pytest.fixture
def found(model):
    """The answers to some sounds."""

    def answer(strategy, n=4, **options):
        batch = collate([one(i) for i in range(n)])
        answers = write(model, "it", batch, strategy=strategy, stop={0}, max_new_tokens=8, **options)
        return [each for (each,) in answers]

    return answer


def test_an_answer_that_nothing_is_asked_of_is_the_greedy_one_with_shares_among_what_may_be_written(model, found):
    answers = found(Fallback(compression_ratio=None, log_prob=None))
    assert [each.ids for each in answers] == [each.ids for each in found(Greedy())]
    for i, answer in enumerate(answers):
        session = Session(model, "it", collate([one(i)]))
        for chosen, log_prob in zip((*answer.ids, 0), answer.log_probs, strict=False):
            assert float(session.logits.log_softmax(-1)[0, chosen]) == pytest.approx(log_prob, abs=1e-5)
            session.advance([chosen])


def test_only_answers_below_the_threshold_are_drawn_again_from_what_they_were_given(found):
    greedy = found(Fallback(compression_ratio=None, log_prob=None))
    scores = sorted(each.score for each in greedy)
    bar = (scores[1] + scores[2]) / 2
    drawn = found(Fallback(temperatures=[0.0, 3.0], compression_ratio=None, log_prob=bar, seed=5))
    alone = found(Sampling(temperature=3.0, seed=6))
    again = [each.score < bar for each in greedy]
    assert sum(again) == 2
    for i, answer in enumerate(drawn):
        assert answer.ids == (alone if again[i] else greedy)[i].ids
    assert any(alone[i].ids != greedy[i].ids for i in range(4) if again[i])


def test_attempts_draw_otherwise_and_the_last_is_kept_and_told(found, caplog):
    with caplog.at_level(logging.WARNING):
        kept = found(Fallback(temperatures=[0.0, 2.0, 2.0], log_prob=1.0), n=2)
    assert [each.ids for each in kept] == [each.ids for each in found(Sampling(temperature=2.0, seed=2), n=2)]
    assert "answers that repeat themselves or are improbable up to temperature=2.0: 2, s0, s1" in caplog.text


def test_until_is_asked_of_the_sample_that_is_drawn_again(found):
    asked = []

    def until(sample, ids):
        asked.append(sample)
        return len(ids) == sample + 1

    wants = Fallback(temperatures=[0.0, 1.0], compression_ratio=None, log_prob=1.0)
    answers = found(wants, n=3, until=until)
    assert all(len(each.ids) <= i + 1 for i, each in enumerate(answers)) and set(asked) == {0, 1, 2}
    assert any(len(each.ids) == i + 1 for i, each in enumerate(answers))


def test_ids_are_compressed_as_bytes():
    ids = [300, 2, 2, 2, 70]
    plain = torch.tensor(ids, dtype=torch.int16).numpy().tobytes()
    assert compression_ratio(ids, 1000) == len(plain) / len(zlib.compress(plain))
    assert compression_ratio([1] * 5, 200) == 5 / len(zlib.compress(b"\1" * 5)) and compression_ratio([], 200) == 0


def test_a_stop_id_counts():
    log_probs = {"score": -0.5, "ended": True}
    bar = Fallback(compression_ratio=compression_ratio([4, 4, 9], 50) - 0.01, log_prob=None)
    assert bar.wrong(Written(ids=(4, 4), log_probs=(0.0,) * 3, **log_probs), 50, {9})
    assert not bar.wrong(Written(ids=(4, 4), log_probs=(0.0,) * 2, **log_probs), 50, {9})


@pytest.mark.parametrize("temperatures", [[], [0.0, -0.2]])
def test_temperatures_out_of_range_are_refused(temperatures):
    with pytest.raises(ValueError, match="must be at least one, each at least 0"):
        Fallback(temperatures=temperatures)


def test_a_draft_is_refused(model, found):
    with pytest.raises(ValueError, match="a draft guesses for Sampling and Greedy alone, not for Fallback"):
        found(Fallback(), draft=Draft(model, "it"))
