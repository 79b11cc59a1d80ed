"""All data of a run as one LightningDataModule: a single data set is a mixture of one."""

import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer

from omniformer.data.balance import answer_counts, class_counts
from omniformer.data.deal import Work
from omniformer.data.kept import losses
from omniformer.data.loader import Evaluation, Feed
from omniformer.data.mixture import EvaluationLoader, MixtureLoader, RepeatedLoader, shares
from omniformer.data.samples import Samples
from omniformer.data.source import Raw, Split
from omniformer.data.step_loader import StepLoader
from omniformer.data.stream import Stream
from omniformer.data.units import units
from omniformer.parallel import readers
from omniformer.terminal.progress import counted


class OmniDataModule(LightningDataModule):
    """The data sets of a run, their tokenizers, and the loaders over them.

    Training steps and evaluation steps are both `dict[str, Batch]`, by the name of the data set: in training one batch
    of each set that is due, in evaluation exactly one batch. The order of samples depends on `seed` alone, not on the
    number of workers or ranks, and `trainer.fit(ckpt_path=...)` goes on in mid-epoch with the next batch.

    Args:
        streams: the data sets by name.
        tokenizers: by the name of the data set, then by modality. Those not fitted yet are fitted in `setup`, on the
            training split alone.
        seed: the seed of the run.
        steps_per_epoch: training steps in an epoch; None passes every data set once.
        mixture_temperature: how far the sizes of data sets decide how often each takes part; see `mixture.shares`.
        work: by the name of the data set, what a model computes for a sample of some length: asked for where ranks are
            to get equal work, which is where batches count tokens. Its tokens alone by default.

    Raises:
        ValueError: streams and tokenizers do not name the same data sets.

    Example:
        >>> from omniformer_tokenizers import PatchTokenizer
        >>> from omniformer.data import Digits
        >>> module = OmniDataModule(
        ...     streams={"vision": Stream(source=Digits(), batch_size=32)},
        ...     tokenizers={"vision": {"vision": PatchTokenizer(patch_size=2, channels=1)}},
        ...     seed=0,
        ... )
        >>> module.setup()
        >>> batch = next(iter(module.train_dataloader()))["vision"]
        >>> len(batch), batch.n_tokens
        (32, 512)
    """

    def __init__(
        self,
        *,
        streams: dict[str, Stream],
        tokenizers: dict[str, dict[str, Tokenizer]],
        seed: int,
        steps_per_epoch: int | None = None,
        mixture_temperature: float | None = None,
        work: Callable[[str], Work] = lambda name: Work(),
    ) -> None:
        super().__init__()
        if streams.keys() != tokenizers.keys():
            raise ValueError(
                f"streams are {sorted(streams)} but tokenizers are for {sorted(tokenizers)}; name the same"
            )
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch={steps_per_epoch} must be at least 1, or null for one pass of the data")
        self.streams = streams
        self.tokenizers = tokenizers
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        self.mixture_temperature = mixture_temperature
        self.work = work
        # Which rank this is of how many, until a trainer is there to say so.
        self.place: Callable[[], tuple[int, int]] = _by_environment
        self._told = False
        self._units: dict[str, dict[str, Any]] = {}
        self._samples: dict[tuple[str, Split], Samples] = {}
        self._loaders: dict[Split, MixtureLoader | EvaluationLoader] = {}
        self._told_bad: dict[str, list[str]] = {}  # those of `bad_samples` that were warned of

    def setup(self, stage: str | None = None) -> None:
        """Fits tokenizers that are not fitted yet, on the training split alone; a second call does nothing.

        Data sets whose tokenizers of a modality are described alike share one, fitted on the training splits of all of
        them: they share its embedder too, in whose table an id must mean one thing.

        Raises:
            ValueError: a data set gives a modality that has no tokenizer; told before data are read.
        """
        self.need_tokenizers()
        alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for name in self.streams:
            for modality, tokenizer in self.tokenizers[name].items():
                if not tokenizer.fitted:
                    alike[modality, type(tokenizer), repr(tokenizer.config())].append(name)
        for (modality, *_), names in alike.items():
            what = f"reading {modality} to fit {type(self.tokenizers[names[0]][modality]).__name__}"
            contents = counted(_contents(self.streams, names, modality), what)
            fitted = self.tokenizers[names[0]][modality].fit(contents)
            for name in names:
                self.tokenizers[name][modality] = fitted
        if not self._told:
            self._told = True
            self._tell_losses()

    def need_tokenizers(self) -> None:
        """Makes sure that a tokenizer reads what each data set gives; no data are read for it.

        Raises:
            ValueError: a modality has none; says what is given, what is read, and what to type.
        """
        for name, stream in self.streams.items():
            need_tokenizers(name, stream, self.tokenizers[name])

    def _tell_losses(self) -> None:
        """Says once what tokenizers lose of pictures, sounds and texts."""
        for name in self.streams:
            for modality, tokenizer in self.tokenizers[name].items():
                for loss in losses(_contents(self.streams, [name], modality), tokenizer):
                    rank_zero_info(f"{name}: of its {modality}, {loss}")

    def facts(self, name: str, modality: str | None = None) -> dict[str, Any]:
        """What a model must know of a data set: the facts of its source and of its tokenizer, and the units of the
        numbers that it is to predict, from the samples that are trained on.

        Args:
            name: the data set.
            modality: whose tokenizer; may be left out where there is only one.
        """
        tokenizers = self.tokenizers[name]
        if modality is None and len(tokenizers) == 1:
            modality = next(iter(tokenizers))
        if name not in self._units:
            self._units[name] = units(self.streams[name].raws("train"))
        facts = dict(self.streams[name].source.facts) | self._units[name]
        return facts | dict(tokenizers[modality].facts) if modality is not None else facts

    def labels(self, name: str) -> tuple[str, ...]:
        """The names of a data set's classes or yes-no questions; empty where it has none."""
        return self.streams[name].source.labels

    def class_counts(self, name: str) -> list[int]:
        """How many of the training samples of a data set, or of their tokens, are of each class."""
        return class_counts(self._counted(name), self.streams[name].source.facts["n_classes"])

    def answer_counts(self, name: str) -> list[tuple[int, int]]:
        """Of each yes-no question of a data set, how many training samples answer it with no and with yes."""
        return answer_counts(self._counted(name))

    def _counted(self, name: str) -> Sequence[Raw]:
        if self.streams[name].source.passes is not None:
            raise ValueError(
                f"{name}: how often each class comes is not known of a stream before it is read; leave the weights of "
                "classes out, or read the table whole (data=table)"
            )
        return self.streams[name].raws("train")

    def given(self, name: str) -> tuple[str, ...]:
        """The modalities that a model is given before it writes an answer, in the order in which it reads them; empty
        for a data set without answers.
        """
        stream = self.streams[name]
        first = next(iter(stream.raws("train")), None)
        if first is None or not (stream.answer or first.answer):
            return ()
        return tuple(modality for modality in first.contents if modality != stream.answer or modality in first.answer)

    def samples(self, name: str, split: Split) -> Samples:
        """The examples of one split of one data set; made once."""
        if (name, split) not in self._samples:
            self._samples[name, split] = self.streams[name].samples(
                split, self.tokenizers[name], name=name, seed=self.seed
            )
        return self._samples[name, split]

    def train_dataloader(self) -> StepLoader:
        """The training steps of this rank, micro-batch by micro-batch."""
        feeds = {
            name: Feed(self.samples(name, "train"), stream, name=name, seed=self.seed, **self._dealt(name))
            for name, stream in self.streams.items()
        }
        sizes = {name: feed.n_batches for name, feed in feeds.items()}
        wanted = {name: stream.weight for name, stream in self.streams.items()}
        weights = shares(sizes, wanted, self.mixture_temperature)
        loader = MixtureLoader(feeds, weights, steps_per_epoch=self.steps_per_epoch)
        self._loaders["train"] = loader
        if overfit := getattr(self.trainer, "overfit_batches", 0):
            kept = overfit if isinstance(overfit, int) else max(1, int(overfit * len(loader)))
            loader = RepeatedLoader(loader, kept)
        return StepLoader(loader, accumulate=self._accumulate, remaining=self._remaining)

    def val_dataloader(self) -> EvaluationLoader:
        """The validation steps of this rank; none where no data set has a validation split."""
        return self._evaluation("val")

    def test_dataloader(self) -> EvaluationLoader:
        """The test steps of this rank; none where no data set has a test split."""
        return self._evaluation("test")

    def predict_dataloader(self) -> EvaluationLoader:
        """The samples whose predictions are kept beside those of the test: the validation steps."""
        return self._evaluation("val")

    @property
    def bad_samples(self) -> dict[str, list[str]]:
        """By data set and split, the ids of samples that could not be read so far and were skipped."""
        return {
            f"{name}/{split}": ids
            for split, loader in self._loaders.items()
            for name, ids in loader.bad_samples.items()
        }

    def teardown(self, stage: str) -> None:
        """Warns of samples that were skipped, once: it is called after training and after each measuring."""
        for name, ids in self.bad_samples.items():
            if ids != self._told_bad.get(name):
                warnings.warn(  # from here: above is Lightning, as whose own it would be shown
                    f"{name}: {len(ids)} samples could not be read and were skipped: {', '.join(ids[:8])}", stacklevel=1
                )
            self._told_bad[name] = list(ids)

    def _evaluation(self, split: Split) -> EvaluationLoader:
        evaluations = {
            name: Evaluation(samples, stream, name=name, seed=self.seed, **self._dealt(name))
            for name, stream in self.streams.items()
            if stream.raws(split) and len(samples := self.samples(name, split))
        }
        self._loaders[split] = loader = EvaluationLoader(evaluations)
        return loader

    def _accumulate(self) -> int:
        return 1 if self.trainer is None else self.trainer.accumulate_grad_batches

    def _remaining(self) -> float:
        """Micro-batches that the trainer will still ask for in this epoch."""
        if self.trainer is None or not self.trainer.training:
            return float("inf")
        return self.trainer.num_training_batches - self.trainer.fit_loop.epoch_loop.batch_progress.current.ready

    def _dealt(self, name: str) -> dict[str, Any]:
        """How the steps of a data set are shared: which rank this is of how many, and what samples cost."""
        rank, world_size = self.place() if self.trainer is None else readers.place(self.trainer)
        counts = world_size > 1 and self.streams[name].limits.tokens_per_batch is not None
        return {"rank": rank, "world_size": world_size, "work": self.work(name) if counts else None}


def _by_environment() -> tuple[int, int]:
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def need_tokenizers(name: str, stream: Stream, tokenizers: Mapping[str, Tokenizer]) -> None:
    """Makes sure that a tokenizer reads what a data set gives.

    Args:
        name: the data set.
        stream: feeds it.
        tokenizers: by modality.

    Raises:
        ValueError: a modality has none; says what is given, what is read, and what to type.
    """
    lacking = [each for each in stream.source.modalities if not {each, stream.given_as.get(each)} & tokenizers.keys()]
    if lacking:
        read = ", ".join(f"{modality} ({type(tokenizer).__name__})" for modality, tokenizer in tokenizers.items())
        raise ValueError(
            f"{name}: data gives {lacking[0]} ({stream.source.name}), tokenizer reads {read}; choose tokenizer and "
            f"embedder of {lacking[0]}, as modality={lacking[0]} does, or other data"
        )


def _contents(streams: Mapping[str, Stream], names: Sequence[str], modality: str) -> Iterator[Any]:
    """The raw contents of a modality in the training splits of some data sets."""
    for name in names:
        for raw in streams[name].raws("train"):
            yield from (part[modality] for part in (raw.contents, raw.answer) if modality in part)
