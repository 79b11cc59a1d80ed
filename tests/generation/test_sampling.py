from itertools import product

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import RepetitionPenaltyLogitsProcessor

from omniformer.generation import Greedy, Sampling, Session, write

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
SEEN = torch.tensor([[True, False, False, True], [False, False, False, False]])


def test_greedy_takes_the_most_probable():
    assert Greedy().choose(torch.tensor([[0.0, 5.0], [3.0, 1.0]])).tolist() == [1, 0]


def test_temperature_divides_the_scores():
    torch.testing.assert_close(Sampling(temperature=0.5).probabilities(LOGITS), (LOGITS.double() * 2).softmax(-1))


def test_top_k_keeps_the_k_most_probable_in_proportion():
    expected = torch.tensor([[2.0, 1.0]]).double().softmax(-1)
    found = Sampling(temperature=1, top_k=2).probabilities(LOGITS)
    torch.testing.assert_close(found[:, :2], expected)
    assert not found[:, 2:].any()


@pytest.mark.parametrize(("top_p", "kept"), [(0.01, 1), (0.6, 1), (0.7, 2), (0.95, 3), (1.0, 4)])
def test_top_p_keeps_the_fewest_ids_with_that_probability(top_p, kept):
    # Probabilities are 0.644, 0.237, 0.087, 0.032.
    assert (Sampling(temperature=1, top_p=top_p).probabilities(LOGITS) > 0).sum() == kept


def test_min_p_drops_what_is_far_less_probable_than_the_best():
    assert (Sampling(temperature=1, min_p=0.3).probabilities(LOGITS) > 0).tolist() == [[True, True, False, False]]


def test_repetition_penalty_divides_positive_scores_and_multiplies_negative_ones_of_ids_already_written():
    found = Sampling(temperature=1, repetition_penalty=2.0).probabilities(LOGITS.expand(2, -1), seen=SEEN)
    expected = torch.tensor([[1.0, 1.0, 0.0, -2.0], [2.0, 1.0, 0.0, -1.0]]).double().softmax(-1)
    torch.testing.assert_close(found, expected)
    assert Greedy(repetition_penalty=3.0).choose(LOGITS, seen=SEEN[:1]).tolist() == [1]


def test_draws_follow_the_distribution():
    n = 20_000
    draws = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    drawn = Sampling(temperature=1.0).choose(LOGITS.expand(n, -1), draws=draws).bincount(minlength=4)
    expected = LOGITS[0].double().softmax(-1) * n
    chi_square = ((drawn - expected) ** 2 / expected).sum()
    assert chi_square < 16.27  # 3 degrees of freedom: 0.1 %


def test_ids_without_probability_are_never_drawn_not_even_at_the_ends():
    logits = torch.tensor([[-torch.inf, 1.0, -torch.inf, 1.0, -torch.inf]])
    for draw, expected in ((0.0, 1), (0.499, 1), (0.501, 3), (1 - 2**-53, 3), (1.0, 3)):
        assert Sampling().choose(logits, draws=torch.tensor([draw], dtype=torch.float64)).tolist() == [expected]


@pytest.mark.slow
def test_whole_answers_are_as_frequent_as_the_model_says(one_sequence, samples, scores):
    from omniformer.batch import collate

    sample, n = samples[2], 3000
    batch = collate([sample])
    (answers,) = write(one_sequence, "it", batch, strategy=Sampling(temperature=1.0, n=n, seed=1), max_new_tokens=2)
    expected = {
        (a, b): n * (scores(one_sequence, sample, [])[a] + scores(one_sequence, sample, [a])[b]).exp().item()
        for a, b in product(range(7), repeat=2)
    }
    common = [pair for pair, count in expected.items() if count >= 5]
    found = [sum(answer.ids == pair for answer in answers) for pair in common]
    rest = n - sum(found), n - sum(expected[pair] for pair in common)
    chi_square = sum((count - expected[pair]) ** 2 / expected[pair] for pair, count in zip(common, found, strict=True))
    chi_square += (rest[0] - rest[1]) ** 2 / max(rest[1], 1e-9)
    freedom = len(common)
    assert len(common) > 5
    assert chi_square < freedom + 3.3 * (2 * freedom) ** 0.5 + 5  # above the 0.1 % point for these freedoms


@pytest.mark.quick(2)
def test_what_is_drawn_for_a_sample_depends_on_neither_neighbours_nor_cache(model, batch, samples):
    from omniformer.batch import collate

    strategy = Sampling(temperature=1.0, n=2, seed=4)
    together = write(model, "it", batch, strategy=strategy, stop={0}, max_new_tokens=12)
    for cache in ("growing", "static", "none"):
        alone = [
            write(model, "it", collate([sample]), strategy=strategy, stop={0}, max_new_tokens=12, cache=cache)[0]
            for sample in samples
        ]
        assert [[answer.ids for answer in each] for each in alone] == [
            [answer.ids for answer in each] for each in together
        ]
    assert len({answer.ids for each in together for answer in each}) > 4


def test_seed_sample_and_draw_each_change_what_is_drawn(one_sequence, plain):
    def drawn(seed):
        answers = write(
            one_sequence, "it", plain((0,), (0,)), strategy=Sampling(temperature=2.0, n=2, seed=seed), max_new_tokens=20
        )
        return [answer.ids for each in answers for answer in each]

    assert drawn(0) == drawn(0)
    assert len({*drawn(0), *drawn(1)}) == 8


def test_the_best_of_n_is_ranked_by_mean_log_probability_of_the_model_itself(one_sequence, batch, samples, scores):
    strategy = Sampling(temperature=1.5, top_k=5, repetition_penalty=1.2, n=5)
    for sample, answers in zip(
        samples, write(one_sequence, "it", batch, strategy=strategy, stop={0}, max_new_tokens=6), strict=True
    ):
        assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)
        for answer in answers:
            ids = [*answer.ids, 0] if answer.ended else list(answer.ids)
            expected = [scores(one_sequence, sample, ids[:i])[chosen].item() for i, chosen in enumerate(ids)]
            assert list(answer.log_probs) == pytest.approx(expected, abs=1e-4)
            assert answer.score == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_repetition_penalty_counts_the_prompt_but_not_the_start_id(one_sequence, plain):
    asked = []

    class Recording(Sampling):
        def choose(self, logits, *, draws=None, seen=None):
            asked.append([row.nonzero().flatten().tolist() for row in seen])
            return super().choose(logits, draws=draws, seen=seen)

    session = Session(one_sequence, "it", plain((0, 5), (0,)))
    answers = Recording(temperature=0, repetition_penalty=1.3).write(session, stop=(), max_new_tokens=2)
    assert asked == [[[5], []], [sorted({5, answers[0][0].ids[0]}), [answers[1][0].ids[0]]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"min_p": 0.0}, "min_p=0.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0"),
        ({"n": 0}, "n=0"),
        ({"n": 2, "temperature": 0.0}, "n=2 answers at temperature=0 would all be the same"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_chance_needs_draws():
    with pytest.raises(ValueError, match=r"temperature=0\.8 chooses at random; give draws"):
        Sampling().choose(LOGITS)


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_the_penalty_is_that_of_the_reference_for_the_prompt_and_what_was_written(penalty):
    rows = [[3, 9, 9, 0], [7, 1, 4, 4]]
    logits = torch.randn(2, 12, generator=torch.Generator().manual_seed(0)) * 4
    logits[0, 9] = 0.0
    reference = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor(rows), logits.clone())
    seen = torch.zeros(2, 12, dtype=torch.bool).scatter(1, torch.tensor(rows), True)
    found = Sampling(temperature=1.0, repetition_penalty=penalty).probabilities(logits, seen=seen)
    torch.testing.assert_close(found, reference.double().softmax(-1))


def test_a_prompt_may_hold_ids_that_are_never_written(one_sequence, plain):
    def answers(*more):
        session = Session(one_sequence, "it", plain((0, 5), (0,)))
        session.written[0].extend(more)
        found = Greedy(repetition_penalty=1.3).write(session, stop=(), max_new_tokens=2)
        return [[each.ids[-2:] for each in row] for row in found]

    assert answers(99) == answers()


def by_sorting(scores, top_k, top_p, min_p):
    """The distribution as its definition says, over the whole vocabulary in order of its scores."""
    ranked, order = scores.double().sort(stable=True, dim=-1, descending=True)
    chances = ranked.softmax(-1)
    kept = torch.ones_like(chances, dtype=torch.bool)
    if top_k is not None:
        kept[:, top_k:] = False
    if top_p is not None:
        kept &= chances.cumsum(-1) - chances < top_p
    if min_p is not None:
        kept &= chances >= min_p * chances[:, :1]
    ranked = ranked.masked_fill(~kept, -torch.inf).softmax(-1)
    return torch.zeros_like(ranked).scatter(-1, order, ranked)


@pytest.mark.quick(20)
@pytest.mark.parametrize("spread", [0.01, 1.0, 6.0], ids=["flat", "usual", "peaked"])
@pytest.mark.parametrize("top_k", [None, 1, 7, 5000])
@pytest.mark.parametrize("top_p", [None, 0.01, 0.9, 0.9999, 1.0])
@pytest.mark.parametrize("min_p", [None, 0.05])
def test_the_head_of_the_distribution_is_what_sorting_everything_gives(spread, top_k, top_p, min_p):
    generator = torch.Generator().manual_seed(1)
    # Rounded, so that many ids have the same score at every border.
    scores = (torch.randn(3, 1000, generator=generator) * spread * 4).round() / 4
    scores[1, ::3] = -torch.inf
    found = Sampling(temperature=1.0, top_k=top_k, top_p=top_p, min_p=min_p).probabilities(scores)
    torch.testing.assert_close(found, by_sorting(scores, top_k, top_p, min_p), rtol=1e-9, atol=1e-12)


class Sorted(TorchDispatchMode):
    """Notes how many numbers of a row are put in order."""

    def __init__(self):
        super().__init__()
        self.longest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.sort, torch.ops.aten.argsort):
            self.longest = max(self.longest, args[0].shape[-1])
        if func.overloadpacket is torch.ops.aten.topk:
            self.longest = max(self.longest, args[1])
        return func(*args, **(kwargs or {}))


def test_of_a_large_vocabulary_only_the_head_is_put_in_order():
    logits = torch.randn(4, 50_000, generator=torch.Generator().manual_seed(0)) * 4
    for options, most in (({}, 0), ({"min_p": 0.1}, 0), ({"top_k": 40}, 40), ({"top_p": 0.9}, 4096)):
        with Sorted() as order:
            Sampling(temperature=1.0, **options).probabilities(logits)
        assert order.longest <= most, options
