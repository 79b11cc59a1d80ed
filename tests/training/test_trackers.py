"""Loggers of services: a run that is resumed goes on as the same one."""

import pytest

from omniformer.training.trackers import MLFlowLog, WandbLog, run_id


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
