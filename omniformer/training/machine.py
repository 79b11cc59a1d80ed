"""How much of what the machine can compute a training used."""

import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.flop_counter import FlopCounterMode

from omniformer.parallel import readers
from omniformer.parallel.compiling import Compiling
from omniformer.training.throughput import Throughput, count

_SIZES = {"cpu": 512, "cuda": 8192}  # of the product that is timed: milliseconds, but on a CPU without bfloat16
_FEW, _SECONDS = 5, 0.1
_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


class MachineShare(Callback):
    """Compares the operations of a training with those of a plain matrix product that lasted as long (model FLOPs
    utilisation, [Chowdhery et al. 2022](https://arxiv.org/abs/2204.02311), 4.1).

    The products and fused attentions of the first batch are counted as they come by, padding and what is recomputed
    included; later batches are taken to need as many for each token. `train/machine_share` divides them by the seconds
    outside validation and the rate of a product of the run's precision, measured before the first step: 1 would be a
    training that does nothing else. Attention along edges is no product and counts nothing. Left out, which is said,
    where the core is compiled, since compiled programs cannot be counted so.
    """

    def __init__(self) -> None:
        self._counter: FlopCounterMode | None = None
        self._tokens = 0
        self._operations = 0
        self._rate = 0.0
        self._share: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measures the machine."""
        if any(isinstance(each, Compiling) for each in trainer.callbacks):  # pyright: ignore[reportAttributeAccessIssue]
            rank_zero_info("train/machine_share is left out: operations of compiled programs cannot be counted")
            return
        precision = str(trainer.precision).partition("-")[0]
        self._rate = product_rate(trainer.strategy.root_device, _DTYPES.get(precision, torch.float32))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begins to count, in the first batch."""
        if self._rate and not self._tokens:
            self._tokens = sum(tokens for _, tokens in count(batch).values())
            self._counter = FlopCounterMode(display=False)
            self._counter.__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Has counted."""
        if self._counter is not None:
            self._operations = self._counter.get_total_flops()
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Counts no longer."""
        self._stop()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares."""
        known = [each for each in trainer.callbacks if isinstance(each, Throughput)]  # pyright: ignore[reportAttributeAccessIssue]
        if known and self._tokens and (seconds := known[0].training_seconds) > 0:
            done = self._operations / self._tokens * known[0].n_tokens
            self._share = done / (seconds * self._rate * readers.place(trainer)[1])  # a process did its part of each

    def results(self) -> dict[str, float]:
        """The number for `metrics.json`."""
        return {} if self._share is None else {"train/machine_share": self._share}

    def _stop(self) -> None:
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counter = None


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations in a second of a product of two square matrices, the best of a few within a tenth of a second; 0 on a
    device of another kind.

    Example:
        >>> product_rate(torch.device("cpu"), torch.float32) > 0
        True
    """
    if device.type not in _SIZES:
        return 0.0
    size = _SIZES[device.type]
    # Random numbers, as zeros cost less power; of a generator of their own, so that the run draws what it would.
    drawn = torch.randn(size, size, generator=torch.Generator(device).manual_seed(0), device=device)
    a, times = drawn.to(dtype), []
    while len(times) < _FEW and sum(times) < _SECONDS:
        start = time.perf_counter()
        torch.mm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)
