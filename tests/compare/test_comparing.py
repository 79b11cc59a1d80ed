"""Runs beside each other, from folders written by hand."""

import csv
import json

import pytest
import yaml

from omniformer.compare.__main__ import main
from omniformer.compare.comparing import compared, drawn, table
from omniformer.compare.runs import find, grouped
from omniformer.report.about import again
from omniformer.report.run import read

TARGETS = ["a", "b", "a", "b"]


def written(folder, *, seed=0, lr=0.1, source="x", accuracy=0.5, said=TARGETS, ids="0123"):
    folder.mkdir(parents=True)
    data = {"source": {"_target_": "Set", "files": source}, "fold": seed}
    config = {"seed": seed, "name": "digits", "optim": {"lr": lr}, "data": data, "paths": {"output_dir": str(folder)}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text(json.dumps({"test/accuracy": accuracy, "best/val/accuracy": accuracy}))
    lines = [f"{step},1,val/accuracy,{step / 10}" for step in (1, 2)]
    (folder / "metrics.csv").write_text("\n".join(["step,epoch,name,value", *lines]) + "\n")
    with (folder / "predictions.jsonl").open("w") as file:
        for i, target, answer in zip(ids, TARGETS, said, strict=True):
            row = {"split": "test", "member": "m", "id": i, "target": target, "prediction": answer}
            file.write(json.dumps(row | {"scores": {answer: 0.9}}) + "\n")
    return folder


@pytest.fixture
def sweep(tmp_path):
    written(tmp_path / "sweep" / "0", seed=0, accuracy=0.5)
    written(tmp_path / "sweep" / "1", seed=1, accuracy=0.7)
    written(tmp_path / "sweep" / "2", seed=0, lr=0.2, accuracy=0.9, said=["b", "b", "b", "b"])
    return tmp_path / "sweep"


def said(groups):
    return "\n".join(f"{section.title}\n{block.markdown()}" for section in compared(groups) for block in section.blocks)


def test_runs_that_differ_in_seed_and_fold_alone_are_one_row_with_mean_and_deviation(sweep):
    groups = grouped(find([str(sweep)]))
    assert [len(group.runs) for group in groups] == [2, 1]
    text = said(groups)
    assert "| optim.lr | 0.1 | 0.2 |" in text
    assert "0.6000 ± 0.1414 | 0.9000" in text
    assert "| seed | 0, 1 | 0 |" in text and "output\\_dir" not in text


def test_seeds_that_all_have_are_no_difference(sweep):
    assert "| seed |" not in said(grouped(find([str(sweep / "0"), str(sweep / "2")])))


def test_folders_patterns_and_parents_stand_for_runs_each_once(sweep):
    (sweep / "latest").symlink_to("2")
    assert len(find([str(sweep), str(sweep / "*"), str(sweep / "0")])) == 3
    with pytest.raises(FileNotFoundError, match="no-such holds no run"):
        find(["no-such"])


def test_predictions_of_two_are_tested_as_pairs(sweep):
    text = said(grouped(find([str(sweep / "0"), str(sweep / "2")])))
    assert "McNemar, exact" in text and "-0.5000" in text


def test_other_data_and_other_samples_are_said(tmp_path):
    folders = [written(tmp_path / "a"), written(tmp_path / "b", source="y", ids="0129")]
    text = said(grouped(folders))
    assert "The runs read other data: data.source.files differ" in text
    assert "2 of 5 samples of the test splits are not in all of these runs" in text


def test_without_predictions_it_is_said_why_there_is_no_test(sweep):
    (sweep / "2" / "predictions.jsonl").unlink()
    text = said(grouped(find([str(sweep / "0"), str(sweep / "2")])))
    assert "There is no paired test, since" in text and "kept no predictions" in text


def test_in_a_pipe_no_path_is_folded(tmp_path, capsys):
    folders = [written(tmp_path / ("a" * 150) / name, lr=lr) for name, lr in (("0", 0.1), ("1", 0.2))]
    main([str(each) for each in folders])
    printed = capsys.readouterr().out
    assert all(str(folder) in printed for folder in folders)


def test_the_table_for_programs_has_a_row_a_group(sweep):
    rows = list(csv.DictReader(table(grouped(find([str(sweep)]))).splitlines()))
    assert [row["optim.lr"] for row in rows] == ["0.1", "0.2"]
    assert [row["test/accuracy n"] for row in rows] == ["2", "1"]


def test_curves_of_all_stand_in_one_picture(sweep):
    (picture,) = drawn(grouped(find([str(sweep)]))).blocks
    assert "digits" in picture.html() or "sweep" in picture.html()


def test_the_command_prints_and_writes_what_was_asked(sweep, tmp_path, capsys):
    main([str(sweep), "--csv", str(tmp_path / "c.csv"), "--html", str(tmp_path / "c.html")])
    assert "optim.lr" in capsys.readouterr().out
    assert (tmp_path / "c.csv").is_file() and "<h2>Curves</h2>" in (tmp_path / "c.html").read_text()
    with pytest.raises(SystemExit):
        main([str(sweep / "0")])
    assert "received one run" in capsys.readouterr().err


def test_a_run_whose_command_was_not_noted_is_made_again_from_its_settings(sweep):
    assert "omniformer.experiment.train(" in again(read(sweep / "0")).blocks[-1].text
