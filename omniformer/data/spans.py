"""Which tokens of a sequence are hidden: single ones, or runs of them, drawn at random."""

from itertools import pairwise

import torch
from torch import Tensor


def random_mask(n_tokens: int, *, share: float, mean_span: int, generator: torch.Generator) -> Tensor:
    """True for tokens that are hidden: `share` of them, rounded, and at least one where there are any.

    Args:
        n_tokens: length of the sequence.
        share: how many of the tokens are hidden.
        mean_span: with 1, every set of tokens is equally likely
            ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805)); above, tokens are hidden in `random_spans`.
        generator: where the randomness comes from.

    Shapes:
        bool `[tokens]`.

    Example:
        >>> int(random_mask(20, share=0.15, mean_span=1, generator=torch.Generator().manual_seed(0)).sum())
        3
    """
    mask = torch.zeros(n_tokens, dtype=torch.bool)
    if mean_span == 1:
        mask[torch.randperm(n_tokens, generator=generator)[: _hidden(n_tokens, share)]] = True
        return mask
    for begin, end in random_spans(n_tokens, share=share, mean_span=mean_span, generator=generator):
        mask[begin:end] = True
    return mask


def random_spans(n_tokens: int, *, share: float, mean_span: int, generator: torch.Generator) -> list[tuple[int, int]]:
    """Runs of tokens that are hidden, from `begin` to before `end`, with at least one token between two of them
    ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683), 3.1.4).

    `share` of the tokens are hidden, rounded, and at least one where there are any; so many runs are made of them that
    they have `mean_span` tokens on average. How hidden tokens are shared among runs, and the others among the gaps, is
    equally likely in every way; a run may stand at either end of the sequence.

    Args:
        n_tokens: length of the sequence.
        share: how many of the tokens are hidden.
        mean_span: tokens of a run on average.
        generator: where the randomness comes from.

    Example:
        >>> random_spans(4, share=1.0, mean_span=3, generator=torch.Generator())
        [(0, 4)]
    """
    hidden = _hidden(n_tokens, share)
    if not hidden:
        return []
    seen = n_tokens - hidden
    n_spans = n_random_spans(n_tokens, share=share, mean_span=mean_span)
    lengths = _parts(hidden, n_spans, generator)
    # Gaps before the first run and behind the last may be empty: one token more in each while drawing allows it.
    gaps = _parts(seen + 2, n_spans + 1, generator)
    gaps[0], gaps[-1] = gaps[0] - 1, gaps[-1] - 1
    spans, place = [], 0
    for gap, length in zip(gaps, lengths, strict=False):
        spans.append((place + gap, place + gap + length))
        place += gap + length
    return spans


def n_random_spans(n_tokens: int, *, share: float, mean_span: int) -> int:
    """How many runs `random_spans` makes.

    Example:
        >>> n_random_spans(512, share=0.15, mean_span=3)
        26
    """
    hidden = _hidden(n_tokens, share)
    return min(max(1, round(hidden / mean_span)), n_tokens - hidden + 1) if hidden else 0


def check(*, share: float, mean_span: int) -> None:
    """Refuses shares and lengths that mean nothing.

    Raises:
        ValueError: `share` is not in (0, 1], or `mean_span` is below 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share} must be above 0 and at most 1: the part of the tokens that is hidden")
    if mean_span < 1:
        raise ValueError(f"mean_span={mean_span} must be at least 1 token")


def _hidden(n_tokens: int, share: float) -> int:
    return min(n_tokens, max(1, round(share * n_tokens)))


def _parts(total: int, n_parts: int, generator: torch.Generator) -> list[int]:
    """`total` as the sum of `n_parts` numbers of at least one, every way equally likely."""
    cuts = torch.randperm(total - 1, generator=generator)[: n_parts - 1].sort().values + 1
    edges = [0, *cuts.tolist(), total]
    return [after - before for before, after in pairwise(edges)]
