"""From scores of frames to the ids that they spell: connectionist temporal classification, backwards."""

import math

from torch import Tensor

_NEVER = -math.inf


def best_path(log_probs: Tensor, blank: int) -> list[int]:
    """The ids of the best frame-by-frame path: repeats count once, blanks not at all
    ([Graves et al. 2006](https://doi.org/10.1145/1143844.1143891), 3.2).

    Args:
        log_probs: of one sample; logits do as well.
        blank: the number of the blank.

    Shapes:
        log_probs `[tokens, ids + 1]`.

    Example:
        >>> import torch
        >>> best_path(torch.eye(3)[[0, 0, 2, 0, 1]], blank=2)
        [0, 0, 1]
    """
    if not len(log_probs):
        return []
    ids = log_probs.argmax(-1).unique_consecutive()
    return ids[ids != blank].tolist()


def prefix_beam(log_probs: Tensor, blank: int, beam: int) -> list[int]:
    """The most probable ids, all their paths added up, as a search over the `beam` best beginnings finds them
    ([Graves 2012](https://arxiv.org/abs/1211.3711), 2.5; in the form of
    [Hannun et al. 2014](https://arxiv.org/abs/1408.2873), algorithm 1).

    Args:
        log_probs: log-probabilities of one sample.
        blank: the number of the blank.
        beam: how many beginnings are kept after each frame; also how many ids of a frame are tried.

    Shapes:
        log_probs `[tokens, ids + 1]`.

    Raises:
        ValueError: `beam` is below 1.

    Example:
        >>> import torch
        >>> frame = torch.tensor([[0.0, 0.4, 0.6]]).log()  # nothing is best in each frame, yet 1 in either of two
        >>> best_path(frame.repeat(2, 1), blank=2), prefix_beam(frame.repeat(2, 1), blank=2, beam=4)
        ([], [1])
    """
    if beam < 1:
        raise ValueError(f"beam={beam} must be at least 1")
    # Of each beginning, the log-probability of its paths that end in a blank, and of those that end in its last id.
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, _NEVER)}
    for frame in log_probs.double().cpu():
        scores, ids = frame.topk(min(beam + 1, len(frame)))  # one more, since the blank is no id
        tried = [(i, p) for i, p in zip(ids.tolist(), scores.tolist(), strict=True) if i != blank]
        known, nothing = frame.tolist(), float(frame[blank])
        grown: dict[tuple[int, ...], tuple[float, float]] = {}

        def add(prefix: tuple[int, ...], in_blank: float, in_id: float, grown: dict = grown) -> None:
            before = grown.get(prefix, (_NEVER, _NEVER))
            grown[prefix] = _sum(before[0], in_blank), _sum(before[1], in_id)

        for prefix, (in_blank, in_id) in beams.items():
            whole = _sum(in_blank, in_id)
            add(prefix, whole + nothing, in_id + known[prefix[-1]] if prefix else _NEVER)
            for i, p in tried:
                # The same id again is a new one only where a blank stood between.
                add((*prefix, i), _NEVER, (in_blank if prefix and prefix[-1] == i else whole) + p)
        best = sorted(grown.items(), key=lambda item: _sum(*item[1]), reverse=True)
        beams = dict(best[:beam])
    return list(max(beams, key=lambda prefix: _sum(*beams[prefix])))


def _sum(a: float, b: float) -> float:
    """The logarithm of the sum of two numbers given as logarithms."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == _NEVER else high + math.log1p(math.exp(low - high))
