from functools import cache
from itertools import product

import pytest

from omniformer.batch import collate
from omniformer.generation import BeamSearch, Greedy, Session, write

STOP = 0


def everything(model, sample, scores, max_new_tokens, vocab_size, penalty):
    """All answers with their scores, best first: those that end, and those as long as allowed."""
    found = []
    after = cache(lambda ids: scores(model, sample, ids))
    for length in range(1, max_new_tokens + 1):
        for ids in product(range(1, vocab_size), repeat=length - 1):
            table = [after(ids[:i])[each].item() for i, each in enumerate(ids)]
            last = after(ids)
            endings = range(vocab_size) if length == max_new_tokens else [STOP]
            for end in endings:
                score = (sum(table) + last[end].item()) / length**penalty
                found.append((score, ids if end == STOP else (*ids, end), end == STOP))
    return sorted(found, key=lambda row: -row[0])


@pytest.mark.quick(3)
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("name", ["one sequence", "encoder and decoder", "recurrent encoder and decoder"])
def test_a_beam_wide_enough_finds_what_exhaustive_search_finds(make, samples, scores, name, penalty):
    model, vocab_size = make(name, vocab_size=7), 7
    strategy = BeamSearch(n_beams=60, length_penalty=penalty, n_best=5)
    found = write(model, "it", collate(samples[:3]), strategy=strategy, stop={STOP}, max_new_tokens=3)
    for sample, answers in zip(samples[:3], found, strict=True):
        expected = everything(model, sample, scores, 3, vocab_size, penalty)[:5]
        assert [(answer.ids, answer.ended) for answer in answers] == [(ids, ended) for _, ids, ended in expected]
        assert [answer.score for answer in answers] == pytest.approx([score for score, _, _ in expected], abs=1e-4)


def test_a_length_penalty_makes_answers_longer(one_sequence, batch):
    def lengths(penalty):
        strategy = BeamSearch(n_beams=20, length_penalty=penalty)
        found = write(one_sequence, "it", batch, strategy=strategy, stop={STOP}, max_new_tokens=6)
        return [len(answers[0].ids) for answers in found]

    none, mean, more = lengths(0.0), lengths(1.0), lengths(3.0)
    assert sum(none) < sum(mean) < sum(more)
    assert all(a <= b <= c for a, b, c in zip(none, mean, more, strict=True))


def test_one_beam_is_greedy(model, batch):
    found = [
        [answers[0].ids for answers in write(model, "it", batch, strategy=strategy, max_new_tokens=8)]
        for strategy in (BeamSearch(n_beams=1), Greedy())
    ]
    assert found[0] == found[1]


@pytest.mark.quick(2)
def test_beams_do_not_depend_on_neighbours_cache_or_guidance_beside(model, batch, samples):
    for options in ({}, {"cache": "static"}, {"cache": "none"}, {"guidance": 1.5}):
        strategy = BeamSearch(n_beams=3, n_best=3)
        common = {"strategy": strategy, "stop": {STOP, 3}, "max_new_tokens": 7, **options}
        together = write(model, "it", batch, **common)
        alone = [write(model, "it", collate([sample]), **common)[0] for sample in samples]
        assert [[answer.ids for answer in each] for each in together] == [
            [answer.ids for answer in each] for each in alone
        ]


def test_log_probabilities_add_up_to_the_score(one_sequence, batch, samples, scores):
    strategy = BeamSearch(n_beams=3, n_best=3, length_penalty=0.7)
    found = write(one_sequence, "it", batch, strategy=strategy, stop={STOP}, max_new_tokens=5)
    for sample, answers in zip(samples, found, strict=True):
        assert len(answers) == 3
        for answer in answers:
            ids = [*answer.ids, STOP] if answer.ended else list(answer.ids)
            expected = [scores(one_sequence, sample, ids[:i])[each].item() for i, each in enumerate(ids)]
            assert list(answer.log_probs) == pytest.approx(expected, abs=1e-4)
            assert answer.score == pytest.approx(sum(expected) / len(ids) ** 0.7, abs=1e-4)


def test_the_search_ends_when_no_beginning_can_win_any_more(one_sequence, batch, monkeypatch):
    steps = []
    advance = Session.advance
    monkeypatch.setattr(Session, "advance", lambda self, ids: (steps.append(len(ids)), advance(self, ids)))
    strategy = BeamSearch(n_beams=4, length_penalty=0.0)
    found = write(one_sequence, "it", batch, strategy=strategy, stop={STOP, 1, 2, 3}, max_new_tokens=200)
    assert all(answers[0].ended for answers in found)
    assert len(steps) < 50
    assert steps == sorted(steps, reverse=True)  # samples that are decided drop out


def test_a_search_that_stops_sooner_writes_no_more_and_finds_no_better(one_sequence, batch, monkeypatch):
    steps, scores = {}, {}
    advance = Session.advance
    for stopping in ("certain", "likely", "full"):
        steps[stopping] = 0

        def counted(self, ids, stopping=stopping):
            steps[stopping] += len(ids)
            advance(self, ids)

        monkeypatch.setattr(Session, "advance", counted)
        strategy = BeamSearch(n_beams=4, stopping=stopping)
        found = write(one_sequence, "it", batch, strategy=strategy, stop={STOP, 1, 2, 3}, max_new_tokens=12)
        scores[stopping] = [answers[0].score for answers in found]
    assert steps["full"] < steps["likely"] < steps["certain"]
    for sooner in ("likely", "full"):
        assert all(a <= b + 1e-6 for a, b in zip(scores[sooner], scores["certain"], strict=True))


def test_an_answer_may_be_declared_complete(one_sequence, batch):
    found = write(
        one_sequence,
        "it",
        batch,
        strategy=BeamSearch(n_best=2),
        max_new_tokens=9,
        until=lambda sample, ids: len(ids) == 3 + sample,
    )
    lengths = [[len(answer.ids) for answer in answers] for answers in found]
    assert lengths == [[3, 3], [4, 4], [5, 5], [6, 6]]
    assert all(answer.ended for answers in found for answer in answers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_beams": 0}, "n_beams=0 must be at least 1"),
        ({"length_penalty": -0.5}, "length_penalty=-0.5 must be at least 0"),
        ({"n_best": 5}, r"n_best=5 must be in 1\.\.4"),
        ({"stopping": "never"}, "stopping='never' is not known; choose certain, likely, full"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        BeamSearch(**options)
