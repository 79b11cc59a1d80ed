import pytest
import torch

from omniformer.generation import Allowed, BeamSearch, Greedy, Sampling, Session, write

SCORES = torch.tensor([[0.5, 2.0, 1.0, -1.0], [3.0, 0.0, 1.0, 2.0]])


def ids(scores):
    return [row.nonzero()[:, 0].tolist() for row in scores.isfinite()]


def test_what_may_stand_where():
    allowed = Allowed(never=(3,), never_first=(1,), last=0)
    assert ids(allowed(SCORES, place=0, room=3)) == [[0, 2]] * 2
    assert ids(allowed(SCORES, place=1, room=3)) == [[0, 1, 2]] * 2
    assert ids(allowed(SCORES, place=2, room=3)) == [[0]] * 2


def test_what_must_stand_is_certain_and_the_rest_keeps_its_scores():
    assert Allowed(first=2)(SCORES, place=0, room=9)[:, 2].tolist() == [0, 0]
    kept = Allowed(never=(3,))(SCORES, place=0, room=9)
    assert torch.equal(kept[:, :3], SCORES[:, :3])


def test_an_answer_of_one_id_is_the_last():
    assert ids(Allowed(first=2, last=1)(SCORES, place=0, room=1)) == [[1]] * 2


@pytest.mark.parametrize("strategy", [Greedy(), Sampling(), BeamSearch(n_beams=2)], ids=["greedy", "drawn", "beams"])
def test_answers_keep_to_it(strategy, one_sequence, batch):
    allowed = Allowed(never=(1, 3), never_first=(2,), last=4)
    found = write(one_sequence, "it", batch, strategy=strategy, max_new_tokens=4, allowed=allowed)
    for (answer,) in found:
        assert not {1, 3} & set(answer.ids) and answer.ids[0] != 2 and answer.ids[-1] == 4
        assert answer.log_probs[-1] == 0


def test_log_probabilities_are_the_models_own(one_sequence, batch):
    free, bound = (Session(one_sequence, "it", batch, allowed=each) for each in (None, Allowed(never=(0,))))
    torch.testing.assert_close(bound.log_probs[:, 1:], free.logits.log_softmax(-1)[:, 1:])
    assert bound.log_probs[:, 0].tolist() == [-torch.inf] * len(bound)


@pytest.mark.parametrize("wrong", [{"never": (-1,)}, {"last": -3}])
def test_ids_below_zero_are_refused(wrong):
    with pytest.raises(ValueError, match="ids are at least 0; received -"):
        Allowed(**wrong)


def test_ids_beyond_the_scores_are_refused():
    with pytest.raises(ValueError, match="id 7 is beyond the 4 ids"):
        Allowed(never=(7,))(SCORES, place=0, room=3)
