"""The hardest samples of a report: the worst first, and what is called wrong."""

import pytest

from omniformer.report.others import Numbers, Texts
from omniformer.report.samples import hardest


def rows(*pairs):
    return [{"id": f"s{i}", "target": a, "prediction": b} for i, (a, b) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("kind", "given", "said", "first", "wrong"),
    [
        (
            Texts(),
            rows(("a", "a"), ("b", "c")),
            "2 of 2 predictions, the worst first; 1 are wrong.",
            "s1",
            [True, False],
        ),
        (Numbers(), rows((1.0, 1.1), (1.0, 3.0)), "2 of 2 predictions, the worst first.", "s1", [False, False]),
    ],
    ids=["right or wrong", "by degree"],
)
def test_the_worst_comes_first_and_numbers_that_are_off_are_not_called_wrong(kind, given, said, first, wrong):
    words, cards = hardest(kind, given, None, "it", "test")
    assert said in words.markdown()
    assert cards.cards[0].title == first
    assert [each.wrong for each in cards.cards] == wrong
