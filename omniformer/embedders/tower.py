"""Pictures as a published tower sees them, for a core that reads them among other tokens."""

from dataclasses import replace

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.feedforward import activation_of
from omniformer.core.init import linear_, untouched
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, Natural
from omniformer.core.transformer import Transformer


class TowerEmbedder(nn.Module):
    """Any embedder, a transformer over what it makes of each picture by itself, and a map to the width of the core
    ([Liu et al. 2023](https://arxiv.org/abs/2304.08485), LLaVA, 4.1; two maps as in
    [Liu et al. 2023b](https://arxiv.org/abs/2310.03744), 3.3).

    Args:
        d_model: width of the core.
        embedder: makes vectors of the tower's width.
        tower: reads the tokens of each picture, all of which see each other.
        n_class_tokens: of the tower, which its embedder makes and the core never sees.
        read: the output of how many blocks is read, before the norm at the end; None for all of the tower and its norm.
        activation: between two maps to the core's width; None for one map.
        bias: whether the maps have offsets.

    Shapes:
        values of the embedder inside → `[tokens, d_model]`.

    Raises:
        ValueError: `read` is more than the tower has blocks, or there is no such activation.

    Example:
        >>> from omniformer_tokenizers import PatchTokenizer, pack
        >>> from omniformer.embedders import VectorEmbedder
        >>> packed = pack([PatchTokenizer(patch_size=4)(torch.zeros(3, 8, 8))])
        >>> patches = VectorEmbedder(d_model=8, features=48, axes=2)
        >>> tower = Transformer(d_model=8, n_layers=2, n_heads=2)
        >>> TowerEmbedder(d_model=16, embedder=patches, tower=tower, activation="gelu")(packed).shape
        torch.Size([4, 16])
    """

    def __init__(
        self,
        *,
        d_model: Count,
        embedder: nn.Module,
        tower: Transformer,
        n_class_tokens: Natural = 0,
        read: Count | None = None,
        activation: str | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, read=read)
        checks.not_negative(n_class_tokens=n_class_tokens)
        if read is not None and read > tower.n_layers:
            raise ValueError(f"read={read} is more than the tower's n_layers={tower.n_layers}")
        self.embedder, self.tower, self.n_class_tokens, self.read = embedder, tower, n_class_tokens, read
        self.activation = None if activation is None else activation_of(activation)
        self.map = nn.Linear(tower.d_model, d_model, bias=bias)
        self.second = None if activation is None else nn.Linear(d_model, d_model, bias=bias)
        self.reset_parameters()

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        seen, own = self._behind_class_tokens(packed)
        layout = Layout(lengths=seen.lengths, device=seen.values.device)
        stages: dict[str, Tensor] = {}
        x = self.tower(self.embedder(seen), layout, stages=None if self.read is None else stages)
        if self.read is not None:
            x = stages[f"blocks.{self.read - 1}"] + untouched(self.tower)
        x = self.map(x[own])
        return x if self.second is None or self.activation is None else self.second(self.activation(x))

    def reset_parameters(self) -> None:
        """Draws the maps anew."""
        for linear in filter(None, (self.map, self.second)):
            linear_(linear, linear.in_features**-0.5)

    def _behind_class_tokens(self, packed: Packed) -> tuple[Packed, Tensor]:
        """The tokens with class tokens before each picture, and where those that were there stand now."""
        device, n = packed.values.device, self.n_class_tokens
        lengths = packed.lengths + n * (packed.lengths > 0)
        shift = n * ((packed.lengths > 0).cumsum(0))
        own = torch.arange(len(packed.values)) + torch.repeat_interleave(shift, packed.lengths)
        if not n:
            return packed, own.to(device)
        starts = (lengths.cumsum(0) - lengths)[packed.lengths > 0]
        number = torch.zeros(int(lengths.sum()), dtype=torch.long)
        number[starts[:, None] + torch.arange(n)] = torch.arange(1, n + 1)
        own, number = own.to(device), number.to(device)

        def spread(rows: Tensor) -> Tensor:
            return rows.new_zeros(len(number), *rows.shape[1:]).index_copy(0, own, rows)

        features = {name: spread(rows) for name, rows in packed.features.items()} | {"class_token": number}
        values, positions = spread(packed.values), spread(packed.positions)
        return replace(packed, values=values, positions=positions, features=features, lengths=lengths), own
