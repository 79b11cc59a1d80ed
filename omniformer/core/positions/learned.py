"""A learned vector for each place of a grid."""

from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.positions.base import Position
from omniformer.core.ranges import Count, Natural, Positive


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
        if (rows := self._rows(positions)) is not None:
            return self.table[rows]
        size = torch.tensor(self.sizes, device=positions.device)
        place = positions.double() * size - 0.5 if self.coordinates == "unit" else positions.double() + self.first
        self._check(positions, place, size)
        if self.coordinates == "unit":
            # Half a place beyond the border, where these coordinates may fall, the border's vector holds.
            place = place.clamp(min=0).minimum(size - 1)
        # An exported program takes the way that looks at no numbers.
        if not torch.compiler.is_exporting() and place.device.type == "cpu" and bool((place == place.round()).all()):
            return self.table[tuple(place.long().unbind(-1))]
        return self._between(place)

    def _rows(self, positions: Tensor) -> Tensor | None:
        """The rows of a table of one axis, where the host may look and all are there: few operators, as this is asked
        for every token that is written.
        """
        if torch.compiler.is_compiling():  # asked first: a number of tokens that is looked at is one for good
            return None
        if self.n_axes != 1 or self.coordinates != "index" or not positions.is_cpu or not len(positions):
            return None
        place = positions[:, 0]
        rows = place.clamp(0, self.sizes[0] - 1 - self.first).long()
        if not torch.equal(rows.to(place.dtype), place):
            return None
        return rows + self.first if self.first else rows

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
        if place.device.type == "cuda" or torch.compiler.is_exporting():
            # To read the answer here would stop the host until the GPU is done; the GPU raises by itself, as does a
            # program. ONNX has no such operation: there it is the look into the table that fails.
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
        with torch.no_grad():
            resized.table.copy_(self.stretched(*sizes, antialias=antialias))
        return resized.to(self.table.device, self.table.dtype)

    def stretched(self, *sizes: int, antialias: bool = False) -> Tensor:
        """The table for another grid, as `resized` has it, through which gradients reach this one.

        Shapes:
            `[*sizes, d_model]`.
        """
        mode = {1: "linear", 2: "bicubic", 3: "trilinear"}[self.n_axes]
        grid = rearrange(self.table.float(), "... d_model -> 1 d_model ...")
        grid = F.interpolate(grid, size=sizes, mode=mode, align_corners=False, antialias=antialias)
        return rearrange(grid, "1 d_model ... -> ... d_model").to(self.table.dtype)

    def reset_parameters(self) -> None:
        """Draws the vectors anew."""
        nn.init.normal_(self.table, std=self.init_std)
