"""What an embedder reads of a token, said by the embedder."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from omniformer.core.ranges import Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What an embedder reads of each token, for programs that feed it tensors: its property `reads`.

    Args:
        ids: how many ids there are, where values are ids.
        numbers: how many numbers a value has, where values are vectors.
        position: reads their coordinates; None where the embedder reads none.
        features: the named features it reads, with how many numbers each may be or, of class tokens, how many there
            are.
        widths: of features that have several numbers a token, how many.
        grid: rows and columns in which tokens must lie, no two in one place; None where they may lie anywhere.
        max_tokens: of one sample; None where there is no end.

    Example:
        >>> from omniformer.embedders import IdEmbedder
        >>> IdEmbedder(d_model=8, vocab_size=10, segments=2).reads
        Reads(ids=10, numbers=None, position=None, features={'segment': 2}, widths={}, grid=None, max_tokens=None)
    """

    ids: int | None = None
    numbers: int | None = None
    position: nn.Module | None = None
    features: Mapping[str, int] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)
    grid: tuple[int, int] | None = None
    max_tokens: Count | None = None
