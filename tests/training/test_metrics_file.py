"""metrics.json is one flat object of finite numbers."""

import json
import logging

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from omniformer.training.metrics_file import MetricsFile, read_metrics
from omniformer.training.throughput import Throughput


@pytest.fixture
def finished(regressor, make_loader, make_trainer, tmp_path):
    """A run of three epochs with a test behind it."""
    best = ModelCheckpoint(dirpath=tmp_path, monitor="val/loss", filename="best")
    metrics = MetricsFile(path=str(tmp_path / "run" / "metrics.json"), seed=5)
    trainer = make_trainer(best, Throughput(), metrics)
    module = regressor()
    losses = []
    module.on_validation_end = lambda: losses.append(float(trainer.callback_metrics["val/loss"]))
    trainer.fit(module, make_loader(), make_loader(shuffle=False))
    after_fit = read_metrics(tmp_path / "run" / "metrics.json")
    trainer.test(module, make_loader(shuffle=False), verbose=False)
    return after_fit, read_metrics(tmp_path / "run" / "metrics.json"), losses, module


def test_file_holds_the_promised_names(finished):
    after_fit, numbers, losses, module = finished
    assert numbers["seed"] == 5
    assert numbers["parameters"] == sum(value.numel() for value in module.state_dict().values()) == 97
    assert numbers["trained_parameters"] == 97
    assert (numbers["epochs"], numbers["steps"]) == (3, 9)
    assert numbers["val/loss"] == pytest.approx(losses[-1])
    assert numbers["best/val/loss"] == pytest.approx(min(losses))
    assert {"train/loss", "train/seconds", "train/tokens", "train/tokens_per_second"} <= numbers.keys()
    assert "test/loss" not in after_fit
    assert numbers["test/loss"] == pytest.approx(losses[-1], rel=1e-5)
    assert all(type(value) in (int, float) for value in numbers.values())


def test_names_are_sorted_and_the_file_is_plain_json(finished, tmp_path):
    text = (tmp_path / "run" / "metrics.json").read_text()
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert text.endswith("}\n")


def test_evaluation_of_a_finished_run_adds_to_its_numbers(finished, regressor, make_loader, make_trainer, tmp_path):
    path = tmp_path / "run" / "metrics.json"
    path.write_text(json.dumps(read_metrics(path) | {"test/loss": -1.0, "baseline/bz2": 1.8}))
    again = MetricsFile(path=str(path), seed=5)
    make_trainer(again).test(regressor(), make_loader(shuffle=False), verbose=False)
    numbers = read_metrics(path)
    assert numbers["test/loss"] > 0
    assert numbers["baseline/bz2"] == 1.8
    assert numbers["best/val/loss"] == finished[1]["best/val/loss"]


def test_frozen_parameters_are_not_counted_as_trained(regressor, make_loader, make_trainer, tmp_path):
    module = regressor()
    kept = next(module.parameters())
    kept.requires_grad_(False)
    make_trainer(MetricsFile(path=str(tmp_path / "metrics.json"), seed=5)).fit(module, make_loader(), make_loader())
    numbers = read_metrics(tmp_path / "metrics.json")
    assert numbers["parameters"] - numbers["trained_parameters"] == kept.numel() > 0


def test_number_that_is_not_finite_is_left_out_with_a_warning(tmp_path, caplog):
    metrics = MetricsFile(path=str(tmp_path / "metrics.json"), seed=0)
    metrics.add({"a": 1, "b": torch.tensor(0.5)})
    with caplog.at_level(logging.WARNING):
        metrics.add({"a": float("nan"), "c": float("inf")})
    metrics.write()
    assert read_metrics(tmp_path / "metrics.json") == {"seed": 0, "b": 0.5}
    assert "metric a is nan and left out" in caplog.text
    assert "metric c is inf" in caplog.text


def test_value_that_is_no_number_is_told(tmp_path):
    metrics = MetricsFile(path=str(tmp_path / "metrics.json"), seed=0)
    for value in ("0.5", None, True, [1.0]):
        with pytest.raises(TypeError, match="metric 'x' is"):
            metrics.add({"x": value})


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": {"b": 1}}'])
def test_damaged_file_is_told(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.json is not"):
        read_metrics(tmp_path / "metrics.json")
