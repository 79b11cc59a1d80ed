import numpy as np
import pytest

from omniformer.data.table import Table
from omniformer.data.table.trivial import of_questions


def test_questions_alone_are_answered_as_they_mostly_are_in_training(tmp_path):
    rows = [("is it red?", kind) for kind in ("yes", "no", "no", "no")] + [("what?", "a box")] * 2
    asked = [("is it red?", "no"), ("is it red?", "yes"), ("what?", "a box"), ("is it new?", "no")]
    for name, each in (("train", rows), ("test", asked)):
        (tmp_path / f"{name}.csv").write_text(
            "\n".join(["photo,question,kind", *(f"x.png,{text},{kind}" for text, kind in each)])
        )
    (tmp_path / "x.png").write_bytes(b"")
    files = {"train": "train.csv", "test": "test.csv", "shares": (1.0, 0.0, 0.0), "data_root": str(tmp_path)}
    table = Table(columns={"photo": "vision", "question": "text", "kind": "label"}, **files)
    assert table.baselines() == {"majority_accuracy": 0.5, "question_alone_accuracy": 0.5}
    alone = Table(columns={"question": "text", "kind": "label"}, **files)
    assert alone.baselines() == {"majority_accuracy": 0.5}


@pytest.mark.parametrize("texts", [["a", "b", "c"], ["a", "a", "b"]])
def test_texts_that_hardly_come_again_are_no_questions(texts):
    assert of_questions(texts, np.arange(3), ["a"], np.array([0])) == {}
