"""What every task says of single samples: each once, in plain values, in agreement with its metrics."""

import json
from itertools import chain

import pytest
import torch
from task_cases import CASES

from omniformer.batch import Sample, collate
from omniformer.tasks.rows import of_classes
from omniformer.tasks.task import Task

SILENT = {"causal", "causal, several at once", "values in order", "masked ids", "masked vectors", "diffusion"}
LABELS = ("a", "b", "none")


def rows_of(name: str, *batches: list[Sample]) -> list[dict]:
    model, task = CASES[name].build()
    found: list = []
    with torch.no_grad():
        for samples in batches:
            batch = collate(samples)
            step = task.measure(model.eval(), batch, "it", "test")
            labels = LABELS[: getattr(task, "n_classes", 0)]
            found.append([json.loads(json.dumps(row)) for row in task.rows(model.heads["it"], step, batch, labels)])
    return json.loads(json.dumps(list(task.together(chain(*found))), allow_nan=False))


@pytest.mark.parametrize("name", CASES)
def test_every_sample_has_one_row_in_order_however_the_split_is_cut(name):
    samples = [*CASES[name].samples[0], *CASES[name].samples[1]]
    whole, cut = rows_of(name, samples), rows_of(name, samples[:2], samples[2:])
    assert [row["id"] for row in whole] == ([] if name in SILENT else [each.id for each in samples])
    assert _close(whole, cut)
    assert all({"target", "prediction"} <= row.keys() for row in whole)


def _close(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    return one == (pytest.approx(other, rel=1e-4, abs=1e-5) if isinstance(other, float) else other)


def test_classes_have_their_names_and_probabilities_that_add_up_to_one():
    rows = rows_of("classification", CASES["classification"].samples[0])
    assert [row["target"] for row in rows] == ["a", "none", "b", "none"]
    for row in rows:
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(row["scores"], key=row["scores"].get) == next(iter(row["scores"]))


def test_what_has_no_answer_is_null():
    assert rows_of("multi-label", CASES["multi-label"].samples[0])[0]["target"] == {"a": True, "b": None}
    first = rows_of("regression", CASES["regression"].samples[0])[0]
    assert first["target"] == [1.0, None] and len(first["prediction"]) == 2
    assert rows_of("spans", CASES["spans"].samples[0])[2]["target"] is None


def test_tokens_without_a_class_are_left_out():
    rows = rows_of("tokens", CASES["tokens"].samples[0])
    assert [row["tokens"] for row in rows] == [[0], [0, 1, 2], [], [1, 2, 3]]
    assert [row["target"] for row in rows] == [["a"], ["none", "none", "b"], [], ["a", "none", "b"]]


def test_numbers_stand_in_the_units_of_the_data():
    (row,) = rows_of("regression", CASES["regression"].samples[0][1:2])
    assert row["prediction"][1] > 1e5  # the spread of the second number is 100 around a million


def test_only_the_most_probable_of_many_classes_have_scores():
    samples = CASES["classification"].samples[0][:1]
    (row,) = of_classes(collate(samples), torch.arange(300.0)[None] / 300, torch.tensor([7]), ())
    assert (row["target"], row["prediction"], len(row["scores"])) == (7, 299, 100)


def test_a_right_one_as_near_as_all_others_stands_in_the_middle():
    _, task = CASES["contrastive"].build()
    same = [{"id": str(i), "key": 0, "vectors": [[1.0, 0.0], [1.0, 0.0]]} for i in range(3)]
    assert [row["rank"] for row in task.together(same)] == [{"audio_to_text": 2.0, "text_to_audio": 2.0}] * 3


def test_ranks_agree_with_recall():
    rows = rows_of("contrastive", CASES["contrastive"].samples[0])
    lone = [row["id"] for row in rows if not row["prediction"]]
    assert lone == ["s2"]  # it has no text
    for row in rows:
        assert all((row["rank"][key] == 1) == (row["prediction"][key] == row["id"]) for key in row["rank"])


def test_a_task_of_ones_own_need_not_say_anything():
    assert list(Task.together(None, [])) == []  # pyright: ignore[reportArgumentType]
