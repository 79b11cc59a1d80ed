"""Entities are right where both ends and the kind are; compared with a slow reading of the rules."""

import random
import re

import pytest
import torch

from omniformer.heads import TokenClassificationHead
from omniformer.tasks import TokenClassification
from omniformer.tasks.entities import EntityF1, entities


def slowly(labels):
    """The same by a pattern over letters: of BIO alone, kinds X and Y."""
    found = set()
    for kind in "XY":
        text = "".join({f"B-{kind}": "b", f"I-{kind}": "i"}.get(label, ".") for label in labels)
        found |= {(kind, match.start(), match.end()) for match in re.finditer(r"bi*|i+", text)}
    return found


def test_entities_are_those_of_a_slow_reading():
    chance = random.Random(0)
    for _ in range(300):
        labels = chance.choices(["O", "B-X", "I-X", "B-Y", "I-Y"], k=chance.randrange(9))
        assert entities(labels) == slowly(labels), labels


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("PER PER O LOC PER", {("PER", 0, 2), ("LOC", 3, 4), ("PER", 4, 5)}),
        ("B-A I-A E-A S-B I-B", {("A", 0, 3), ("B", 3, 4), ("B", 4, 5)}),
        ("B-A L-A L-A U-A", {("A", 0, 2), ("A", 2, 3), ("A", 3, 4)}),
        ("B-in-law I-in-law", {("in-law", 0, 2)}),
        ("", set()),
    ],
)
def test_other_ways_of_writing_labels_are_understood(labels, expected):
    assert entities(labels.split()) == expected


def test_an_entity_ends_with_its_text_and_batches_add_up():
    labels = ["O", "B-X", "I-X"]
    whole, parts = EntityF1(labels), EntityF1(labels)
    wanted, found = torch.tensor([0, 1, 2, 1, 0]), torch.eye(3)[[0, 1, 2, 2, 0]]
    whole.update(found, wanted, [3, 2])
    parts.update(found[:3], wanted[:3], [3])
    parts.update(found[3:], wanted[3:], [2])
    assert whole.compute() == parts.compute() == 1.0  # in one text, the second would go on with the first
    joined = EntityF1(labels)
    joined.update(found, wanted, [5])
    assert joined.compute() == 0.0


def test_of_no_entities_there_is_no_number():
    metric = EntityF1(["O", "X"])
    metric.update(torch.eye(2)[[0, 0]], torch.tensor([0, 0]), [2])
    assert metric.compute().isnan()


def test_a_task_follows_entities_where_there_is_a_class_of_none():
    head = TokenClassificationHead(d_model=4, n_classes=2)
    named = TokenClassification(head=head, n_classes=2, labels=["O", "PER"])
    assert named.watched.metric == "entity_f1" and named.reported("val")["entity_f1"] == "max"
    others = TokenClassification(head=head, n_classes=2, labels=["verb", "noun"])
    assert others.watched.metric == "accuracy" and "entity_f1" not in others.metrics()
