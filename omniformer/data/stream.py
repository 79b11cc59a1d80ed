"""One data set of a run and how it is fed: what a file of `conf/data` describes."""

import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal, overload

from annotated_types import Ge
from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer

from omniformer.core import checks
from omniformer.core.ranges import BelowOne, Count, Natural, Positive, Share, SomeShare
from omniformer.data.augment.augmentation import Augment, Augmentation
from omniformer.data.changed import Changed
from omniformer.data.corruption import Corruption
from omniformer.data.each_raw import EachRaw
from omniformer.data.folds import Folds
from omniformer.data.mixing import MixedSamples, Mixing
from omniformer.data.passing import Passing
from omniformer.data.plan import Limits
from omniformer.data.read_once import ReadOnce
from omniformer.data.samples import Arrangement, Samples, check_bad
from omniformer.data.source import SPLITS, Raw, Source, Split
from omniformer.data.splitting import share_of

_SINGLE = ("augment", "augment_tokens", "mix", "cache", "answer", "drop", "max_tokens")


class Stream:
    """A source, how its samples are arranged, augmented and batched, and how often it takes part in a mixture.

    A source without a length (`StreamedTable`) is passed in its order, shuffled within `window`. It has no stratified
    split, folds, share of training, balanced sampling, class weights, token budgets, arrangement, mixing or cache: all
    of these need to know the samples before they are read.

    Args:
        source: the data set.
        arrange: how raw samples become examples; None makes one of each. Language models take `Blocks`.
        augment: what varies a raw content at random, in training only: one for all modalities, or one by modality.
            Called with the content and a generator keyed by (seed, epoch, sample id).
        augment_tokens: the same for the tokens that the tokenizer makes, for example SpecAugment.
        mix: how training samples are mixed with others of the split, with their targets: `MixUp`, `CutMix`.
        answer: the modality that a model is to write, given the others: `text` for captions, `vision` for pictures.
            None leaves contents and answers as the source has them.
        given_as: other names for modalities of what is given, where there is an answer: `{text: source}` for a model
            that reads texts in another way than it writes them.
        drop: how likely each modality is left out of a training sample, so that a model learns to do without any of
            them; one always stays.
        batch_size: samples in a step, all ranks together; None leaves the limit to `tokens_per_batch`.
        tokens_per_batch: the most tokens in a step, all ranks together; a batch ends at whichever limit comes first.
        max_tokens: the longest text: of a longer one the end is left out, but for special tokens that close it. None
            leaves texts whole, unless the run begins from a model that can read only so many.
        fold: which of `folds` validates, from 0, while the others train: the training and validation samples of the
            source together are divided by the hashes of their ids, each class alike; its test split stays. None takes
            the splits as the source has them.
        folds: how many folds there are.
        sampling: `all` passes each training sample once an epoch; `balanced` draws as many, of each class equally often
            (its target `label`): some of a frequent class, those of a rare one several times, others in each epoch.
        window: shuffles training samples within windows of so many neighbours, whose order is random too: for tables
            larger than memory, of which groups of rows are read together. None shuffles all of them together.
        train_share: the share of the training samples that is learned from, the same whatever the seed, of each class
            alike: what a model makes of few labels. Validation and test stay whole.
        weight: the share of a mixture's steps in which this data set takes part, above 0 and at most 1.
        cache: keep tokens in memory once made, for sets that fit. Where `augment` changes pictures in every epoch,
            those of training are kept instead, decoded and in the size to which the tokenizer brings them, and are
            changed in that size.
        num_workers: processes that make batches; 0 makes them in the main process.
        worker_timeout: seconds to wait for a worker before the run fails; never endless.
        on_error: what to do with a sample that cannot be read: `raise` stops and names it; `skip` counts it and puts
            another sample in its place in training; with `tokens_per_batch`, and in evaluation, it is left out. Broken
            lines of the source's tables are left out too, with a warning that names them.
        max_bad_fraction: with `skip`, the share of the samples of all splits together above which bad ones of a split
            stop the run all the same; one alone never stops it, unless this is 0.
        max_empty_fraction: the share of samples without a token above which the run stops; fewer are warned of by
            name. 1 lets all but a whole data set pass.

    Raises:
        ValueError: a number is out of its range, or an argument would have no effect beside another.

    Example:
        >>> from omniformer.data.sets.digits import Digits
        >>> Stream(source=Digits(), batch_size=32).limits.batch_size
        32
    """

    def __init__(
        self,
        *,
        source: Source,
        arrange: Arrangement | None = None,
        augment: Augment | dict[str, Augment] | None = None,
        augment_tokens: Augment | dict[str, Augment] | None = None,
        mix: Mixing | None = None,
        answer: str | None = None,
        given_as: dict[str, str] | None = None,
        drop: BelowOne = 0.0,
        batch_size: Count | None = 64,
        tokens_per_batch: Count | None = None,
        max_tokens: Count | None = None,
        fold: Natural | None = None,
        folds: Annotated[int, Ge(2)] = 10,
        sampling: Literal["all", "balanced"] = "all",
        window: Count | None = None,
        train_share: SomeShare = 1.0,
        weight: SomeShare = 1.0,
        cache: bool = False,
        num_workers: Natural = 0,
        worker_timeout: Positive = 300.0,
        on_error: Literal["raise", "skip"] = "raise",
        max_bad_fraction: Share = 0.001,
        max_empty_fraction: Share = 0.05,
    ) -> None:
        checks.some_share(weight=weight, train_share=train_share)
        checks.share(max_bad_fraction=max_bad_fraction, max_empty_fraction=max_empty_fraction)
        checks.below_one(drop=drop)
        checks.counts(max_tokens=max_tokens, window=window)
        checks.not_negative(num_workers=num_workers)
        checks.positive(worker_timeout=worker_timeout)
        checks.known(("all", "balanced"), sampling=sampling)
        checks.known(("raise", "skip"), on_error=on_error)
        if folds < 2 or not 0 <= (fold or 0) < folds:
            raise ValueError(f"fold={fold} must be one of 0 to {folds - 1}, of at least two folds={folds}, or null")
        asked = {"sampling": sampling == "balanced", "fold": fold is not None, "train_share": train_share < 1}
        asked |= {"tokens_per_batch": tokens_per_batch is not None, "mix": mix is not None, "cache": cache}
        asked |= {"arrange": arrange is not None}
        if source.passes is not None:
            _check_passing(asked, window)
        asked |= {"window": window is not None, "augment": augment is not None, "answer": answer is not None}
        asked |= {"augment_tokens": augment_tokens is not None, "drop": drop > 0, "max_tokens": max_tokens is not None}
        _check_together({key for key, is_set in asked.items() if is_set})
        self.source = source
        self.source.on_error, self.source.window = on_error, window
        self.arrange = arrange
        if arrange is not None:
            arrange.on_error, arrange.max_bad_fraction = on_error, max_bad_fraction
        self.augment = augment
        self.augment_tokens = augment_tokens
        self.mix = mix
        self.answer = answer
        self.given_as = dict(given_as or {})
        self.corruption: Corruption | None = None  # of what is measured, never of what is learned from
        self.drop = drop
        self.limits = Limits(batch_size=batch_size, tokens_per_batch=tokens_per_batch)
        self.max_tokens = max_tokens
        self.fold = fold
        self.folds = folds
        self.sampling = sampling
        self.window = window
        self.train_share = train_share
        self.weight = weight
        self.cache = cache
        self.num_workers = num_workers
        self.worker_timeout = worker_timeout
        self.on_error = on_error
        self.max_bad_fraction = max_bad_fraction
        self.max_empty_fraction = max_empty_fraction
        self._folds: Folds | None = None
        self._checked = set[str]()  # splits of which the first sample was looked at
        self._chosen: list[int] | None = None
        self._told = False

    @property
    def counts_bytes(self) -> bool:
        """Whether samples have the target `bytes`, by which texts of any vocabulary compare."""
        return self.arrange is not None and self.arrange.counts_bytes

    def raws(self, split: Split) -> Sequence[Raw]:
        """The raw samples of one split that take part; `train_share` looks at each once, for its id and label."""
        raws = self._divided(split)
        self._tell_broken()
        if self.given_as:
            raws = Changed(raws, partial(_renamed, names=self.given_as, answer=self.answer))
        if split != "train" or self.train_share == 1:
            return raws
        if self._chosen is None:
            named = [(raw.id, raw.targets.get("label")) for raw in raws]
            strata = [None if label is None else int(label) for _, label in named]
            self._chosen = share_of([key for key, _ in named], self.train_share, strata=strata)
        return _Some(raws, self._chosen)

    def classes(self, name: str) -> list[int]:
        """The class of each training sample, by which it is drawn.

        Args:
            name: the name of the data set in this run, for messages.

        Raises:
            ValueError: a sample has no class.
        """
        found = []
        for raw in self.raws("train"):
            if "label" not in raw.targets:
                raise ValueError(
                    f"{name}: sampling=balanced draws samples by their target label, and sample {raw.id!r} has "
                    f"{', '.join(raw.targets) or 'no targets'}; leave it out, or weigh the loss (task.pos_weight)"
                )
            found.append(int(raw.targets["label"]))
        return found

    def _divided(self, split: Split) -> Sequence[Raw]:
        """The samples of a split as the source has them, or as its folds do."""
        if self.fold is None or split == "test":
            found = self.source.split(split)
            if split not in self._checked:
                _check_split(found, self.source, split)
                self._checked.add(split)
            return found
        if self._folds is None:
            self._folds = Folds(self.source, fold=self.fold, folds=self.folds)
            sizes = {name: len(self.source.split(name)) for name in SPLITS}
            rank_zero_info(
                f"{self.source.name}: fold {self.fold} of {self.folds} validates with "
                f"{len(self._folds.split('val'))} of {sizes['train']} training and {sizes['val']} validation samples, "
                f"{len(self._folds.split('train'))} train; the {sizes['test']} of test stay"
            )
        return self._folds.split(split)

    @property
    def n_samples(self) -> int:
        """Samples of all splits together, as the source has them."""
        return sum(len(self.source.split(name)) for name in SPLITS)

    def _tell_broken(self) -> None:
        """Warns once of lines that the source passed over, and refuses too many of them."""
        broken = self.source.broken
        if self._told or not broken:
            return
        self._told = True
        n_samples = len(broken) + self.n_samples
        check_bad(broken, n_samples, self.max_bad_fraction, self.source.name)
        shown = "; ".join(broken[:8]) + ("; ..." if len(broken) > 8 else "")
        warnings.warn(f"{self.source.name}: {len(broken)} of {n_samples} lines were skipped: {shown}", stacklevel=3)

    def samples(self, split: Split, tokenizers: Mapping[str, Tokenizer], *, name: str, seed: int) -> Samples:
        """The examples of one split.

        Args:
            split: which; only `train` is augmented.
            tokenizers: fitted, by modality.
            name: the name of the data set in this run, for messages and randomness.
            seed: the seed of the run.
        """
        raws = self.raws(split)
        train = split == "train"
        if self.corruption is not None and not train:
            raws = self.corruption(raws, tokenizers)
        if self.arrange is not None:
            return self.arrange(raws, tokenizers, name=name, seed=seed, split=split)
        n_classes = self.source.facts.get("n_classes")
        augment = _before(self.augment, tokenizers) if train else {}
        if self.cache and augment:
            raws = ReadOnce(raws, tokenizers, augment)
        samples = EachRaw(
            raws,
            tokenizers,
            name=name,
            seed=seed,
            augment=augment,
            augment_tokens=_by_modality(self.augment_tokens, tokenizers) if train else None,
            cache=self.cache,
            answer=self.answer,
            drop=self.drop if train else 0.0,
            n_classes=n_classes,
            max_tokens=self.max_tokens,
        )
        if train and self.source.passes is not None:
            return Passing(samples, self.source.passes, name)
        if self.mix is None or not train:
            return samples
        return MixedSamples(samples, self.mix, n_classes=n_classes, name=name, seed=seed)


def _check_passing(asked: Mapping[str, bool], window: int | None) -> None:
    """Refuses, of a source that passes by once, what needs to know its samples beforehand."""
    if wrong := [key for key, is_set in asked.items() if is_set]:
        raise ValueError(
            f"{', '.join(wrong)} asks for what is not known of a stream before it is read, which samples there are, of "
            "which class and length; leave it out, or read the table whole (data=table)"
        )
    if window is None:
        raise ValueError("a stream is shuffled within windows; give their size, data.window=1000, 1 for none")


def _check_together(asked: Set[str]) -> None:
    """Refuses options of which one would have no effect beside another."""
    if "sampling" in asked and "arrange" in asked:
        raise ValueError(
            "sampling=balanced draws samples by their class; with arrange, examples are made that have none"
        )
    if "sampling" in asked and "window" in asked:
        raise ValueError("window= shuffles in the place of a draw; leave it out with sampling=balanced")
    if "arrange" in asked and (idle := [key for key in _SINGLE if key in asked]):
        raise ValueError(f"{', '.join(idle)}: about single samples, with arrange they have no effect; leave them out")


def _renamed(raw: Raw, *, names: Mapping[str, str], answer: str | None) -> Raw:
    """A sample with other names for what is given."""
    # What the stream makes the answer keeps its name.
    kept = {answer} - set(raw.answer)
    contents, marks = (
        {name if name in kept else names.get(name, name): each for name, each in part.items()}
        for part in (raw.contents, raw.marks)
    )
    return replace(raw, contents=contents, marks=marks)


class _Some(Sequence[Raw]):
    """Some of the samples of a split, each read when it is asked for."""

    def __init__(self, raws: Sequence[Raw], chosen: list[int]) -> None:
        self.raws, self.chosen = raws, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> Raw: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Raw]": ...
    def __getitem__(self, index: int | slice) -> "Raw | list[Raw]":
        chosen = self.chosen[index]
        return self.raws[chosen] if isinstance(chosen, int) else [self.raws[i] for i in chosen]


def _by_modality(
    augment: Augment | dict[str, Augment] | None, tokenizers: Mapping[str, Tokenizer]
) -> dict[str, Augment]:
    if augment is None:
        return {}
    if not isinstance(augment, dict):
        return dict.fromkeys(tokenizers, augment)
    if unknown := augment.keys() - tokenizers.keys():
        raise ValueError(f"augment names {sorted(unknown)}; this data has the modalities {sorted(tokenizers)}")
    return augment


def _before(
    augment: Augment | dict[str, Augment] | None, tokenizers: Mapping[str, Tokenizer]
) -> dict[str, Augmentation]:
    parts = _by_modality(augment, tokenizers)
    return {modality: Augmentation.of(part).before(tokenizers[modality]) for modality, part in parts.items()}


def _check_split(found: Any, source: Source, split: Split) -> None:
    """Refuses what a source of the user's own gives in the place of samples, by what its first one is."""
    told = f"{source.name}: split({split!r}) gives"
    if not (hasattr(found, "__len__") and hasattr(found, "__getitem__")):
        raise ValueError(f"{told} {type(found).__name__}, expected a sequence of omniformer.data.Raw")
    try:
        first = found[0] if len(found) else None
    except (ValueError, OSError):  # of a sample that cannot be read training tells, or passes over it
        return
    if first is not None and not isinstance(first, Raw):
        raise ValueError(f"{told} samples of type {type(first).__name__}, expected omniformer.data.Raw")
