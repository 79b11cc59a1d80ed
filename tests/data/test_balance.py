import torch

from omniformer.data.balance import answer_counts, class_counts
from omniformer.data.source import Marks, Raw

NAN = float("nan")


def raw(**parts) -> Raw:
    return Raw(id="x", contents={}, **parts)


def test_classes_of_samples_are_counted():
    assert class_counts([raw(targets={"label": torch.tensor(n)}) for n in (2, 0, 2)], 4) == [1, 0, 2, 0]


def test_classes_of_tokens_are_counted_where_they_count():
    labels, mask = torch.tensor([0, 1, 1, -1]), torch.tensor([True, True, False, False])
    assert class_counts([raw(token_targets={"label": labels, "mask": mask})] * 2, 2) == [2, 2]


def test_classes_of_words_are_counted_and_words_without_one_are_not():
    assert class_counts([raw(marks={"text": Marks(words=((0, 2, 1), (3, 4, -1), (5, 6, 1)))})], 2) == [0, 2]


def test_answers_are_counted_by_question_without_those_that_nobody_gave():
    rows = [[1.0, NAN], [0.0, 1.0], [0.0, NAN]]
    assert answer_counts([raw(targets={"labels": torch.tensor(row)}) for row in rows]) == [(2, 1), (0, 1)]
