"""Coordinates of tokens as vectors to add to the tokens."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.frequencies import Frequencies
from omniformer.core.init import linear_
from omniformer.core.ranges import Count, Natural, NotNegative, Positive


class Position(nn.Module, ABC):
    """Turns coordinates into vectors that an embedder adds to its tokens.

    A subclass implements `encode`.

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.

    Raises:
        ValueError: at first use, the positions have another number of axes.
    """

    def __init__(self, *, d_model: Count, n_axes: Natural = 1) -> None:
        super().__init__()
        checks.counts(d_model=d_model)
        checks.not_negative(n_axes=n_axes)
        self.d_model, self.n_axes = d_model, n_axes

    def forward(self, positions: Tensor) -> Tensor:
        """The vectors to add.

        Shapes:
            `[tokens, axes]` → `[tokens, d_model]`.
        """
        if positions.shape[-1] != self.n_axes:
            raise ValueError(
                f"positions have {positions.shape[-1]} axes, {type(self).__name__} has n_axes={self.n_axes}; "
                f"build it with n_axes={positions.shape[-1]}, or use NoPositions for tokens without coordinates"
            )
        return self.encode(positions)

    @abstractmethod
    def encode(self, positions: Tensor) -> Tensor:
        """The vectors, once it is sure that the number of axes is right."""

    def drawn(self, n: int, generator: torch.Generator) -> Tensor:
        """Random coordinates that there are vectors for, to try a model with: small whole numbers.

        Shapes:
            `[n, axes]`.
        """
        return torch.randint(8, (n, self.n_axes), generator=generator).float()


class NoPositions(Position):
    """Adds nothing: for tokens in no order, or where rotary positions or biases say what is needed.

    Example:
        >>> NoPositions(d_model=2)(torch.ones(1, 1)).tolist()
        [[0.0, 0.0]]
    """

    def forward(self, positions: Tensor) -> Tensor:
        """Zeros for any positions, whatever their number of axes."""
        return self.encode(positions)

    def encode(self, positions: Tensor) -> Tensor:
        return torch.zeros(positions.shape[0], self.d_model, device=positions.device)


class Sinusoidal(Position):
    """Sines and cosines of geometrically spaced wavelengths ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762),
    3.5): `PE(pos, 2i) = sin(pos / base^(2i / d))` and `PE(pos, 2i + 1) = cos(...)`.

    With several axes each has its own share of the features, one beside the other; features left over stay zero.

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.
        base: the longest wavelength is about `2 pi base` positions; 10,000 as in the paper.

    Raises:
        ValueError: `d_model` has fewer than two features for each axis.

    Example:
        >>> Sinusoidal(d_model=4)(torch.zeros(1, 1)).tolist()
        [[0.0, 1.0, 0.0, 1.0]]
    """

    def __init__(self, *, d_model: Count, n_axes: Natural = 1, base: Positive = 10_000.0) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        self.frequency = _frequencies(d_model // n_axes, base, d_model, n_axes)

    def encode(self, positions: Tensor) -> Tensor:
        """Each axis in its own features."""
        waves = rearrange(_waves(positions, self.frequency()), "tokens axes features -> tokens (axes features)")
        return F.pad(waves, (0, self.d_model - waves.shape[-1]))


class SinusoidalHalves(Position):
    """Sines in the first half of the features, cosines in the second: how
    [Marian](https://arxiv.org/abs/1804.00344) and [Whisper](https://arxiv.org/abs/2212.04356) lay out the waves of
    [Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), 3.5.

    Angles are computed in double precision, so that they are right far from the origin too. With several axes each has
    its own share of the features, one beside the other; features left over stay zero.

    Args:
        d_model: width of the vectors; where it is odd there is one sine more.
        n_axes: number of coordinates of a token.
        base: the longest wavelength is about `2 pi base` positions; 10,000 as in the paper.
        to_base: whether the slowest wave has exactly that length, `base^(-i / (n - 1))` for wave i of n, as in Whisper
            and tensor2tensor. Else it stops one step short of it, `base^(-i / n)`, as in the paper and in Marian.
        first: the place of coordinate 0; 2 in M2M100, whose first places belong to padding.

    Raises:
        ValueError: `d_model` has fewer than two features for each axis; four where the slowest wave is fixed.

    Example:
        >>> SinusoidalHalves(d_model=4)(torch.zeros(1, 1)).tolist()
        [[0.0, 0.0, 1.0, 1.0]]
    """

    def __init__(
        self,
        *,
        d_model: Count,
        n_axes: Natural = 1,
        base: Positive = 10_000.0,
        to_base: bool = False,
        first: Natural = 0,
    ) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        checks.positive(base=base)
        checks.not_negative(first=first)
        least = 4 if to_base else 2
        if d_model // n_axes < least:
            raise ValueError(f"d_model={d_model} must have at least {least} features for each of n_axes={n_axes}")
        self.base, self.to_base, self.first = base, to_base, first

    def encode(self, positions: Tensor) -> Tensor:
        """Each axis in its own features."""
        width = self.d_model // self.n_axes
        wave = torch.arange((width + 1) // 2, dtype=torch.float64, device=positions.device)
        frequency = self.base ** -(wave / (width // 2 - 1) if self.to_base else 2 * wave / width)
        angles = (positions.double() + self.first)[..., None] * frequency
        waves = torch.cat([angles.sin(), angles.cos()[..., : width // 2]], dim=-1).float()
        waves = rearrange(waves, "tokens axes features -> tokens (axes features)")
        return F.pad(waves, (0, self.d_model - waves.shape[-1]))


class StoredSinusoidal(SinusoidalHalves):
    """Sines and cosines that a published file holds as a table: counted and saved like weights, but never trained.

    Whole coordinates below `size` read the table; all others, and those between two places, follow the formula, so that
    a sequence may be of any length.

    Args:
        d_model: width of the vectors.
        size: places of the table; 1,500 in Whisper, which are 30 seconds.
        n_axes: number of coordinates of a token, which must be 1.
        base: the longest wavelength is about `2 pi base` positions.
        to_base: whether the slowest wave has exactly that length, as in Whisper.

    Raises:
        ValueError: `size` is below 1, or there are several axes.

    Example:
        >>> position = StoredSinusoidal(d_model=4, size=3)
        >>> places = torch.tensor([[2.0], [5.0]])
        >>> bool((position(places) == SinusoidalHalves(d_model=4)(places)).all()), position.table.requires_grad
        (True, False)
    """

    no_weight_decay = ("table",)

    def __init__(
        self, *, d_model: Count, size: Count, n_axes: Natural = 1, base: Positive = 10_000.0, to_base: bool = False
    ) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes, base=base, to_base=to_base)
        if size < 1 or n_axes != 1:
            raise ValueError(f"size={size} and n_axes={n_axes}: a table has one axis and at least one place")
        self.size = size
        self.table = nn.Parameter(torch.empty(size, d_model), requires_grad=False)
        self.reset_parameters()

    def encode(self, positions: Tensor) -> Tensor:
        """The table's vectors, and those of the formula where it has none."""
        place = positions[:, 0]
        stored = (place >= 0) & (place < self.size) & (place == place.floor())
        read = self.table[torch.where(stored, place, 0).long()]
        if not torch.compiler.is_compiling() and place.device.type == "cpu" and bool(stored.all()):
            return read
        return torch.where(stored[:, None], read, super().encode(positions).to(read.dtype))

    def reset_parameters(self) -> None:
        """Writes the table anew, by the formula."""
        place = torch.arange(self.size, dtype=torch.float32, device=self.table.device)[:, None]
        with torch.no_grad():
            self.table.copy_(SinusoidalHalves.encode(self, place))


class SinusoidalSum(Position):
    """Sinusoidal positions of every axis over the full width, summed.

    Axis a counts in steps of its own, `1 / (a + 1)` of a position, so that (1, 2) and (2, 1) differ.

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.
        base: the longest wavelength is about `2 pi base` positions; 10,000 as in the paper.

    Raises:
        ValueError: `d_model` is below 2.

    Example:
        >>> SinusoidalSum(d_model=4, n_axes=2)(torch.zeros(1, 2)).tolist()
        [[0.0, 2.0, 0.0, 2.0]]
    """

    def __init__(self, *, d_model: Count, n_axes: Natural = 1, base: Positive = 10_000.0) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        self.frequency = _frequencies(d_model, base, d_model, 1)

    def encode(self, positions: Tensor) -> Tensor:
        steps = torch.arange(1, self.n_axes + 1, device=positions.device)
        waves = _waves(positions / steps, self.frequency()).sum(1)
        return F.pad(waves, (0, self.d_model - waves.shape[-1]))


class Fourier(Position):
    """Sines and cosines of random projections of the coordinates, mapped to the width
    ([Tancik et al. 2020](https://arxiv.org/abs/2006.10739)).

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.
        n_frequencies: random projections.
        scale: deviation of the frequencies, in turns for one unit of position. Large values tell near tokens apart,
            small ones make near tokens alike; it should be about one over the distance that matters.

    Example:
        >>> Fourier(d_model=8, n_axes=2)(torch.rand(5, 2)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self, *, d_model: Count, n_axes: Natural = 1, n_frequencies: int = 64, scale: NotNegative = 1.0
    ) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        # Drawn once and saved with the weights, which would mean nothing without them.
        checks.counts(n_frequencies=n_frequencies)
        checks.positive(scale=scale)
        self.register_buffer("frequency", torch.randn(n_axes, n_frequencies) * scale)
        self.frequency: Tensor
        self.map = nn.Linear(2 * n_frequencies, d_model)
        self.reset_parameters()

    def encode(self, positions: Tensor) -> Tensor:
        angles = 2 * math.pi * positions.float() @ self.frequency.float()
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return self.map(waves.to(self.map.weight.dtype))

    def reset_parameters(self) -> None:
        """Draws the map, so that the vectors' features have variance one; the frequencies stay."""
        linear_(self.map, (self.map.in_features / 2) ** -0.5)


class Projected(Position):
    """A learned linear map of another encoding.

    Concatenating an encoding p to features f before an embedder's linear map is the same thing: `W [f; p]` is
    `W_f f + W_p p`. So this is how positions are concatenated.

    Args:
        d_model: width of the vectors.
        n_axes: number of coordinates of a token.
        encoding: makes the encoding, called with `d_model=d_encoding` and `n_axes`.
        d_encoding: width of the encoding.

    Example:
        >>> Projected(d_model=8, n_axes=2, encoding=Fourier)(torch.rand(5, 2)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        n_axes: Natural = 1,
        encoding: Callable[..., nn.Module] = Sinusoidal,
        d_encoding: int = 64,
    ) -> None:
        super().__init__(d_model=d_model, n_axes=n_axes)
        checks.counts(d_encoding=d_encoding)
        self.encoding = encoding(d_model=d_encoding, n_axes=n_axes)
        self.map = nn.Linear(d_encoding, d_model, bias=False)
        self.reset_parameters()

    def encode(self, positions: Tensor) -> Tensor:
        return self.map(self.encoding(positions).to(self.map.weight.dtype))

    def reset_parameters(self) -> None:
        """Draws the map, so that it keeps the variance of the encoding."""
        linear_(self.map, self.map.in_features**-0.5)


class Learned(Position):
    """A learned vector for each place of a grid ([Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929), 3.1),
    read between the places by linear interpolation along each axis.

    Args:
        d_model: width of the vectors.
        sizes: places along each axis: [1024] for text of up to 1,024 tokens, [14, 14] for an image of 14 x 14 patches.
        n_axes: number of coordinates of a token; as many as `sizes` has by default.
        coordinates: "index" reads place i at coordinate i; "unit" stretches the grid over coordinates from 0 to 1, with
            place i at `(i + 1/2) / size`, so that one grid serves images of all sizes.
        first: the place of coordinate 0 along each axis; 2 in the tables that RoBERTa and BART published, whose first
            rows belong to padding.
        init_std: deviation of the vectors at the start; 0.02 as in BERT and ViT.

    Raises:
        ValueError: `sizes` is empty or has a number below 1, or disagrees with `n_axes`; at first use, a coordinate
            lies outside the grid.

    Example:
        >>> Learned(d_model=4, sizes=[8, 8])(torch.tensor([[0.0, 7.0]])).shape
        torch.Size([1, 4])
    """

    # Which of the parameters an optimizer must not decay.
    no_weight_decay = ("table",)

    def __init__(
        self,
        *,
        d_model: Count,
        sizes: Sequence[Count],
        n_axes: Natural | None = None,
        coordinates: Literal["index", "unit"] = "index",
        first: Natural = 0,
        init_std: Positive = 0.02,
    ) -> None:
        super().__init__(d_model=d_model, n_axes=len(sizes))
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes={list(sizes)} must hold at least one number, each at least 1")
        if n_axes not in (None, len(sizes)):
            raise ValueError(f"sizes={list(sizes)} are {len(sizes)} axes, and n_axes={n_axes}; they must agree")
        if coordinates not in ("index", "unit"):
            raise ValueError(f"coordinates={coordinates!r} is unknown; choose 'index' or 'unit'")
        if not 0 <= first < min(sizes) or (first and coordinates == "unit"):
            raise ValueError(f"first={first} must be a place of sizes={list(sizes)}, and 0 for coordinates='unit'")
        checks.positive(init_std=init_std)
        self.sizes, self.first, self.init_std = tuple(sizes), first, init_std
        self.coordinates: Literal["index", "unit"] = coordinates
        self.table = nn.Parameter(torch.empty(*sizes, d_model))
        self.reset_parameters()

    def encode(self, positions: Tensor) -> Tensor:
        size = torch.tensor(self.sizes, device=positions.device)
        place = positions.double() * size - 0.5 if self.coordinates == "unit" else positions.double() + self.first
        # An exported program cannot ask what it is given: whoever runs it reports a place that is no row of the table.
        asks = not torch.compiler.is_exporting()
        if asks:
            self._check(positions, place, size)
        if self.coordinates == "unit":
            # Half a place beyond the border, where these coordinates may fall, the border's vector holds.
            place = place.clamp(min=0).minimum(size - 1)
        if asks and place.device.type == "cpu" and bool((place == place.round()).all()):
            return self.table[tuple(place.long().unbind(-1))]
        return self._between(place)

    def _between(self, place: Tensor) -> Tensor:
        """Linear interpolation along every axis: the weighted sum over the corners of the cell."""
        share = (place - place.floor()).to(self.table.dtype)
        low, up = place.floor().long(), (share > 0).long()
        total = torch.zeros((), device=place.device)
        for corner in range(2**self.n_axes):
            raised = torch.tensor([corner >> axis & 1 for axis in range(self.n_axes)], device=place.device)
            weight = torch.where(raised.bool(), share, 1 - share).prod(-1, keepdim=True)
            total = total + weight * self.table[tuple((low + up * raised).unbind(-1))]
        return total

    def _check(self, positions: Tensor, place: Tensor, size: Tensor) -> None:
        slack = 0.5 if self.coordinates == "unit" else 0.0
        wrong = ((place < self.first - slack) | (place > size - 1 + slack)).any(-1)
        if place.device.type == "cuda":
            # To read the answer here would stop the host until the GPU is done; the GPU raises by itself.
            message = f"a position lies outside the learned grid of sizes {list(self.sizes)}"
            torch._assert_async(~wrong.any(), message)  # pyright: ignore[reportPrivateImportUsage]
        elif bool(wrong.any()):
            first = int(wrong.nonzero()[0])
            raise ValueError(
                f"position {positions[first].tolist()} of token {first} lies outside the learned grid of sizes "
                f"{list(self.sizes)} (coordinates={self.coordinates!r}); build it larger or use .resized(...)"
            )

    def drawn(self, n: int, generator: torch.Generator) -> Tensor:
        """Random places of the grid; anything between 0 and 1 where those are its coordinates."""
        share = torch.rand(n, self.n_axes, generator=generator)
        return share if self.coordinates == "unit" else (share * (torch.tensor(self.sizes) - self.first)).floor()

    def resized(self, *sizes: int, antialias: bool = False) -> "Learned":
        """The same positions for another grid, interpolated: bicubic in two dimensions, as ViT changes its resolution
        (3.2 there), linear in others.

        Args:
            *sizes: places along each axis.
            antialias: whether two dimensions are smoothed where they shrink, as in DINOv2 with registers; ViT does not.

        Raises:
            ValueError: the first rows are no places (`first`).

        Example:
            >>> Learned(d_model=4, sizes=[14, 14]).resized(16, 20).table.shape
            torch.Size([16, 20, 4])
        """
        if self.first:
            raise ValueError(
                f"first={self.first}: the first rows of this table are no places, so that it cannot stretch"
            )
        resized = Learned(d_model=self.d_model, sizes=sizes, coordinates=self.coordinates, init_std=self.init_std)
        mode = {1: "linear", 2: "bicubic", 3: "trilinear"}[self.n_axes]
        with torch.no_grad():
            grid = rearrange(self.table.float(), "... d_model -> 1 d_model ...")
            grid = F.interpolate(grid, size=sizes, mode=mode, align_corners=False, antialias=antialias)
            resized.table.copy_(rearrange(grid, "1 d_model ... -> ... d_model"))
        return resized.to(self.table.device, self.table.dtype)

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        nn.init.normal_(self.table, std=self.init_std)


def _frequencies(width: int, base: float, d_model: int, n_axes: int) -> Frequencies:
    """Angles that one position turns, by feature pair."""
    checks.positive(base=base)
    n = width // 2
    if n < 1:
        raise ValueError(f"d_model={d_model} must have at least two features for each of n_axes={n_axes}")
    return Frequencies(base ** -(torch.arange(n, dtype=torch.float64) / n))


def _waves(positions: Tensor, frequency: Tensor) -> Tensor:
    """Sine and cosine by turns.

    Shapes:
        positions `[tokens, axes]`, frequency `[n]` → `[tokens, axes, 2 n]`.
    """
    angles = einsum(positions.float(), frequency.float(), "tokens axes, n -> tokens axes n")
    return rearrange(torch.stack([angles.sin(), angles.cos()], dim=-1), "tokens axes n wave -> tokens axes (n wave)")
