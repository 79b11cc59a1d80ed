"""A small model, data that tells which samples it gave, and a trainer with the house's callbacks."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from omniformer_tokenizers import Tokens
from torch import Tensor, nn
from torch.utils.data import Dataset

from omniformer.batch import Batch, Sample, collate
from omniformer.training.accumulation import KeepGradients
from omniformer.training.optimizers import AdamW
from omniformer.training.rng import StepSeeds
from omniformer.training.schedules import total_steps
from omniformer.training.trainer import build_trainer


class Points(Dataset):
    """Samples of one to three tokens with four random features; the target is the sum of all."""

    def __init__(self, n: int) -> None:
        generator = torch.Generator().manual_seed(7)
        self.samples = []
        for i in range(n):
            values = torch.randn(1 + i % 3, 4, generator=generator)
            tokens = Tokens(values=values, positions=torch.zeros(len(values), 1), modality="point")
            self.samples.append(Sample(id=f"s{i}", pieces=[tokens], targets={"value": values.sum()}))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def as_member(samples: list[Sample]) -> dict[str, Batch]:
    return {"points": collate(samples)}


class KeyedLoader:
    """A loader like the house's own: the order comes from (seed, epoch), the place is two numbers."""

    def __init__(self, n: int = 12, *, batch_size: int = 4, shuffle: bool = True) -> None:
        self.data, self.batch_size, self.shuffle = Points(n), batch_size, shuffle
        self.epoch = self.batch = 0

    def __len__(self) -> int:
        return len(self.data) // self.batch_size

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        for _ in range(len(self)):
            generator = torch.Generator().manual_seed(self.epoch)
            order = (
                torch.randperm(len(self.data), generator=generator).tolist() if self.shuffle else range(len(self.data))
            )
            chosen = order[self.batch * self.batch_size : (self.batch + 1) * self.batch_size]
            self.batch += 1
            if self.batch == len(self):
                self.epoch, self.batch = self.epoch + 1, 0
            yield as_member([self.data[i] for i in chosen])

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.batch = state["epoch"], state["batch"]


class Regressor(LightningModule):
    """Sums a small network over a sample's tokens. `seen` records what every training batch did."""

    def __init__(self, *, dropout: float = 0.1, batches: int = 3, epochs: int = 3, accumulate: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, 1))
        self.factory = AdamW(lr=0.01, warmup_steps=3)
        self.total = total_steps(batches_per_epoch=batches, accumulate_grad_batches=accumulate, max_epochs=epochs)
        self.seen: list[tuple[tuple[str, ...], str, float]] = []
        self.before_step: Callable[[Regressor, dict[str, Batch]], Any] | None = None

    def loss(self, batches: dict[str, Batch]) -> Tensor:
        (batch,) = batches.values()
        sums = torch.stack([rows.sum() for rows in self.net(batch.parts["point"].values).split(batch.lengths.tolist())])
        return (sums - batch.targets["value"]).square().mean()

    def training_step(self, batch: dict[str, Batch], batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        (ids,) = (part.ids for part in batch.values())
        lr = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.seen.append((ids, float(loss.detach()).hex(), lr))
        self.log("train/loss", loss.detach(), batch_size=1)
        changed = self.before_step(self, batch) if self.before_step is not None else None
        return loss if changed is None else loss * changed

    def validation_step(self, batch: dict[str, Batch], batch_idx: int) -> None:
        # Draws from the global generator, as careless code does: it must not disturb training.
        torch.rand(3)
        self.log("val/loss", self.loss(batch), batch_size=1)

    def test_step(self, batch: dict[str, Batch], batch_idx: int) -> None:
        self.log("test/loss", self.loss(batch), batch_size=1)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.factory(self)
        schedule = self.factory.scheduler(optimizer, self.total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@pytest.fixture
def regressor() -> type[Regressor]:
    return Regressor


@pytest.fixture
def make_loader() -> Callable[..., Any]:
    return KeyedLoader


@pytest.fixture
def make_trainer(tmp_path) -> Callable[..., Trainer]:
    def make(*extra: Any, output_dir: str | None = None, loggers: Any = None, **options: Any) -> Trainer:
        callbacks = {"seeds": StepSeeds(seed=0), "gradients": KeepGradients()}
        callbacks |= {f"extra{i}": callback for i, callback in enumerate(extra)}
        defaults = {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 3,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
        }
        return build_trainer(
            defaults | {"enable_model_summary": False} | options,
            callbacks=callbacks,
            loggers=loggers or {},
            output_dir=output_dir or str(tmp_path / "run"),
        )

    return make
