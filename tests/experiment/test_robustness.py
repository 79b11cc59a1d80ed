"""A sweep over strengths: a table, a file and a curve, with what is measured unharmed beside them."""

import json

import pytest

from omniformer.config import ConfigError
from omniformer.experiment import robustness
from omniformer.experiment.robustness import sweep


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose score falls with the harm."""
    (tmp_path / "config.yaml").write_text("{name: digits, seed: 3, paths: {}}")

    def evaluate(run, *, split, corruption, **options):
        assert corruption.seed == 3
        return {f"{split}/accuracy": 0.9 - corruption.strength, f"{split}/loss": 1 + corruption.strength}

    monkeypatch.setattr(robustness, "evaluate", evaluate)
    return tmp_path


def test_the_table_the_file_and_the_curve_say_each_strength(run, capsys):
    found = sweep(run, "noise=vision", [0.4, 0.1], split="val")
    assert list(found) == [0.0, 0.1, 0.4]
    told = json.loads((run / "robustness" / "noise-vision-val.json").read_text())
    assert told["strengths"] == [0.0, 0.1, 0.4] and told["metrics"]["val/loss"] == [1.0, 1.1, 1.4]
    shown = capsys.readouterr().out
    assert "unharmed" in shown and "0.5000" in shown and "digits: noise=vision on val" in shown
    page = (run / "robustness" / "noise-vision-val.html").read_text()
    assert page.count("<svg") == 2 and "val/accuracy" in page


def test_each_kind_has_usual_strengths(run):
    assert list(sweep(run, "crop", out=run / "there")) == [0.0, 0.1, 0.25, 0.5, 0.75]
    assert (run / "there" / "crop-test.json").is_file() and not (run / "robustness").exists()


def test_without_matplotlib_the_numbers_are_written_all_the_same(run, monkeypatch, caplog):
    def none(*_):
        raise ConfigError(["pictures need matplotlib"])

    monkeypatch.setattr(robustness, "drawn", none)
    sweep(run, "blur", [0.1])
    assert [path.name for path in (run / "robustness").iterdir()] == ["blur-test.json"]


@pytest.mark.parametrize("kind", ["nose", "missing", "crop=vision"])
def test_a_kind_or_strength_that_there_is_not_is_refused(run, kind):
    with pytest.raises(ConfigError, match=f"--corrupt {kind}: "):
        sweep(run, kind, [2.0])
    assert not (run / "robustness").exists()
