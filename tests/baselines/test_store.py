"""Scores of simple methods are kept by their data, and found again for these data alone."""

from dataclasses import replace

import pytest
import torch

from omniformer.baselines import compute, numbers, stored
from omniformer.baselines.baseline import Score
from omniformer.baselines.every import run
from omniformer.baselines.store import beside, place
from omniformer.baselines.texts import Words


def test_what_was_computed_is_found_again_until_the_data_change(tmp_path, texts, capsys):
    problem = texts()
    assert stored(tmp_path, problem) is None
    path = compute(tmp_path, problem, seed=0)
    found = stored(tmp_path, problem)
    assert found is not None and found[0] == path
    assert numbers(found[1])["baseline/linear_on_words/test/accuracy"] == 1.0
    assert "linear on letters" in capsys.readouterr().out

    first = problem.raws["train"][0]
    for changed in (
        replace(first, targets={"label": torch.tensor(1)}),
        replace(first, contents={"text": "good bad"}),
        replace(first, id="another"),
    ):
        other = replace(problem, raws={**problem.raws, "train": [changed, *problem.raws["train"][1:]]})
        assert stored(tmp_path, other) is None


def test_a_damaged_file_is_named(tmp_path, texts):
    problem = texts()
    path = place(tmp_path, problem)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"baseline\.json is damaged: .*; remove it, and compute it again"):
        stored(tmp_path, problem)


def test_a_method_says_how_many_samples_it_learned_from_where_it_cannot_take_all(texts, monkeypatch):
    monkeypatch.setattr(Words, "most", 10)
    assert {score.name: score.samples for score in run(texts(), seed=0)} == {
        "always the same": 24,
        "linear on words": 10,
        "linear on letters": 24,
    }


def test_beside_a_number_the_best_method_stands_first_whichever_way_is_better():
    scores = [
        Score(name=name, seconds=1.0, samples=1, scores={"val": {"rmse": value}})
        for name, value in (("a", 2.0), ("b", 1.0))
    ]
    assert beside(scores, {"rmse": "min"}) == {"val/rmse": "b 1.0000, a 2.0000"}
    assert beside(scores, {"rmse": "max"}) == {"val/rmse": "a 2.0000, b 1.0000"}
