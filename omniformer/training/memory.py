"""What to do where there is too little memory for a step."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from omniformer.allocator import keep_memory as keep_memory


class NoMemoryError(MemoryError, ValueError):
    """A step needs more memory than there is."""


class LastBatch(Callback):
    """Remembers the batch at hand, so that whoever runs out of memory can say how large it was."""

    def __init__(self) -> None:
        self.stage, self.batch = "before the first batch", None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remembers a batch of training."""
        self.stage, self.batch = "training", batch

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Remembers a batch of validation."""
        self.stage, self.batch = "validation", batch

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Remembers a batch of the test."""
        self.stage, self.batch = "test", batch

    def __str__(self) -> str:
        """The stage, and of each member how many samples and tokens and how long the longest."""
        parts = self.batch.items() if isinstance(self.batch, Mapping) else ()
        sizes = [
            f"{name} has {len(part)} samples of {part.n_tokens:,} tokens, the longest "
            f"{max(part.lengths.tolist() or [0]):,}"
            for name, part in parts
        ]
        return self.stage + (f", batch: {'; '.join(sizes)}" if sizes else "")


@contextmanager
def advised(trainer: Trainer) -> Iterator[None]:
    """Turns an error of a device or host that has no memory left into one sentence that says what to lower.

    Raises:
        NoMemoryError: in the place of that error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _ran_out(error):
            raise
        callbacks: list[Any] = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
        last = next((str(each) for each in callbacks if isinstance(each, LastBatch)), "")
        raise NoMemoryError(
            f"out of memory at step {trainer.global_step}, {last or 'callbacks.last_batch is off'}; at most "
            f"{peak_memory(trainer) / 2**30:.1f} GiB were held. Lower data.batch_size or data.tokens_per_batch and "
            "raise trainer.accumulate_grad_batches by as much, cut long samples (data.arrange.seq_len, a coarser "
            "tokenizer), or choose trainer.precision=bf16-mixed"
        ) from error


def _ran_out(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return not isinstance(error, NoMemoryError)
    return any(sign in str(error) for sign in ("can't allocate memory", "not enough memory", "out of memory"))


def peak_memory(trainer: Trainer) -> int:
    """Bytes held at most so far: by tensors on a GPU, by the process on a CPU; 0 where the system does not say."""
    if trainer.strategy.root_device.type == "cuda":
        return torch.cuda.max_memory_allocated(trainer.strategy.root_device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else 1024 * held
