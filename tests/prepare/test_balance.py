"""What is to be predicted by split, and what an answer that looks at nothing scores."""

import json

import pytest

from omniformer.data.source import SPLITS
from omniformer.data.table import Table
from omniformer.prepare.balance import counted, in_words, trivial


def of(tmp_path, columns, *rows):
    """A table whose rows say their split, and its samples."""
    lines = [{"x": f"row {i}", "split": split, **row} for i, (split, row) in enumerate(rows)]
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    table = Table(files=str(path), columns={"x": "text", "split": "split", **columns})
    return table, {split: list(table.split(split)) for split in SPLITS}


def test_the_most_frequent_class_of_training_answers_the_test(tmp_path):
    made = [("train", "a"), ("train", "a"), ("train", "b"), ("val", "b"), ("test", "b"), ("test", "a"), ("test", "b")]
    table, raws = of(tmp_path, {"y": "label"}, *((split, {"y": y}) for split, y in made))
    assert trivial(table, table.roles, raws) == {"on": "test", "accuracy": 0.3333, "answer": "a"}
    assert trivial(table, table.roles, raws | {"test": []}) == {"on": "val", "accuracy": 0.0, "answer": "a"}
    assert counted(table, raws)["classes"]["test"] == {"b": 2, "a": 1}


def test_the_mean_of_the_known_numbers_of_training_answers_the_test(tmp_path):
    made = [("train", 1.0), ("train", 3.0), ("train", None), ("val", 2.0), ("test", 2.0), ("test", 6.0)]
    table, raws = of(tmp_path, {"y": "value"}, *((split, {"y": y}) for split, y in made))
    found = trivial(table, table.roles, raws)
    assert (found["mae"], found["rmse"]) == (2.0, pytest.approx(8**0.5, rel=1e-3))
    assert counted(table, raws)["values"]["train"] == [{"mean": 2.0, "deviation": 1.0, "least": 1.0, "most": 3.0}]


def test_numbers_near_each_other_are_told_as_far_as_they_differ(tmp_path):
    made = [("train", 1_000_010.0), ("train", 1_000_350.0), ("val", 0.0012345678), ("test", 5.0)]
    table, raws = of(tmp_path, {"y": "value"}, *((split, {"y": y}) for split, y in made))
    values = counted(table, raws)["values"]
    assert values["train"] == [{"mean": 1_000_180.0, "deviation": 170.0, "least": 1_000_010.0, "most": 1_000_350.0}]
    assert values["val"] == [{"mean": 0.001235, "deviation": 0.0, "least": 0.001235, "most": 0.001235}]


def test_each_question_has_its_own_most_frequent_answer(tmp_path):
    made = [("train", 1, 0), ("train", 1, None), ("val", 1, 1), ("test", 0, 0), ("test", 1, None)]
    table, raws = of(tmp_path, {"p": "labels", "q": "labels"}, *((s, {"p": p, "q": q}) for s, p, q in made))
    found = trivial(table, table.roles, raws)
    assert found["by_question"] == {"p": 0.5, "q": 1.0}
    assert (found["auroc"], found["accuracy"]) == (0.5, 0.6667)
    assert counted(table, raws)["share_of_yes"]["train"] == {"p": 1.0, "q": 0.0}


def test_classes_of_words_and_texts_to_be_written_have_trivial_answers(tmp_path):
    made = [("train", ["O", "O"]), ("val", ["O", "P"]), ("test", ["P", "O"])]
    table, raws = of(tmp_path, {"t": "token_labels"}, ("train", {"t": ["P", "O"]}), *((s, {"t": t}) for s, t in made))
    assert trivial(table, table.roles, raws)["accuracy"] == 0.5
    made = [("train", "yes"), ("train", "yes"), ("train", "no"), ("val", "no"), ("test", "yes")]
    table, raws = of(tmp_path, {"w": "answer.text"}, *((split, {"w": w}) for split, w in made))
    assert trivial(table, table.roles, raws) == {"on": "test", "exact_match": 1.0, "answer": "yes"}
    assert in_words({}) == ""


def test_the_most_frequent_place_of_training_answers_questions_about_texts(tmp_path):
    made = [("train", 0, 3), ("train", 0, 3), ("train", 4, 5), ("val", 0, 3), ("test", 0, 3), ("test", 4, 5)]
    rows = ((split, {"a": begin, "b": end}) for split, begin, end in made)
    table, raws = of(tmp_path, {"a": "span", "b": "span"}, *rows)
    assert trivial(table, table.roles, raws) == {"on": "test", "exact_match": 0.5, "answer": "characters 0 to 3"}


def test_chance_finds_one_of_as_many_as_have_both_modalities(tmp_path):
    made = [("train", [1.0, 2.0]), ("val", [1.0, 2.0]), *[("test", [1.0, 2.0])] * 4, ("test", None)]
    table, raws = of(tmp_path, {"s": "series"}, *((split, {"s": s}) for split, s in made))
    assert trivial(table, table.roles, raws) == {"on": "test", "recall@1": 0.25}
    fewer = raws | {"test": [raw for raw in raws["test"] if "series" in raw.contents][:2]}
    assert trivial(table, table.roles, fewer) == {"on": "test", "recall@1": 0.2}  # of five rows, by those looked at
