"""Time series as ids: a value, in parts of the series' mean size, falls into one of many bins of equal width."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from omniformer_tokenizers._checks import at_least
from omniformer_tokenizers.ranges import Count
from omniformer_tokenizers.tokenizer import Tokenizer
from omniformer_tokenizers.tokens import Tokens

_START, _STOP = 0, 1


class ScaledBinsTokenizer(Tokenizer):
    """One id for each time step of a series of one variable: its value, divided by the mean of all absolute values, in
    one of `n_bins` bins of equal width (Ansari et al. 2024, Chronos, 3.1); behind the last one a token that ends it. A
    series without a value has no token.

    Values that lie further out belong to the outermost bins. Steps before the first value (NaN) are left out.

    Args:
        n_bins: how many there are; 4093 as published.
        low: the centre of the lowest bin.
        high: the centre of the highest one.
        context: the last so many steps of a series are read; those before them are left out.
        horizon: steps that a model writes at once, for those who forecast with it.

    Raises:
        ValueError: a number is not positive, or `low` is not below `high`.

    Example:
        >>> import torch
        >>> tokenizer = ScaledBinsTokenizer(n_bins=5, low=-2.0, high=2.0)
        >>> tokens = tokenizer(torch.tensor([2.0, -2.0, 0.0, 4.0]))
        >>> tokens.values.tolist(), tokenizer.decode(tokens).tolist()
        ([6, 4, 5, 7, 1], [2.0, -2.0, 0.0, 4.0])
    """

    modality = "steps"

    def __init__(
        self,
        *,
        n_bins: Count = 4093,
        low: float = -15.0,
        high: float = 15.0,
        context: Count = 512,
        horizon: Count = 64,
    ) -> None:
        at_least(2, n_bins=n_bins)
        at_least(1, context=context, horizon=horizon)
        if not low < high:
            raise ValueError(f"low={low} must be below high={high}")
        self.n_bins, self.low, self.high = n_bins, low, high
        self.context, self.horizon = context, horizon

    @property
    def facts(self) -> Mapping[str, Any]:
        """`vocab_size`: bins, start, stop and an id that means nothing; and the number of position `axes`: time."""
        return {"vocab_size": _STOP + 2 + self.n_bins, "axes": 1}

    @property
    def start(self) -> int:
        """The id from which a model begins to write."""
        return _START

    @property
    def stop(self) -> int:
        """The id behind the last step."""
        return _STOP

    @property
    def centres(self) -> Tensor:
        """The values of the bins, in parts of a series' size; float32 `[n_bins]`."""
        return torch.linspace(self.low, self.high, self.n_bins)

    def __call__(self, raw: Tensor) -> Tokens:
        """The bins of a series.

        Raises:
            TypeError: not a tensor.
            ValueError: another shape, not floats, infinite, or without a value after the first one.

        Shapes:
            raw float `[time]`; values int64 `[at most context + 1]`, positions `[.., 1]` (time), fact `scale` float32
            `[1]`: by what the values were divided.
        """
        series = self._read(raw)
        size = series.abs().mean() if len(series) else torch.zeros(())
        scale = size if size > 0 else torch.ones(())  # zeros alone stay zeros
        centres = self.centres
        bins = torch.bucketize(series / scale, (centres[1:] + centres[:-1]) / 2, right=True)
        values = torch.cat([bins + _STOP + 2, torch.tensor([_STOP])])[: None if len(series) else 0]
        return Tokens(
            values=values,
            positions=torch.arange(float(len(values)))[:, None],
            facts={"scale": scale[None]},
            modality=self.modality,
        )

    def decode(self, tokens: Tokens) -> Tensor:
        """The centres of the bins, in the size that the fact `scale` says; float32 `[time]`.

        Raises:
            ValueError: the tokens have no scale, as those that a model wrote: `values` takes that of what it read.
        """
        if "scale" not in tokens.facts:
            raise ValueError("these tokens do not say the scale of their series; forecast with a Forecaster")
        return self.values(tokens.values[tokens.values != _STOP], tokens.facts["scale"])

    def values(self, ids: Tensor, scale: Tensor) -> Tensor:
        """What ids mean for a series of a size; ids that are no bins count as the lowest one, as published.

        Shapes:
            ids int64 `[..., time]`, scale float that broadcasts to it → float32 as ids.
        """
        return self.centres[(ids - _STOP - 2).clamp(0, self.n_bins - 1)] * scale

    def config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        sizes = {"n_bins": self.n_bins, "low": self.low, "high": self.high}
        return sizes | {"context": self.context, "horizon": self.horizon}

    def _read(self, raw: Any) -> Tensor:
        """The last steps of a series, without those before its first value."""
        if not isinstance(raw, Tensor):
            raise TypeError(f"received {type(raw).__name__}; expected a tensor [time]")
        if raw.ndim != 1 or not raw.is_floating_point():
            raise ValueError(f"received {raw.dtype} {list(raw.shape)}; expected floats [time]")
        series = raw.float()[-self.context :]
        present = (~series.isnan()).nonzero().flatten()
        series = series[int(present[0]) :] if len(present) else series[:0]
        if n := int(series.isnan().sum()):
            raise ValueError(f"{n} of {len(series)} steps after the first value are missing (NaN); fill them in first")
        if series.isinf().any():
            raise ValueError("the series holds infinite numbers, which have no bin")
        return series
