"""All simple methods, in the order in which they run, quick ones first; and what each reaches."""

import time
from collections.abc import Iterator

import torch

from omniformer.baselines.baseline import Baseline, Score, cut
from omniformer.baselines.graphs import GIN, BagOfNodes
from omniformer.baselines.nodes import GCN, NodeFeatures
from omniformer.baselines.pictures import NearestPicture, Pixels, SmallCNN
from omniformer.baselines.problem import Problem
from omniformer.baselines.sequences import AnyPlace, ByPlace, ByPrevious
from omniformer.baselines.series import Values
from omniformer.baselines.sounds import BandStatistics, LogMel
from omniformer.baselines.texts import Letters, Words
from omniformer.baselines.translation import WordByWord
from omniformer.baselines.trivial import Trivial

EVERY: tuple[type[Baseline], ...] = (
    *(Trivial, Words, Letters, WordByWord, Pixels, NearestPicture, SmallCNN),
    *(LogMel, BandStatistics, Values, BagOfNodes, GIN, NodeFeatures, GCN, AnyPlace, ByPlace, ByPrevious),
)


def run(problem: Problem, seed: int) -> Iterator[Score]:
    """Every method that fits, one after the other.

    Args:
        problem: the data and the task.
        seed: of methods that draw.
    """
    for kind in EVERY:
        method = kind()
        if not method.fits(problem):
            continue
        own = cut(problem, method.most, seed)
        begun = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            answers = method.answers(own)
        scores = {split: problem.scores(split, each) for split, each in answers.items()}
        seconds = time.perf_counter() - begun
        yield Score(name=method.name, seconds=seconds, samples=len(own.raws["train"]), scores=scores)
