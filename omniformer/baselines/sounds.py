"""Sounds: support vector machines on a small log-mel picture, and on what bands are like over all of it."""

from collections.abc import Mapping

import numpy as np
import torch
from omniformer_tokenizers import SpectrogramTokenizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor
from torch.nn import functional as F

from omniformer.baselines.baseline import Baseline, evaluated
from omniformer.baselines.problem import Answers, Problem
from omniformer.data.source import Split

_BANDS, _MOMENTS = 32, 16
_COSTS = (1.0, 10.0, 100.0)


class LogMel(Baseline):
    """A support vector machine with a radial kernel on 32 bands at 16 moments, and on the spread of each band."""

    name = "SVM on log-mel"
    most = 10_000

    def fits(self, problem: Problem) -> bool:
        return "audio" in problem.modalities and problem.kind == "label"

    def answers(self, problem: Problem) -> Mapping[Split, Answers]:
        rows = {split: self.features(problem, split) for split in problem.raws}
        known, said = problem.targets("train").numpy(), []
        for cost in _COSTS if "val" in rows else (10.0,):
            model = make_pipeline(StandardScaler(), SVC(C=cost)).fit(rows["train"], known)
            said.append(
                {split: _one_hot(model.predict(rows[split]), problem.n_outputs) for split in evaluated(problem)}
            )
        return max(said, key=lambda each: problem.goodness("val", each["val"])) if "val" in rows else said[0]

    def features(self, problem: Problem, split: Split) -> np.ndarray:
        """Of each sample of a split, `[samples, features]`."""
        rate = int(getattr(problem.tokenizers.get("audio"), "sample_rate", 16_000))
        tokenizer = SpectrogramTokenizer(sample_rate=rate, n_mels=_BANDS, n_fft=rate // 31, hop_length=rate // 100)
        rows = [self.of_frames(tokenizer(raw).values) for raw in problem.contents(split, "audio")]
        return torch.stack(rows).numpy()

    def of_frames(self, frames: Tensor) -> Tensor:
        """What is told of a sound.

        Args:
            frames: `[frames, bands]`, in units of the sound's own spread.
        """
        moments = F.interpolate(frames.T[None], size=_MOMENTS, mode="linear", align_corners=False).flatten()
        return torch.cat([moments, frames.std(0, correction=0)])


class BandStatistics(LogMel):
    """The same on the mean, the spread and the largest value of each band, and on the spread of its steps from frame to
    frame: what is heard counts, and not when.
    """

    name = "SVM on statistics of log-mel"

    def of_frames(self, frames: Tensor) -> Tensor:
        steps = frames.diff(dim=0) if len(frames) > 1 else torch.zeros_like(frames)
        return torch.cat([frames.mean(0), frames.std(0, correction=0), frames.amax(0), steps.std(0, correction=0)])


def _one_hot(classes: np.ndarray, n_outputs: int) -> Tensor:
    return F.one_hot(torch.from_numpy(classes).long(), n_outputs).float()
