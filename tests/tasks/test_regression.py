import math

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.embedders import VectorEmbedder
from omniformer.heads import RegressionHead
from omniformer.model import OmniFormer
from omniformer.tasks import Regression


def model_with(**options) -> OmniFormer:
    torch.manual_seed(0)
    return OmniFormer(
        core=Transformer(d_model=16, n_layers=1, n_heads=2),
        embedders={"audio": VectorEmbedder(d_model=16, features=3)},
        heads={"it": RegressionHead(d_model=16, **options)},
    )


def batch_of(values):
    chance = torch.Generator().manual_seed(0)
    return collate(
        [
            Sample(
                id=f"s{i}",
                pieces=[
                    Tokens(values=torch.randn(2, 3, generator=chance), positions=torch.zeros(2, 1), modality="audio")
                ],
                targets={"value": torch.tensor(value)},
            )
            for i, value in enumerate(values)
        ]
    )


@pytest.mark.parametrize("loss", ["l1", "l2", "huber"])
def test_errors_count_in_units_of_the_spread_and_are_reported_in_those_of_the_target(loss):
    model = model_with(n_outputs=2, target_mean=[10.0, 1e6], target_std=[2.0, 1000.0])
    batch = batch_of([[13.0, 1e6], [float("nan"), 1e6 - 500]])
    task = Regression(head=model.heads["it"], loss=loss)
    step = task.step(model, batch, "it")
    errors = [1.5, 0.0, 0.5]
    one = {"l1": lambda e: e, "l2": lambda e: e * e, "huber": lambda e: e * e / 2 if e < 1 else e - 0.5}[loss]
    assert step.loss.item() == pytest.approx(sum(map(one, errors)) / 3)
    metrics = task.metrics()
    task.update(metrics, step, batch)
    assert metrics.compute()["mae"].item() == pytest.approx(503 / 3)
    assert metrics.compute()["rmse"].item() == pytest.approx(math.sqrt((9 + 250_000) / 3))


def test_numbers_far_from_zero_are_learned(share_left):
    values = [1e6 + 173.0 * (-1) ** i for i in range(8)]
    model, batch = model_with(target_mean=[1e6], target_std=[173.0]), batch_of(values)
    task = Regression(head=model.heads["it"])
    assert share_left(task, model, batch) < 0.1
    metrics = task.metrics()
    task.update(metrics, task.step(model, batch, "it"), batch)
    assert metrics.compute()["rmse"].item() < 60


def test_another_number_of_values_is_named():
    model = model_with()
    with pytest.raises(ValueError, match="predicts 1 numbers, sample 's0' has 2; set n_outputs"):
        Regression(head=model.heads["it"]).step(model, batch_of([[1.0, 2.0]]), "it")
