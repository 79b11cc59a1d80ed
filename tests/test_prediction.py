"""Outputs of a model as people read them."""

import pytest
import torch

from omniformer.generation.places import Places, places_of
from omniformer.prediction import of_answer, of_sample, of_tokens


def test_classes_have_names_and_numbers_have_none():
    row = torch.tensor([0.25, 0.75])
    assert of_sample("a", "task", row, ["one", "two"]).to_dict() == {
        "input": "a", "member": "task", "label": "two", "score": 0.75,
        "probabilities": {"one": 0.25, "two": 0.75},
    }  # fmt: skip
    assert of_sample("a", "task", row, []).to_dict() == {"input": "a", "member": "task", "values": [0.25, 0.75]}


def test_tokens_are_numbered_where_nobody_knows_where_they_stand():
    found = of_tokens("a", "task", torch.eye(2), ["one", "two"])
    assert [(each.token, each.label, each.place) for each in found] == [(0, "one", None), (1, "two", None)]


def test_an_answer_is_the_best_pair_of_ends_in_order():
    scores = torch.tensor([[0.0, 9.0], [5.0, 0.0], [0.0, 1.0]])
    found = of_answer("a", "task", scores)
    assert found.span in {(0, 0), (1, 2)}
    assert found.score == pytest.approx(
        max((scores.softmax(0)[i, 0] * scores.softmax(0)[j, 1]).item() for i in range(3) for j in range(i, 3))
    )


def test_without_a_text_there_is_no_answer():
    with pytest.raises(ValueError, match="a has no text that an answer could stand in"):
        of_answer("a", "task", torch.zeros(0, 2), places_of(None, {}))


def test_an_answer_has_no_blanks_at_its_ends_and_stands_where_it_says():
    text = "she lives in Rome today"
    offsets = torch.tensor([[0, 3], [3, 9], [9, 12], [12, 17], [17, 23]])  # with the blank before each word
    places = Places(texts=(text,), text=torch.zeros(5, dtype=torch.long), offsets=offsets)
    scores = torch.zeros(5, 2)
    scores[3] = 9.0
    found = of_answer("a", "task", scores, places)
    assert (found.text, text[slice(*found.place)], found.span) == ("Rome", "Rome", (3, 3))
