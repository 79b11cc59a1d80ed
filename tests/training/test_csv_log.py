"""The log is a long table that only grows."""

import csv
import re

import pytest

from omniformer.training.csv_log import CSVLog
from omniformer.training.progress import TrainingProgress


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_number_is_one_row(tmp_path):
    log = CSVLog(path=str(tmp_path / "deep" / "metrics.csv"))
    log.log_metrics({"train/loss": 0.1 + 0.2, "epoch": 2.0}, step=7)
    log.log_metrics({"lr": 1e-9}, step=8)
    log.finalize("success")
    assert rows(tmp_path / "deep" / "metrics.csv") == [
        {"step": "7", "epoch": "2", "name": "train/loss", "value": "0.30000000000000004"},
        {"step": "8", "epoch": "", "name": "lr", "value": "1e-09"},
    ]


def test_resumed_run_appends(tmp_path):
    for step in (1, 2):
        log = CSVLog(path=str(tmp_path / "metrics.csv"))
        log.log_metrics({"a": step}, step=step)
        log.finalize("success")
    assert [row["step"] for row in rows(tmp_path / "metrics.csv")] == ["1", "2"]


def test_row_torn_by_a_kill_is_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,name,value\n1,0,a,0.5\n2,0,a,0.")
    log = CSVLog(path=str(path))
    log.log_metrics({"a": 0.25}, step=2)
    log.finalize("success")
    assert [row["value"] for row in rows(path)] == ["0.5", "0.25"]


def test_numbers_are_in_the_file_at_once(tmp_path):
    log = CSVLog(path=str(tmp_path / "metrics.csv"))
    log.log_metrics({"a": 1}, step=1)
    assert len(rows(tmp_path / "metrics.csv")) == 1
    log.finalize("success")
    log.finalize("success")


def test_training_logs_every_step_and_validation(regressor, make_loader, make_trainer, tmp_path):
    log = CSVLog(path=str(tmp_path / "metrics.csv"))
    make_trainer(loggers={"csv": log}).fit(regressor(), make_loader(), make_loader())
    found = rows(tmp_path / "metrics.csv")
    assert [row["step"] for row in found if row["name"] == "train/loss"] == [str(step) for step in range(1, 10)]
    assert [row["step"] for row in found if row["name"] == "val/loss"] == ["3", "6", "9"]
    assert [row["epoch"] for row in found if row["name"] == "val/loss"] == ["1", "2", "3"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_and_epochs_are_those_of_the_console_in_every_stage(
    regressor, make_loader, make_trainer, tmp_path, capsys, accumulate
):
    log, module = CSVLog(path=str(tmp_path / "metrics.csv")), regressor(accumulate=accumulate)
    trainer = make_trainer(
        TrainingProgress(), loggers={"csv": log}, accumulate_grad_batches=accumulate, val_check_interval=1, max_epochs=2
    )
    trainer.fit(module, make_loader(), make_loader())
    trainer.test(module, make_loader(), verbose=False)
    found = [(row["epoch"], row["step"], row["name"]) for row in rows(tmp_path / "metrics.csv")]
    said = re.findall(r"epoch (\d+), step (\d+): val/loss", capsys.readouterr().err)
    assert [place[:2] for place in found if place[2] == "val/loss"] == said
    last = ("2", "6" if accumulate == 1 else "4")
    assert (*last, "train/loss") in found
    assert (*last, "test/loss") in found
