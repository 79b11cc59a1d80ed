"""Time series of several variables to patches, with gaps marked and scales taken away."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from omniformer_tokenizers._checks import at_least, one_of
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens


class SeriesTokenizer(Tokenizer):
    """Cuts each variable of a time series into patches of time steps, one token each (PatchTST, Nie et al. 2023).

    Missing values are NaN in the raw series; a token holds its `patch_length` values, zero where missing, and then
    `patch_length` marks, 1 where present. The last patch is filled up with missing values.

    Args:
        patch_length: time steps of a patch.
        scaling: `instance` gives each variable of each series mean 0 and deviation 1 over what is present (RevIN, Kim
            et al. 2022); `none` keeps the numbers.

    Raises:
        ValueError: `patch_length` is not positive.

    Example:
        >>> import torch
        >>> series = torch.tensor([[1.0, 2.0, float("nan")], [10.0, 20.0, 30.0]])
        >>> tokens = SeriesTokenizer(patch_length=2, scaling="none")(series)
        >>> tokens.values.tolist()[1], tokens.positions.tolist()
        ([0.0, 0.0, 0.0, 0.0], [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    """

    modality = "series"

    def __init__(self, *, patch_length: Count = 16, scaling: Literal["instance", "none"] = "instance") -> None:
        at_least(1, patch_length=patch_length)
        one_of(("instance", "none"), scaling=scaling)
        self.patch_length = patch_length
        self.scaling = scaling

    @property
    def facts(self) -> Mapping[str, Any]:
        """`features`: values and marks of a patch; and the number of position `axes`: time and variable."""
        return {"features": 2 * self.patch_length, "axes": 2}

    def __call__(self, raw: Tensor) -> Tokens:
        """The patches of a series, variable by variable.

        Raises:
            TypeError: not a tensor.
            ValueError: another shape, not floats, or infinite.

        Shapes:
            raw float `[variables, time]`; values float32 `[tokens, 2 * patch_length]`, positions `[tokens, 2]` (patch,
            variable), facts `size` int64 `[2]` (variables, time); the feature `scale` float32 `[tokens, 2]` is the
            mean and deviation of the token's variable.
        """
        if not isinstance(raw, Tensor):
            raise TypeError(f"received {type(raw).__name__}; expected a tensor [variables, time]")
        if raw.ndim != 2 or not raw.is_floating_point():
            raise ValueError(f"received {raw.dtype} {list(raw.shape)}; expected floats [variables, time]")
        if torch.isinf(raw).any():
            raise ValueError("the series holds infinite numbers; mark missing values with NaN")
        variables, time = raw.shape
        present = ~raw.isnan()
        series = raw.nan_to_num(0.0).float()
        mean, deviation = self._scale(series, present)
        series = torch.where(present, (series - mean) / deviation, 0.0)
        marked = functional.pad(torch.stack([series, present.float()]), (0, -time % self.patch_length))
        values = rearrange(marked, "kind v (n p) -> v n (kind p)", p=self.patch_length)
        cells = torch.cartesian_prod(torch.arange(float(variables)), torch.arange(float(values.shape[1])))
        scale = torch.cat([mean, deviation], dim=1).repeat_interleave(values.shape[1], dim=0)
        return Tokens(
            values=values.flatten(0, 1).contiguous(),
            positions=cells.reshape(-1, 2).flip(1),
            features={"scale": scale},
            facts={"size": torch.tensor([variables, time])},
            modality=self.modality,
        )

    def decode(self, tokens: Tokens) -> Tensor:
        """The series back, missing values as NaN; exact but for the rounding of the scaling (relative 1e-6).

        Shapes:
            float32 `[variables, time]`.
        """
        variables, time = tokens.facts["size"].tolist()
        values, present = tokens.values.split(self.patch_length, dim=1)
        values = values * tokens.features["scale"][:, 1:] + tokens.features["scale"][:, :1]
        values = torch.where(present > 0.5, values, float("nan"))
        return values.reshape(variables, -(-time // self.patch_length) * self.patch_length)[:, :time]

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"patch_length": self.patch_length, "scaling": self.scaling}

    def _scale(self, series: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each variable over what is present; `[variables, 1]` each."""
        if self.scaling == "none":
            return torch.zeros(len(series), 1), torch.ones(len(series), 1)
        # Double precision, since the squares of large numbers far from 0 cancel.
        count = present.sum(1, keepdim=True).clamp(min=1)
        mean = torch.where(present, series.double(), 0.0).sum(1, keepdim=True) / count
        squares = torch.where(present, (series.double() - mean).square(), 0.0).sum(1, keepdim=True)
        deviation = (squares / count).sqrt()
        # A constant variable keeps its size: dividing by rounding noise would blow it up.
        deviation = torch.where(deviation > 1e-6 * mean.abs().clamp(min=1e-6), deviation, 1.0)
        return mean.float(), deviation.float()
