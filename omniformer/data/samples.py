"""From raw samples to examples of tokens: what examples are, and who arranges them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

from omniformer_tokenizers import Tokenizer

from omniformer.batch import Sample
from omniformer.data.source import Raw, Split
from omniformer.terminal.progress import counted


class SampleError(ValueError):
    """A sample that cannot be read or tokenized; the message names the sample, its data set and the cause."""


def check_bad(bad: Sequence[str], n_samples: int, max_fraction: float, name: str) -> None:
    """Refuses too many samples that cannot be read: more than a share of them all, but one alone is never too many
    unless the share is 0.

    Args:
        bad: what names them in the message.
        n_samples: of all, bad and good.
        max_fraction: the share.
        name: of the data set.

    Raises:
        SampleError: there are more; counts them and names the first ones.
    """
    if len(bad) > max(max_fraction * n_samples, float(max_fraction > 0)):
        raise SampleError(
            f"{len(bad)} of {n_samples} samples of {name} cannot be read, more than max_bad_fraction={max_fraction}: "
            f"{', '.join(bad[:5])}; repair or remove them, or raise max_bad_fraction"
        )


class Samples(ABC):
    """The examples of one split, by epoch and index; pickles, so that data workers can have it."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples in every epoch."""

    @abstractmethod
    def __call__(self, epoch: int, index: int) -> Sample:
        """One example as epoch `epoch` sees it.

        Raises:
            SampleError: the raw sample cannot be read or tokenized.
        """

    def many(self, keys: Sequence[tuple[int, int]]) -> list[Sample]:
        """The examples of some (epoch, index), equal to one call each; a subclass may make them at once.

        Raises:
            SampleError: one of them cannot be made; names it.
        """
        return [self(epoch, index) for epoch, index in keys]

    @abstractmethod
    def id(self, index: int) -> str:
        """The id of an example, without making it."""

    def named(self, epoch: int, index: int) -> str:
        """How an example of an epoch is called where it cannot be read: by its id."""
        return self.id(index)

    replaceable = True
    """Whether another example may stand in the place of one that cannot be read."""

    def length(self, index: int) -> int:
        """Tokens of an example, answer included; makes it as epoch 0 sees it unless a subclass knows better."""
        return self(0, index).n_tokens

    def lengths(self, *, skip: bool = False) -> list[int]:
        """Tokens of each example, found out once and kept.

        Args:
            skip: count an example that cannot be read as 0 instead of raising its error.

        Raises:
            SampleError: an example cannot be read, and `skip` is false.
        """
        if self._lengths is None:
            places = counted(range(len(self)), "counting tokens for batches of a budget", len(self))
            self._lengths = [self._length(index, skip) for index in places]
        return self._lengths

    _lengths: list[int] | None = None

    def _length(self, index: int, skip: bool) -> int:
        try:
            return self.length(index)
        except SampleError:
            if not skip:
                raise
            return 0


class Arrangement(ABC):
    """How raw samples become examples, where it is not one for one; passed to `Stream` as `arrange`."""

    counts_bytes = False
    """Whether examples have the target `bytes`: how many bytes of text their tokens stand for."""
    on_error: Literal["raise", "skip"] = "raise"
    """Of the stream that it feeds: what to do with raw samples that cannot be read."""
    max_bad_fraction: float = 0.001
    """Of that stream."""

    @abstractmethod
    def __call__(
        self, raws: Sequence[Raw], tokenizers: Mapping[str, Tokenizer], *, name: str, seed: int, split: Split
    ) -> Samples:
        """The examples made from the raw samples of one split.

        Args:
            raws: the raw samples of the split.
            tokenizers: by modality.
            name: the name of the data set, for ids and messages.
            seed: the seed of the run.
            split: which; only examples of `train` may vary from epoch to epoch.
        """
