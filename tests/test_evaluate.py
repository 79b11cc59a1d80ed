"""Measuring a finished run on data that are not its own."""

import json

import pytest

from omniformer.evaluate import main
from omniformer.train import main as train


def table(path, kinds, n=48):
    path.write_text(
        "review,mood\n" + "".join(f"a {kinds[i % len(kinds)]} film {i},{kinds[i % len(kinds)]}\n" for i in range(n))
    )
    return str(path)


@pytest.fixture(scope="module")
def mood(tmp_path_factory):
    """A run that told two kinds of reviews apart."""
    folder = tmp_path_factory.mktemp("mood")
    old = table(folder / "old.csv", ("good", "bad"))
    options = ["core.d_model=16", "core.n_layers=1", "core.n_heads=2", "debug=fast", "callbacks.best=null", "name=mood"]
    columns = ["data=table", f"data.source.files={old}", "data.source.columns={review: text, mood: label}"]
    kinds = ["modality=text", "task=classification", "tokenizer=characters"]
    train([*kinds, *columns, *options, f"paths.output_root={folder}", "callbacks.progress=null"])
    return (folder / "mood" / "latest").resolve()


def test_other_data_are_measured_beside_the_run_whose_own_numbers_stay(mood, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in mood.iterdir() if path.is_file()}
    new = table(tmp_path / "new.csv", ("bad", "good"), n=10)
    main([str(mood), "--data", new])
    assert "mood on new.csv: test split" in " ".join(capsys.readouterr().out.split())
    main([str(mood), "--data", new, "--out", str(tmp_path / "found")])
    rows = [json.loads(line) for line in (tmp_path / "found" / "predictions.jsonl").read_text().splitlines()]
    right = sum(row["target"] == row["prediction"] for row in rows)
    assert len(rows) == 10 and {row["id"].rpartition(",")[0] for row in rows} == {"new.csv"}
    assert json.loads((tmp_path / "found" / "metrics.json").read_text())["test/accuracy"] == pytest.approx(right / 10)
    assert {path.name: path.read_bytes() for path in mood.iterdir() if path.is_file()} == before


def test_a_class_that_the_model_does_not_know_is_refused(mood, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(mood), "--data", table(tmp_path / "new.csv", ("odd", "good"), n=10)])
    assert "odd" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*without label are left out")
def test_rows_without_what_is_predicted_are_no_test(mood, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("review\na good film\n")
    with pytest.raises(SystemExit):
        main([str(mood), "--data", str(tmp_path / "new.csv")])
    assert "new.csv: no sample with what is to be predicted is in the test split" in capsys.readouterr().err


def test_the_folder_of_data_may_have_moved(mood, tmp_path, monkeypatch):
    from omniformer.experiment import evaluation

    seen = []
    monkeypatch.setattr(evaluation, "assemble", lambda config, beginning: seen.append(config) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main([str(mood), "--data-root", "elsewhere"])
    assert seen[0]["data_root"] == seen[0]["data"]["source"]["data_root"] == "elsewhere"


def test_harm_is_measured_beside_the_run_whose_own_numbers_stay(mood):
    before = {path.name: path.read_bytes() for path in mood.iterdir() if path.is_file()}
    main([str(mood), "--corrupt", "noise", "--strengths", "1"])
    told = json.loads((mood / "robustness" / "noise-test.json").read_text())["metrics"]
    assert told["test/accuracy"][0] == json.loads(before["metrics.json"])["test/accuracy"]
    assert told["test/loss"][1] != told["test/loss"][0]
    assert {path.name: path.read_bytes() for path in mood.iterdir() if path.is_file()} == before
