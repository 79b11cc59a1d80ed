import pytest

from omniformer.generation import BeamSearch, Greedy, Sampling, stream, write


@pytest.mark.quick(2)
def test_greedy_takes_the_most_probable_id_of_a_full_pass_at_every_step(model, batch, samples, scores):
    for cache in ("growing", "static", "none"):
        found = write(model, "it", batch, strategy=Greedy(), max_new_tokens=8, cache=cache)
        for sample, (answer,) in zip(samples, found, strict=True):
            ids = []
            for _ in range(8):
                ids.append(int(scores(model, sample, ids).argmax()))
            assert list(answer.ids) == ids
            assert not answer.ended


def test_stop_ids_end_an_answer_and_are_no_part_of_it(one_sequence, batch):
    whole = write(one_sequence, "it", batch, strategy=Greedy(), max_new_tokens=8)
    stop = {whole[0][0].ids[2], whole[1][0].ids[4]}
    for (answer,), (before,) in zip(
        write(one_sequence, "it", batch, strategy=Greedy(), max_new_tokens=8, stop=stop), whole, strict=True
    ):
        place = next((i for i, each in enumerate(before.ids) if each in stop), None)
        assert answer.ids == before.ids[:place]
        assert answer.ended == (place is not None)
        assert len(answer.log_probs) == len(answer.ids) + answer.ended


def test_ids_are_streamed_in_turn_as_they_are_written(one_sequence, batch):
    strategy = Sampling(seed=2)
    written = write(one_sequence, "it", batch, strategy=strategy, stop={0}, max_new_tokens=6)
    found = [[] for _ in written]
    chosen = list(stream(one_sequence, "it", batch, strategy=strategy, stop={0}, max_new_tokens=6))
    for each in chosen:
        found[each.sample].append(each)
    for answer, (expected,) in zip(found, written, strict=True):
        assert tuple(each.id for each in answer if not each.stops) == expected.ids
        assert tuple(each.log_prob for each in answer) == expected.log_probs
        assert any(each.stops for each in answer) == expected.ended
    assert [each.sample for each in chosen[:4]] == [0, 1, 2, 3]


def test_the_first_id_comes_before_the_second_is_computed(one_sequence, batch):
    steps = []
    one_sequence.core.register_forward_hook(lambda *_: steps.append(1))
    ids = stream(one_sequence, "it", batch, strategy=Greedy(), max_new_tokens=50)
    assert [next(ids).sample for _ in range(4)] == [0, 1, 2, 3]
    assert len(steps) == 1
    next(ids)
    assert len(steps) == 2


def test_an_answer_may_be_declared_complete_by_the_caller(one_sequence, batch):
    def until(sample, ids):
        return len(ids) >= 2 + sample

    for strategy in (Greedy(), Sampling(n=2)):
        found = write(one_sequence, "it", batch, strategy=strategy, max_new_tokens=5, until=until)
        assert [len(answer.ids) for answers in found for answer in answers[:1]] == [2, 3, 4, 5]
        assert all(answer.ended for answers in found for answer in answers)


@pytest.mark.parametrize("strategy", [Greedy(), Sampling(n=2), BeamSearch()], ids=["greedy", "sampling", "beams"])
def test_nothing_is_written_where_nothing_is_asked_for(one_sequence, batch, strategy):
    for answers in write(one_sequence, "it", batch, strategy=strategy, max_new_tokens=0):
        assert all(answer.ids == () and answer.log_probs == () and not answer.ended for answer in answers)


def test_no_step_is_made_whose_scores_nobody_reads(one_sequence, batch):
    for strategy in (Greedy(), BeamSearch()):
        steps = []
        hook = one_sequence.core.register_forward_hook(lambda *_, steps=steps: steps.append(1))
        write(one_sequence, "it", batch, strategy=strategy, max_new_tokens=3)
        hook.remove()
        assert len(steps) == 3


def test_what_cannot_be_streamed_is_told(one_sequence, batch):
    with pytest.raises(ValueError, match=r"BeamSearch\(.*\) knows its answer at the end only"):
        stream(one_sequence, "it", batch, strategy=BeamSearch())
    with pytest.raises(ValueError, match="the best of n=3 answers is known at the end only"):
        next(stream(one_sequence, "it", batch, strategy=Sampling(n=3)))


def test_a_negative_number_of_tokens_is_refused(one_sequence, batch):
    with pytest.raises(ValueError, match="max_new_tokens=-1 must be at least 0"):
        write(one_sequence, "it", batch, strategy=Greedy(), max_new_tokens=-1)
