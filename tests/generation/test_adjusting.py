import pytest
import torch
import transformers

from omniformer.generation import AtLeast, Bias, NoRepeat, Penalties

SCORES = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
BEFORE = [[1], [1, 2, 3, 1, 2], [4]]
WRITTEN = [[], [3, 1, 2], [4, 4, 5, 4]]
ROWS = [[*before, *written] for before, written in zip(BEFORE, WRITTEN, strict=True)]


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_no_sequence_comes_twice_as_in_the_reference(n):
    found = NoRepeat(n)(SCORES, before=BEFORE, written=WRITTEN)
    reference = transformers.NoRepeatNGramLogitsProcessor(n)
    expected = [reference(torch.tensor([ids]), SCORES[i : i + 1].clone())[0] for i, ids in enumerate(ROWS)]
    assert torch.equal(found, torch.stack(expected))
    with pytest.raises(ValueError, match="n=0 must be at least 1"):
        NoRepeat(0)


def test_a_prompt_may_hold_ids_that_are_not_scored():
    assert NoRepeat(2)(SCORES[:1], before=[[1, 99]], written=[[1]]).isfinite().all()


def test_answers_do_not_end_before_their_least_length():
    found = AtLeast(4, stop=[2, 5, 99])(SCORES, before=BEFORE, written=WRITTEN)
    assert (found == -torch.inf).nonzero().tolist() == [[0, 2], [0, 5], [1, 2], [1, 5]]
    kept = found.isfinite()
    assert torch.equal(found[kept], SCORES[kept])


def test_penalties_count_the_answer_and_not_the_prompt():
    found = Penalties(presence=0.5, frequency=0.25)(SCORES, before=BEFORE, written=WRITTEN)
    expected = SCORES.clone()
    for row, ids in enumerate(WRITTEN):
        for each in set(ids):
            expected[row, each] -= 0.5 + 0.25 * ids.count(each)
    torch.testing.assert_close(found, expected)


def test_a_bias_is_added_and_may_forbid():
    found = Bias({0: 1.5, 6: -torch.inf})(SCORES, before=BEFORE, written=WRITTEN)
    torch.testing.assert_close(found[:, 0], SCORES[:, 0] + 1.5)
    assert (found[:, 6] == -torch.inf).all() and torch.equal(found[:, 1:6], SCORES[:, 1:6])
    with pytest.raises(ValueError, match="id 7 is none of the 7 ids that this head scores"):
        Bias({7: 1.0})(SCORES, before=BEFORE, written=WRITTEN)
