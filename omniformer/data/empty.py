"""Samples without a single token: legal, but never unnoticed."""

import warnings

from omniformer.batch import Batch
from omniformer.data.samples import SampleError


class Empty:
    """Counts the samples of a data set that have no token, and stops the run when they are too many.

    A few may be part of the data, such as a graph without nodes or an empty line; many are files that were not read as
    meant.

    Args:
        name: the name of the data set, for messages.
        n_samples: how many it has.
        max_fraction: the share of samples above which the run stops.
    """

    def __init__(self, name: str, n_samples: int, max_fraction: float) -> None:
        self.name = name
        self.n_samples = n_samples
        self.max_fraction = max_fraction
        self.ids: set[str] = set()

    def add(self, batch: Batch) -> None:
        """Notes the empty samples of a batch; the first ones are named in a warning.

        Raises:
            SampleError: more than `max_fraction` of the samples, or all of them, are empty; names the first ones.
        """
        new = {sample for sample, n in zip(batch.ids, _lengths(batch), strict=True) if not n} - self.ids
        if not new:
            return
        first = not self.ids
        self.ids |= new
        shown = f"{', '.join(sorted(self.ids)[:5])}{', ...' if len(self.ids) > 5 else ''}"
        if len(self.ids) > self.max_fraction * self.n_samples or len(self.ids) == self.n_samples:
            raise SampleError(
                f"{len(self.ids)} of {self.n_samples} samples of {self.name} have no tokens, more than "
                f"max_empty_fraction={self.max_fraction}: {shown}; repair or remove them, or raise the limit"
            )
        if first:
            warnings.warn(
                f"{self.name}: {len(new)} sample(s) without a token so far, of {self.n_samples}: {shown}; they teach "
                f"nothing, and above max_empty_fraction={self.max_fraction} the run stops",
                stacklevel=2,
            )


def _lengths(batch: Batch) -> list[int]:
    """Tokens of each sample, given and to be written."""
    lengths = batch.lengths if batch.answer is None else batch.lengths + batch.answer.lengths
    return lengths.tolist()
