"""A draft changes how many passes an answer takes, and nothing of what is written or how it is distributed."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from omniformer.generation import BeamSearch, Bias, Draft, Greedy, NoRepeat, Sampling, stream, write
from omniformer.generation.draft import judged

ABLE = ("one sequence", "encoder and decoder")
UNABLE = ("recurrent encoder and decoder", "recurrent", "linear attention")


def disturbed(model, size):
    """A model that differs from another a little, or much."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * size)
    return model


def passes(model):
    """Counts the tokens of each pass of a model's core."""
    found = []
    model.writer.register_forward_hook(lambda core, inputs, out: found.append(len(inputs[0])))
    return found


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", ABLE)
@pytest.mark.parametrize("cache", ["growing", "static"])
@pytest.mark.parametrize("size", [0.0, 0.05, 1.0])
def test_greedy_ids_and_log_probs_are_those_without_a_draft(name, cache, size, make, batch):
    model = make(name)
    draft = Draft(disturbed(make(name), size), "it", n=3)
    options = {"strategy": Greedy(), "stop": {4}, "max_new_tokens": 12, "cache": cache}
    expected = write(model, "it", batch, **options)
    found = write(model, "it", batch, draft=draft, **options)
    assert [[each.ids for each in answers] for answers in found] == [[e.ids for e in answers] for answers in expected]
    for (answer,), (other,) in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.tensor(answer.log_probs), torch.tensor(other.log_probs), rtol=1e-4, atol=1e-4)
    assert draft.accepted == draft.guessed > 0 if size == 0 else draft.accepted <= draft.guessed
    assert size < 1 or draft.accepted < draft.guessed


def test_what_changes_scores_and_a_context_that_is_full_change_both_alike(one_sequence, make, plain):
    batch = plain((0, 1, 2, 3), (0, 6))
    options = {"max_new_tokens": 20, "max_seq_len": 12, "adjust": [NoRepeat(3), Bias({2: 1.0})], "min_new_tokens": 9}
    draft = Draft(disturbed(make("one sequence"), 0.05), "it", max_seq_len=9)
    for strategy in (Greedy(repetition_penalty=1.3), Greedy()):
        expected = write(one_sequence, "it", batch, strategy=strategy, stop={5}, **options)
        found = write(one_sequence, "it", batch, strategy=strategy, stop={5}, draft=draft, **options)
        assert [answers[0].ids for answers in found] == [answers[0].ids for answers in expected]
    assert draft.guessed > 0


def test_a_perfect_draft_of_n_guesses_writes_one_id_more_in_each_pass(one_sequence, make, plain):
    seen = passes(one_sequence)
    draft = Draft(make("one sequence"), "it", n=4)
    write(one_sequence, "it", plain((0, 1)), strategy=Greedy(), max_new_tokens=11, draft=draft)
    assert seen == [2, 5, 5]
    assert str(draft) == "8 of 8 guesses of the draft were accepted (100.0%)"


def test_ids_drawn_with_a_draft_are_distributed_as_the_model_says(one_sequence, make, plain, scores, samples):
    strategy = Sampling(temperature=0.7, top_k=3, n=4000, seed=3)
    draft = Draft(disturbed(make("one sequence"), 0.1), "it", n=2)
    ((*answers,),) = write(one_sequence, "it", plain((0, 1)), strategy=strategy, max_new_tokens=3, draft=draft)
    sample = replace(samples[2], pieces=[])
    expected = {(): 1.0}
    for _ in range(3):
        longer = {}
        for ids, chance in expected.items():
            chances = strategy.probabilities(scores(one_sequence, sample, ids)[None])[0].tolist()
            longer |= {(*ids, each): chance * own for each, own in enumerate(chances) if own}
        expected = longer
    counts = Counter(answer.ids for answer in answers)
    assert len(expected) == 27 and counts.keys() <= expected.keys()
    wanted = {ids: chance * len(answers) for ids, chance in expected.items()}
    chi_square = sum((counts[ids] - each) ** 2 / each for ids, each in wanted.items())
    assert chi_square < 54.1  # 26 degrees of freedom: 0.1 %
    assert 0.2 < draft.accepted / draft.guessed < 0.98


def test_the_rule_gives_the_model_s_distribution_whatever_the_draft_s():
    torch.manual_seed(0)
    target, draft = torch.randn(2, 5).double().mul(2).softmax(-1)
    draws = (torch.arange(400).double() + 0.5) / 400
    grid = torch.cartesian_prod(draws, draws)
    found = torch.zeros(5, dtype=torch.float64)
    for guess in range(5):
        rows = len(grid)
        ids = judged(target.expand(rows, 5), draft.expand(rows, 5), torch.full((rows,), guess), grid)
        found += draft[guess] * ids.bincount(minlength=5) / rows
    torch.testing.assert_close(found, target, rtol=0, atol=0.005)


def test_drawn_ids_depend_neither_on_neighbours_nor_on_how_many_guesses_one_pass_reads(one_sequence, make, plain):
    other = disturbed(make("one sequence"), 0.1)
    prompts = [(0, 1), (0, 2, 3), (0, 6)]
    strategy = Sampling(temperature=1.0, seed=2)

    def answers(n, *chosen):
        batch = plain(*chosen)
        found = write(one_sequence, "it", batch, strategy=strategy, max_new_tokens=9, draft=Draft(other, "it", n=n))
        return [each.ids for (each,) in found]

    together = answers(4, *prompts)
    assert answers(1, *prompts) == together and answers(7, *prompts) == together
    assert answers(3, prompts[0]) == together[:1]


def test_an_answer_is_streamed_with_a_draft_as_it_is_written(one_sequence, make, plain):
    options = {"strategy": Sampling(seed=1), "stop": {0}, "max_new_tokens": 8}
    drafts = [Draft(disturbed(make("one sequence"), 0.1), "it") for _ in range(2)]
    ((written,),) = write(one_sequence, "it", plain((0, 1)), draft=drafts[0], **options)
    streamed = list(stream(one_sequence, "it", plain((0, 1)), draft=drafts[1], **options))
    assert tuple(each.id for each in streamed if not each.stops) == written.ids
    assert str(drafts[0]) == str(drafts[1])


@pytest.mark.parametrize("name", UNABLE)
def test_models_that_cannot_take_back_what_they_read_are_refused(name, make, one_sequence, plain):
    for model, draft in ((make(name), one_sequence), (one_sequence, make(name))):
        with pytest.raises(ValueError, match="no writing with this draft: layer 0 carries a state from token to token"):
            write(model, "it", plain((0, 1)), strategy=Greedy(), draft=Draft(draft, "it"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": "none"}, "cache='none' cannot forget guesses"),
        ({"guidance": 2.0}, "guidance=2.0 compares two passes"),
        ({"strategy": BeamSearch()}, "a draft guesses for Sampling and Greedy alone, not for BeamSearch"),
    ],
)
def test_what_does_not_go_with_a_draft_is_told(options, message, make, one_sequence, plain):
    with pytest.raises(ValueError, match=message):
        write(
            one_sequence,
            "it",
            plain((0, 1)),
            draft=Draft(make("one sequence"), "it"),
            **{"strategy": Greedy()} | options,
        )


def test_a_draft_of_another_vocabulary_is_refused(one_sequence, make, plain):
    draft = Draft(make("one sequence", vocab_size=9), "it")
    with pytest.raises(ValueError, match="the draft scores 9 ids, the model 7; a draft has the same vocabulary"):
        write(one_sequence, "it", plain((0, 1)), strategy=Greedy(), draft=draft)
    with pytest.raises(ValueError, match="n=0 guesses in one pass must be at least 1"):
        Draft(one_sequence, "it", n=0)
