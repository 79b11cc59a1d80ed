"""A cache of padded rows whose keys and values come in as tensors and go out again: one step of an exported decoder."""

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from torch import Tensor

from omniformer.core.cache import Cache, LayerCache
from omniformer.core.padded import PaddedLayout
from omniformer.core.slots import Rows

_AS_ROWS = "samples kv_heads keys head_dim -> samples keys kv_heads head_dim"


class PaddedCache(Cache):
    """Keys and values of earlier tokens, to which a step adds those of new tokens behind them.

    It keeps nothing from step to step: `states` is what the next step begins from, and the layouts say which of all
    tokens are real.

    Args:
        new: the new tokens.
        seen: all tokens, earlier ones first.
        past: keys and values of the earlier tokens by turns, layer by layer, as `states` gives them.
        memory: keys and values of the memory, for each layer that reads one, by number of layer.

    Shapes:
        each of past `[samples, kv_heads, earlier tokens, head_dim]`; those of the memory the same, as long as it is.

    Example:
        >>> seen = PaddedLayout(valid=torch.ones(1, 3, dtype=torch.bool))
        >>> cache = PaddedCache(seen.last(1), seen, [torch.zeros(1, 2, 2, 4), torch.zeros(1, 2, 2, 4)])
        >>> k, v = cache.layers[0].append(torch.ones(1, 2, 4), torch.ones(1, 2, 4))
        >>> k.shape, cache.states[0].shape
        (torch.Size([1, 3, 2, 4]), torch.Size([1, 2, 3, 4]))
    """

    def __init__(
        self,
        new: PaddedLayout,
        seen: PaddedLayout,
        past: Sequence[Tensor],
        memory: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__(new, seen)
        self.slots = new.valid.shape
        self._rows = [_Grown(each) for each in past]
        known = {i: (rearrange(k, _AS_ROWS), rearrange(v, _AS_ROWS)) for i, (k, v) in (memory or {}).items()}
        pairs = zip(self._rows[::2], self._rows[1::2], strict=True)
        self.layers = [LayerCache(self, k, v, known.get(i)) for i, (k, v) in enumerate(pairs)]

    @property
    def states(self) -> list[Tensor]:
        """Keys and values of all tokens by turns, layer by layer: the `past` of the next step."""
        return [each.rows for each in self._rows]


class _Grown(Rows):
    """The keys or the values of one layer, heads before tokens, as attention wants them."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__(lambda needed: needed)
        self._rows: Tensor = rows

    @property
    def rows(self) -> Tensor:
        """Those of all tokens, once the new ones are in."""
        return self._rows

    def append(self, new: Tensor, slots: torch.Size) -> Tensor:
        """Puts the new tokens behind the earlier ones, and returns all as rows `[samples, keys, kv_heads, head_dim]`.

        Args:
            slots: samples and new tokens of each.
        """
        rows = rearrange(new.unflatten(0, slots), "samples keys kv_heads head_dim -> samples kv_heads keys head_dim")
        self._rows = torch.cat([self._rows, rows], dim=2)
        return rearrange(self._rows, _AS_ROWS)
