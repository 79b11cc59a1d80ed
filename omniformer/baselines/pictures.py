"""Pictures: linear on pixels, the nearest training picture, a small convolutional network."""

from collections.abc import Mapping
from statistics import median

import torch
from omniformer_tokenizers.vision.pixels import read_pixels, resized, unit_range
from torch import Tensor, nn

from omniformer.baselines.baseline import Baseline
from omniformer.baselines.dense import DenseLinear
from omniformer.baselines.nearest import nearest
from omniformer.baselines.problem import Answers, Problem
from omniformer.baselines.training import steps_for, trained
from omniformer.data.source import Split

_SMALL, _LARGE = 32, 64  # pixels of a side: for what compares single pixels, and for a network
_KINDS = ("label", "labels", "value")


def pixels(problem: Problem, split: Split, side: int) -> Tensor:
    """All pictures of a split, 0..1, in one size: their own where it is small, `[samples, channels, height, width]`."""
    channels = getattr(problem.tokenizers.get("vision"), "channels", 3)
    first = [unit_range(read_pixels(each, channels)) for each in problem.contents("train", "vision")[:64]]
    size = tuple(min(int(median(each.shape[axis] for each in first)), side) for axis in (1, 2))
    read = (unit_range(read_pixels(each, channels)) for each in problem.contents(split, "vision"))
    return torch.stack([each if each.shape[1:] == size else resized(each, size) for each in read])


class Pixels(DenseLinear):
    """Logistic or ridge regression on pixels."""

    name = "linear on pixels"
    most = 20_000

    def fits(self, problem: Problem) -> bool:
        return "vision" in problem.modalities and problem.kind in _KINDS

    def features(self, problem: Problem, split: Split) -> Tensor:
        return pixels(problem, split, _SMALL).flatten(1)


class NearestPicture(Baseline):
    """The class of the nearest training picture, or of the nearest five, by the distance of pixels."""

    name = "nearest neighbour"
    most = 20_000

    def fits(self, problem: Problem) -> bool:
        return "vision" in problem.modalities and problem.kind == "label"

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        rows: dict[Split, Tensor] = {split: pixels(problem, split, _SMALL).flatten(1) for split in problem.raws}
        return nearest(problem, rows, (1, 5))[0]


class SmallCNN(Baseline):
    """Four convolutions with batch norms, trained for 40 passes and at most 1,000 steps of 32 pictures."""

    name = "small CNN"
    most = 20_000

    def fits(self, problem: Problem) -> bool:
        return "vision" in problem.modalities and problem.kind in _KINDS

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        rows = {split: pixels(problem, split, _LARGE) for split in problem.raws}
        model = network(rows["train"].shape[1], problem.n_outputs)
        steps = steps_for(len(rows["train"]), passes=40, most=1_000)
        return trained(problem, model, lambda split, places: model(rows[split][places]), lr=2e-3, steps=steps)


def network(channels: int, outputs: int) -> nn.Module:
    """The network, for pictures of any size."""
    parts: list[nn.Module] = []
    for width, wider in ((channels, 32), (32, 32), (32, 64), (64, 64)):
        pool = nn.MaxPool2d(2, ceil_mode=True)
        parts += [nn.Conv2d(width, wider, 3, padding=1), nn.BatchNorm2d(wider), nn.ReLU(), pool]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, outputs))
