import jiwer
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import MetricCollection

from omniformer.tasks.texts import SCORES, compare

WORDS = st.sampled_from(["the", "cat", "sat", "on", "a", "mat", ",", "today", "it's", "3.5", "!"])
PAIR = st.tuples(*[st.lists(WORDS, min_size=4, max_size=9).map(" ".join)] * 2)


def scored(pairs) -> dict[str, float]:
    metrics = MetricCollection({name: make() for name, make in SCORES.items()}, compute_groups=False)
    for pair in pairs:  # one at a time: the score is that of the corpus, not a mean over batches
        compare(metrics, list(SCORES), [pair[0]], [pair[1]])
    return {name: float(value) for name, value in metrics.compute().items()}


@settings(max_examples=40, deadline=None)
@given(st.lists(PAIR, min_size=2, max_size=6))
def test_scores_equal_those_of_the_libraries_that_papers_quote(pairs):
    written, expected = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = scored(pairs)
    bleu = sacrebleu.metrics.BLEU().corpus_score(written, [expected])
    if all(bleu.counts):
        assert found["bleu"] == pytest.approx(bleu.score, rel=1e-4)
    assert found["chrf"] == pytest.approx(sacrebleu.metrics.CHRF().corpus_score(written, [expected]).score, rel=1e-6)
    assert found["wer"] == pytest.approx(jiwer.wer(expected, written), rel=1e-5)
    assert found["cer"] == pytest.approx(jiwer.cer(expected, written), rel=1e-5)


def test_lengths_that_are_not_expected_do_not_count():
    pairs = [("the the the the", "the the the the"), ("the the the the", "on ! ! !")]
    expected = sacrebleu.metrics.CHRF().corpus_score([a for a, _ in pairs], [[b for _, b in pairs]]).score
    assert scored(pairs)["chrf"] == pytest.approx(expected, rel=1e-6)


def test_equal_texts_reach_the_best_score_of_each():
    found = scored([("a cat sat on the mat", "a cat sat on the mat")])
    assert found == pytest.approx({"bleu": 100, "chrf": 100, "wer": 0, "cer": 0, "exact_match": 1})
