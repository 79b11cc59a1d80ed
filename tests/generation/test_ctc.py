from itertools import groupby, product

import pytest
import torch

from omniformer.generation.ctc import best_path, prefix_beam


def spelled(path, blank) -> tuple[int, ...]:
    return tuple(i for i, _ in groupby(path) if i != blank)


def probabilities(n_frames, n_ids, seed) -> torch.Tensor:
    return torch.randn(n_frames, n_ids, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)


def most_probable(log_probs, blank) -> tuple[int, ...]:
    """The text with the largest sum over all paths, every path tried."""
    totals: dict[tuple[int, ...], float] = {}
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        p = float(torch.stack([frame[i] for frame, i in zip(log_probs, path, strict=True)]).sum().exp())
        text = spelled(path, blank)
        totals[text] = totals.get(text, 0.0) + p
    return max(totals, key=lambda text: totals[text])


@pytest.mark.parametrize("seed", range(8))
def test_the_best_path_takes_the_best_id_of_each_frame(seed):
    log_probs = probabilities(9, 4, seed)
    assert tuple(best_path(log_probs, 3)) == spelled(log_probs.argmax(1).tolist(), 3)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("blank", [0, 2])
def test_a_wide_beam_finds_the_most_probable_text(seed, blank):
    log_probs = probabilities(5, 3, seed)
    assert tuple(prefix_beam(log_probs, blank, beam=200)) == most_probable(log_probs, blank)


def test_equal_ids_need_a_blank_between_them():
    frames = torch.tensor([[0.98, 0.01, 0.01], [0.01, 0.01, 0.98], [0.98, 0.01, 0.01]]).log()
    assert best_path(frames, 2) == prefix_beam(frames, 2, beam=3) == [0, 0]
    assert best_path(frames[[0, 2]], 2) == prefix_beam(frames[[0, 2]], 2, beam=3) == [0]


@pytest.mark.parametrize("decode", [lambda x: best_path(x, 2), lambda x: prefix_beam(x, 2, 4)])
def test_no_frames_say_nothing(decode):
    assert decode(torch.zeros(0, 3)) == []


def test_an_empty_beam_is_refused():
    with pytest.raises(ValueError, match="beam=0 must be at least 1"):
        prefix_beam(torch.zeros(1, 3), 2, beam=0)
