"""Pictures of which a tower sees every patch, and the core blocks of patches."""

from dataclasses import replace

import torch
from einops import rearrange
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.feedforward import activation_of
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.core.transformer import Transformer


class MergingTowerEmbedder(nn.Module):
    """Any embedder, a transformer over the patches of each picture, and a merger: what the tower says of a block of
    patches side by side, in one map or two to the width of the core
    ([Wang et al. 2024](https://arxiv.org/abs/2409.12191), Qwen2-VL, 2.1; as pixel shuffle
    [Laurençon et al. 2024](https://arxiv.org/abs/2408.12637), Idefics3, 2.3).

    Args:
        d_model: width of the core.
        embedder: makes vectors of the tower's width out of patches.
        tower: reads the patches of each frame of a picture. Its layers may read the feature `window`.
        block: rows and columns of patches in a token; those of the tokenizer.
        window: rows and columns of patches that share a window, a multiple of `block`: the tower then gets them window
            by window, numbered by the feature `window`. None for no windows, and rows of blocks.
        hidden: width between two maps; None for one map.
        activation: between two maps.
        bias: whether the maps have offsets.

    Shapes:
        values `[tokens, block * block * features]`, patch after patch, positions `[tokens, 2]` of blocks, or 3 with
        time in front → `[tokens, d_model]`.

    Raises:
        ValueError: `window` is no multiple of `block`, or there is no such activation; when called, the numbers of a
            token make no whole patches, or positions have neither 2 nor 3 axes.

    Example:
        >>> from omniformer_tokenizers import PatchBlockTokenizer, pack
        >>> from omniformer.embedders import VectorEmbedder
        >>> packed = pack([PatchBlockTokenizer(patch_size=4)(torch.zeros(3, 16, 8))])
        >>> patches = VectorEmbedder(d_model=8, features=96, axes=2)
        >>> tower = Transformer(d_model=8, n_layers=2, n_heads=2)
        >>> MergingTowerEmbedder(d_model=16, embedder=patches, tower=tower, hidden=32)(packed).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        embedder: nn.Module,
        tower: Transformer,
        block: Count = 2,
        window: Count | None = None,
        hidden: Count | None = None,
        activation: str = "gelu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, block=block, window=window, hidden=hidden)
        if window is not None and window % block:
            raise ValueError(f"window={window} is no multiple of block={block}")
        self.embedder, self.tower, self.block, self.window = embedder, tower, block, window
        self.activation = activation_of(activation)
        self.map = nn.Linear(tower.d_model * block**2, d_model if hidden is None else hidden, bias=bias)
        self.second = None if hidden is None else nn.Linear(hidden, d_model, bias=bias)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        places, frames = self._frames(packed)
        lengths = frames.bincount(minlength=int(frames.max()) + 1 if len(frames) else 0)
        windows, order = self._windows(places, frames)
        patches = self._patches(packed, places, lengths, order)
        layout = Layout(
            lengths=patches.lengths,
            positions=patches.positions,
            features={} if windows is None else {"window": windows[order].repeat_interleave(self.block**2)},
            device=packed.values.device,
        )
        x = self.tower(self.embedder(patches), layout)
        x = self.map(rearrange(x, "(tokens patches) width -> tokens (patches width)", patches=self.block**2))
        x = x if self.second is None else self.second(self.activation(x))
        return torch.empty_like(x).index_copy(0, order, x)

    def reset_parameters(self) -> None:
        """Draws the maps anew."""
        for linear in filter(None, (self.map, self.second)):
            linear_(linear, linear.in_features**-0.5)

    def _frames(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """Row and column of each block, and the number of the frame that it lies in, over all pictures."""
        axes, places = packed.positions.shape[1], packed.positions.long()
        if axes not in (2, 3):
            raise ValueError(f"blocks of patches have positions of {axes} axes; row and column are needed, or time too")
        picture = torch.repeat_interleave(packed.lengths).to(places.device)
        time = places[:, 0] if axes == 3 else torch.zeros_like(picture)
        begins = (picture.diff(prepend=picture[:1]) != 0) | (time.diff(prepend=time[:1]) != 0)
        return places[:, -2:], begins.long().cumsum(0)

    def _windows(self, places: Tensor, frames: Tensor) -> tuple[Tensor | None, Tensor]:
        """The window of each block, and the order in which those of a window lie together."""
        if self.window is None:
            return None, torch.arange(len(frames), device=frames.device)
        rows, columns = (places // (self.window // self.block)).unbind(1)
        _, number = torch.unique(torch.stack([frames, rows, columns], dim=1), dim=0, return_inverse=True)
        return number, number.argsort(stable=True)

    def _patches(self, packed: Packed, places: Tensor, lengths: Tensor, order: Tensor) -> Packed:
        """The patches of all blocks, those of each frame as one picture."""
        n = self.block
        if packed.values.shape[1] % n**2:
            raise ValueError(f"tokens of {packed.values.shape[1]} numbers are no blocks of {n} x {n} patches")
        values = rearrange(packed.values[order], "tokens (patches f) -> (tokens patches) f", patches=n**2)
        inside = torch.cartesian_prod(torch.arange(n), torch.arange(n)).reshape(-1, 2).to(places.device)
        cells = rearrange(places[order][:, None] * n + inside, "tokens patches axes -> (tokens patches) axes")
        return replace(
            packed,
            values=values,
            positions=cells.to(packed.positions),
            features={},
            facts={},
            lengths=lengths.cpu() * n**2,
        )
