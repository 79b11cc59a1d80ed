"""How much was learned from, and how fast."""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer

from omniformer.batch import Batch
from omniformer.training.agreement import Agreement
from omniformer.training.memory import peak_memory


class Throughput(Callback):
    """Counts tokens and samples of every training batch, per member, and the seconds they took.

    `train/seconds` is the wall time of fit, validation and checkpoints included, from the first batch to the end.
    `train/tokens_per_second` divides by the time outside validation, so that it compares with a bare training loop. On
    several ranks the tokens of all are counted. A resumed run adds up its parts; what was computed after the last
    checkpoint and lost is not counted. Tokens a second are also logged while training, over the steps
    since the last time, and beside them `train/memory_gib`, what the rank that holds most held at most so far.

    Example:
        >>> import torch
        >>> from omniformer.batch import Sample, collate
        >>> from omniformer_tokenizers import Tokens
        >>> word = Tokens(values=torch.tensor([7, 9]), positions=torch.zeros(2, 1), modality="text")
        >>> count({"text": collate([Sample(id="a", pieces=[word]), Sample(id="b", pieces=[word])])})
        {'text': (2, 4)}
    """

    def __init__(self) -> None:
        self.samples: defaultdict[str, int] = defaultdict(int)
        self.tokens: defaultdict[str, int] = defaultdict(int)
        self._seconds = 0.0  # of earlier parts of a resumed run
        self._validation_seconds = 0.0
        self._started_at: float | None = None
        self._validation_at: float | None = None
        self._logged = (0, 0.0)
        self._agreement: Agreement | None = None
        # What this rank has counted by member and the others do not know of yet.
        self._own: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._agreement = Agreement(trainer)
        self._started_at = time.perf_counter()
        self._logged = (self.n_tokens, self.training_seconds)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts."""
        for member, (samples, tokens) in count(batch).items():
            known = self._own[member]
            self._own[member] = known[0] + samples, known[1] + tokens
        if trainer._logger_connector.should_update_logs and not trainer.fit_loop._should_accumulate():
            self._log(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock of training."""
        self._validation_at = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts it again."""
        if self._validation_at is not None and self._started_at is not None:
            self._validation_seconds += time.perf_counter() - self._validation_at
        self._validation_at = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops both clocks."""
        self._settle()
        self._seconds, self._started_at = self.seconds, None

    @property
    def n_tokens(self) -> int:
        """Tokens learned from so far, all members and ranks together."""
        return sum(self.tokens.values())

    @property
    def seconds(self) -> float:
        """Wall seconds of fit so far."""
        return self._seconds + (time.perf_counter() - self._started_at if self._started_at is not None else 0.0)

    @property
    def training_seconds(self) -> float:
        """Wall seconds of fit so far that were not spent in validation."""
        return self.seconds - self._validation_seconds

    def results(self) -> dict[str, float]:
        """The numbers for `metrics.json`; of more than one member also each one's share of the tokens."""
        found: dict[str, float] = {
            "train/seconds": self.seconds,
            "train/tokens": self.n_tokens,
            "train/samples": sum(self.samples.values()),
            "train/tokens_per_second": self.n_tokens / self.training_seconds if self.training_seconds > 0 else 0.0,
        }
        if len(self.tokens) > 1:
            for member, tokens in self.tokens.items():
                found[f"{member}/train/tokens"] = tokens
                found[f"{member}/train/samples"] = self.samples[member]
                found[f"{member}/train/token_share"] = tokens / max(self.n_tokens, 1)
        return found

    def state_dict(self) -> dict[str, Any]:
        """The counts and clocks; all ranks are asked together, as for a checkpoint."""
        self._settle()
        return {
            "samples": dict(self.samples),
            "tokens": dict(self.tokens),
            "seconds": self.seconds,
            "validation_seconds": self._validation_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The opposite."""
        self.samples = defaultdict(int, state_dict["samples"])
        self.tokens = defaultdict(int, state_dict["tokens"])
        self._seconds = state_dict["seconds"]
        self._validation_seconds = state_dict["validation_seconds"]

    def _settle(self) -> None:
        """Adds up what all ranks have counted since the last time."""
        mine = dict(self._own)
        told: list[Any] = [mine] if self._agreement is None else self._agreement.gather_read(mine)
        for own in told:
            for member, (samples, tokens) in own.items():
                self.samples[member] += samples
                self.tokens[member] += tokens
        self._own.clear()

    def _log(self, trainer: Trainer) -> None:
        self._settle()
        assert self._agreement is not None
        peak: int = max(self._agreement.gather(peak_memory(trainer)))  # pyright: ignore[reportAssignmentType, reportArgumentType]
        tokens, seconds = self._logged
        self._logged = (self.n_tokens, self.training_seconds)
        if self._logged[1] > seconds:
            rate = (self._logged[0] - tokens) / (self._logged[1] - seconds)
            memory = peak / 2**30
            told = {"train/tokens_per_second": rate} | ({"train/memory_gib": memory} if memory else {})
            for logger in trainer.loggers:
                logger.log_metrics(told, step=trainer.global_step - 1)


def count(batch: Any) -> dict[str, tuple[int, int]]:
    """Samples and tokens of each member of a training batch.

    Raises:
        TypeError: the batch is not a mapping from member names to `Batch`.
    """
    if not isinstance(batch, Mapping) or not all(isinstance(part, Batch) for part in batch.values()):
        raise TypeError(f"a training batch is a dict of member name -> Batch; received {type(batch).__name__}")
    return {member: (len(part), part.n_tokens) for member, part in batch.items()}
