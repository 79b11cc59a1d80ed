"""Kinds of work: a batch gives what each input gives alone, bad ones beside it."""

import pytest
import torch

from omniformer.inputs import at_most
from omniformer.serving.work import Embedding, Predicting, Wish, Writing

PICTURES = [
    torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(i)) for i in range(3)
]
DRAWN = Writing(wish=Wish(temperature=1.0, max_new_tokens=12))


def named(*raws):
    return [(f"input {i}", raw) for i, raw in enumerate(raws)]


def test_predictions_and_vectors_of_a_batch_are_those_of_each_alone(predictor):
    graph = {"n_nodes": 3, "edges": [[0, 1], [1, 2]]}
    inputs = named(*PICTURES, object(), graph)
    for work in (Predicting(), Embedding()):
        together = work.run(predictor, inputs)
        assert isinstance(together[3], ValueError) and "input 3" in str(together[3])
        for i in (0, 1, 2, 4):
            (alone,) = work.run(predictor, [inputs[i]])
            if isinstance(work, Embedding):
                torch.testing.assert_close(together[i], alone)
            else:
                assert together[i][0].input == alone[0].input == f"input {i}"
                assert together[i][0].probabilities == pytest.approx(alone[0].probabilities, abs=1e-6)


def test_equal_prompts_of_different_clients_get_the_answer_that_each_gets_alone(predictor):
    texts = ["one", "two", "one", "x" * 300 + "tail" * 16, "y" * 90 + "tail" * 16]  # the last two are read alike
    together = DRAWN.run(predictor, named(*texts))
    alone = [DRAWN.run(predictor, named(text))[0] for text in texts]
    assert [made.answers[0].ids for made in together] == [made.answers[0].ids for made in alone]
    assert together[0].answers[0].ids == together[2].answers[0].ids != together[1].answers[0].ids
    assert together[0].read == len(b"one") + 1


def test_a_stream_says_what_the_whole_answer_says(predictor):
    stream = DRAWN.stream(predictor, "one")
    text = "".join(stream)
    (made,) = DRAWN.run(predictor, named("one"))
    assert text == made.answers[0].content
    assert (stream.ended, len(stream.ids), stream.read) == (made.answers[0].ended, len(made.answers[0].ids), made.read)
    stopping = Writing(wish=Wish(temperature=1.0, max_new_tokens=12, stop=(text[3],)))
    cut = stopping.stream(predictor, "one")
    assert "".join(cut) == text[: text.index(text[3])] and cut.ended


def test_a_bad_prompt_is_told_beside_the_others(predictor):
    with at_most(8):
        good, bad = DRAWN.run(predictor, named("one", "far too long a text"))
    assert good.answers and "has 19 tokens of text; at most 8 are read here" in str(bad)


def test_what_a_task_has_no_use_for_is_refused(predictor):
    with pytest.raises(
        ValueError, match="'prose' writes token by token and has no use for beam, steps; leave that out"
    ):
        Writing(wish=Wish(steps=3, beam=2)).run(predictor, named("one"))
    with pytest.raises(ValueError, match=r"'prose'.*size|has no height and width; leave out size"):
        raise Writing(wish=Wish(size=(8, 8))).run(predictor, named("one"))[0]
