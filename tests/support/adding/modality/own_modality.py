"""Clouds of points in space: a token a point."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer, Tokens
from torch import Tensor

from omniformer.data import Raw, Source
from omniformer.data.source import Split


class PointTokenizer(Tokenizer):
    """The points of a cloud, with how far each is from their middle.

    Args:
        scale: what the distances are divided by, in units of the coordinates.
    """

    modality = "points"

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"features": 4, "axes": 3}

    def __call__(self, raw: Tensor) -> Tokens:
        here = (raw - raw.mean(0)) / self.scale
        values = torch.cat([here, here.norm(dim=1, keepdim=True)], dim=1)
        return Tokens(values=values, positions=raw, modality=self.modality)

    def config(self) -> dict[str, Any]:
        return {"scale": self.scale}


class Shells(Source):
    """Points of a hollow ball, or of a solid one."""

    modalities = ("points",)
    labels = ("hollow", "solid")

    def split(self, name: Split) -> Sequence[Raw]:
        return [self._cloud(name, i) for i in range({"train": 64, "val": 16, "test": 16}[name])]

    def _cloud(self, name: Split, i: int) -> Raw:
        generator = torch.Generator().manual_seed(1000 * ("train", "val", "test").index(name) + i)
        points = torch.nn.functional.normalize(torch.randn(8 + i % 5, 3, generator=generator), dim=1)
        points = points * torch.rand(len(points), 1, generator=generator) if i % 2 else points
        return Raw(id=f"shells/{name}/{i}", contents={"points": points}, targets={"label": torch.tensor(i % 2)})
