"""predictions.jsonl: what was said of each sample, in the order of the data, whatever happened before."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from omniformer.training import predictions
from omniformer.training.predictions import Predictions, write_texts


class Said:
    """A task that says of each sample what stands in its step."""

    def rows(self, head: Any, step: Any, batch: Any, labels: Any) -> Any:
        return [{"id": name, "target": labels[0], "prediction": said} for name, said in zip(batch, step, strict=True)]

    def together(self, rows: Any) -> Any:
        return rows


def trainer_of(fn: str = "test", **more: Any) -> Any:
    data = SimpleNamespace(labels=lambda name: (f"label of {name}",))
    found = {"world_size": 1, "is_global_zero": True, "fast_dev_run": False, "datamodule": data}
    return SimpleNamespace(**found | more, state=SimpleNamespace(fn=fn))


MODULE: Any = SimpleNamespace(tasks={"a": Said(), "b": Said()}, model=SimpleNamespace(heads={"a": None, "b": None}))


def measured(path: Any, *batches: dict[str, list[str]], trainer: Any = None) -> list[dict]:
    trainer, said = trainer or trainer_of(), Predictions(path=str(path))
    said.setup(trainer, MODULE, "test")
    for batch in batches:
        said.on_test_batch_end(trainer, MODULE, {name: ids for name, ids in batch.items() if ids}, batch, 0)
    said.on_test_end(trainer, MODULE)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_members_follow_each_other_each_in_the_order_of_its_samples(tmp_path):
    rows = measured(tmp_path / "p.jsonl", {"a": ["1", "2"]}, {"b": ["x"]}, {"a": ["3"]})
    assert [(row["member"], row["id"]) for row in rows] == [("a", "1"), ("a", "2"), ("a", "3"), ("b", "x")]
    assert rows[0] == {"split": "test", "member": "a", "id": "1", "target": "label of a", "prediction": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]


def test_another_test_replaces_its_lines_and_keeps_those_of_validation(tmp_path):
    path = tmp_path / "p.jsonl"
    trainer, said = trainer_of("predict"), Predictions(path=str(path))
    said.setup(trainer, MODULE, "predict")
    said.on_predict_batch_end(trainer, MODULE, {"a": ["v"]}, {"a": ["v"]}, 0)
    said.on_predict_end(trainer, MODULE)
    measured(path, {"a": ["old"]})
    assert [(row["split"], row["id"]) for row in measured(path, {"a": ["new"]})] == [("val", "v"), ("test", "new")]


def test_ranks_take_turns_and_a_rank_without_samples_adds_none(tmp_path, monkeypatch):
    others: Any = iter([[{"id": "2"}, {"id": "4"}], []])
    monkeypatch.setattr(predictions.Agreement, "gather", lambda self, own: [own, next(others)])
    rows = measured(tmp_path / "p.jsonl", {"a": ["1", "3", "5"]}, {"a": ["6"]})
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("more", [{"is_global_zero": False}, {"fast_dev_run": True}])
def test_other_ranks_and_trials_write_nothing(tmp_path, more):
    assert measured(tmp_path / "p.jsonl", {"a": ["1"]}, trainer=trainer_of(**more)) == []


def test_validations_of_a_training_write_nothing(tmp_path):
    said, trainer = Predictions(path=str(tmp_path / "p.jsonl")), trainer_of("fit")
    said.setup(trainer, MODULE, "fit")
    said.on_validation_batch_end(trainer, MODULE, {"a": ["1"]}, {"a": ["1"]}, 0)
    said.on_validation_end(trainer, MODULE)
    assert not list(tmp_path.iterdir())


def test_texts_of_the_test_lie_beside_those_expected_and_no_file_where_nothing_was_written(tmp_path):
    path, row = tmp_path / "p.jsonl", {"member": "german", "id": "a", "target": "Strasse", "prediction": "Straße"}
    rows = [{"split": "test", **row}, {"split": "val", **row}, {"split": "test", **row, "scores": {}}]
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows[1:]), encoding="utf-8")
    write_texts(tmp_path / "none.jsonl", path)
    write_texts(tmp_path / "none.jsonl", tmp_path / "missing.jsonl")
    assert not (tmp_path / "none.jsonl").exists()
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows), encoding="utf-8")
    write_texts(tmp_path / "written.jsonl", path)
    (line,) = (tmp_path / "written.jsonl").read_text(encoding="utf-8").splitlines()
    assert "Straße" in line
    assert json.loads(line) == {"member": "german", "id": "a", "written": "Straße", "expected": "Strasse"}
