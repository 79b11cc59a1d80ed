"""Accelerometers for OmniFormer: a tokenizer that also reads their files, and movements made in code."""

from collections.abc import Mapping, Sequence
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor

from omniformer.data import Raw, Source
from omniformer.data.source import Split


class AccelerationTokenizer(Tokenizer):
    """Cuts a recording into windows, a token each: the readings of its three axes in g, one after the other.

    Args:
        window: readings of a window; 25 are half a second of the usual 50 Hz. What is left at the end is zero.
    """

    modality = "acceleration"
    suffixes = (".acc",)  # text, a line a reading: three numbers between commas

    def __init__(self, *, window: int = 25) -> None:
        self.window = window

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"features": 3 * self.window, "axes": 1}

    def __call__(self, raw: Tensor | Path) -> Tokens:
        readings = torch.from_numpy(np.loadtxt(raw, delimiter=",", ndmin=2)) if isinstance(raw, Path) else raw
        if readings.ndim != 2 or readings.shape[1] != 3:
            raise ValueError(f"received readings {list(readings.shape)}; accepted: [readings, 3], the axes x, y, z")
        whole = torch.nn.functional.pad(readings.float(), (0, 0, 0, -len(readings) % self.window))
        values = whole.reshape(-1, 3 * self.window)
        return Tokens(values=values, positions=torch.arange(float(len(values)))[:, None], modality=self.modality)

    def config(self) -> dict[str, Any]:
        return {"window": self.window}


class Movements(Source):
    """Somebody who sits, walks or jumps for four seconds, with a sensor in the pocket that lies as it likes.

    Args:
        n_train: recordings to learn from.
    """

    modalities = ("acceleration",)
    labels = ("sits", "walks", "jumps")

    def __init__(self, *, n_train: int = 300) -> None:
        self.n_train = n_train

    def split(self, name: Split) -> Sequence[Raw]:
        n = self.n_train if name == "train" else 60
        return [self._recording(name, i) for i in range(n)]

    def _recording(self, name: Split, i: int) -> Raw:
        noise = np.random.default_rng([("train", "val", "test").index(name), i])
        label = i % 3
        strength, pace = noise.uniform(*((0, 0.05), (0.2, 0.5), (0.6, 1.5))[label]), noise.uniform(1.5, 2.5)
        seconds = np.arange(200) / 50
        up = 1 + strength * np.sin(2 * pi * (pace * seconds + noise.random()))
        turned, _ = np.linalg.qr(noise.normal(size=(3, 3)))  # how the sensor lies
        readings = up[:, None] * turned[0] + noise.normal(0, 0.1, (200, 3))
        return Raw(
            id=f"movements/{name}/{i}",
            contents={"acceleration": torch.from_numpy(readings)},
            targets={"label": torch.tensor(label)},
        )
