"""Loggers of services: a run that is resumed goes on as the same one."""

import os
import subprocess
import sys

import pytest

from omniformer.training.trackers import MLFlowLog, TrackioLog, WandbLog, run_id


def test_the_id_of_a_run_is_that_of_its_folder_and_holds_nothing_that_a_service_refuses():
    assert run_id("outputs/my run/a:b") == "my_run-a_b"
    assert run_id("outputs/sweeps/monday/0") != run_id("outputs/sweeps/tuesday/0")


@pytest.mark.slow
def test_wandb_goes_on_with_the_run_of_a_folder(tmp_path):
    pytest.importorskip("wandb")
    loggers = [WandbLog(output_dir=str(tmp_path / "vision" / "monday"), project="p", offline=True) for _ in range(2)]
    assert {logger._wandb_init["id"] for logger in loggers} == {"vision-monday"}
    assert {logger._wandb_init["resume"] for logger in loggers} == {"allow"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the library's own making
def test_mlflow_goes_on_with_the_run_of_a_folder(tmp_path):
    pytest.importorskip("mlflow")
    tracked = {
        "output_dir": str(tmp_path),
        "experiment_name": "e",
        "tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}",
    }
    try:
        first = MLFlowLog(**tracked)
        first.log_metrics({"loss": 2.0}, step=1)
    except ImportError as error:
        pytest.skip(f"this mlflow has no database: {error}")
    second = MLFlowLog(**tracked)
    second.log_metrics({"loss": 1.0}, step=2)
    assert second.run_id == first.run_id
    assert [each.value for each in second.experiment.get_metric_history(first.run_id, "loss")] == [2.0, 1.0]


def test_trackio_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("omniformer.training.trackers.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="logger=trackio needs the package trackio: pip install trackio"):
        TrackioLog(output_dir=str(tmp_path))


@pytest.mark.slow
def test_trackio_keeps_numbers_here_and_goes_on_with_the_run_of_a_folder(tmp_path):
    pytest.importorskip("trackio")
    code = f"""
from omniformer.training.trackers import TrackioLog
for step, loss in ((1, 2.0), (2, 1.0)):
    log = TrackioLog(output_dir={str(tmp_path / "vision" / "monday")!r}, project="p")
    log.log_hyperparams({{"lr": 0.1}})
    log.log_metrics({{"loss": loss}}, step=step)
    log.finalize("success")
from trackio.sqlite_storage import SQLiteStorage
rows = SQLiteStorage.get_logs("p", "vision-monday")
print(SQLiteStorage.get_runs("p"), [(row["step"], row["loss"]) for row in rows])
"""
    kept = {**os.environ, "TRACKIO_DIR": str(tmp_path / "kept"), "HF_HUB_OFFLINE": "1"}
    made = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "['vision-monday'] [(1, 2.0), (2, 1.0)]" in made.stdout.splitlines()  # trackio says more
