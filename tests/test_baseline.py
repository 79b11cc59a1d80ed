"""`omniformer baseline`: a table and a file, which later runs on the same data show beside their score."""

import json

import pytest

from omniformer.baseline import main
from omniformer.train import main as train


@pytest.fixture
def quick(monkeypatch):
    from omniformer.baselines import every
    from omniformer.baselines.pictures import NearestPicture
    from omniformer.baselines.trivial import Trivial

    monkeypatch.setattr(every, "EVERY", (Trivial, NearestPicture))


@pytest.mark.slow
def test_a_run_on_the_same_data_shows_what_was_measured(tmp_path, quick, capsys):
    where = f"paths.output_root={tmp_path}"
    (path,) = main(["modality=vision", where])
    (told,) = [each for each in json.loads(path.read_text())["scores"] if each["name"] == "nearest neighbour"]
    assert told["samples"] == 1258 and told["scores"]["test"]["accuracy"] > 0.95
    assert "nearest neighbour" in capsys.readouterr().out

    train(["modality=vision", "debug=fast", "trainer.max_epochs=1", where])
    numbers = json.loads((tmp_path / "vision" / "latest" / "metrics.json").read_text())
    assert numbers["baseline/nearest_neighbour/test/accuracy"] == told["scores"]["test"]["accuracy"]
    assert "simple methods" in capsys.readouterr().out


def test_a_task_without_a_simple_method_says_for_which_there_are_some(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["modality=text", f"paths.output_root={tmp_path}"])
    assert stop.value.code == 2
    assert "baseline: no simple method is known for this task; there are some for classes" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
