"""Keys and values of earlier tokens, kept so that each new token costs one pass over itself."""

import torch
from torch import Tensor

from omniformer.core.layout import Layout


class LayerCache:
    """The cache of one layer: rows of keys and values, one row a sample, in memory that doubles when it is full."""

    def __init__(self, owner: "KVCache") -> None:
        self._owner = owner
        self._k: Tensor | None = None
        self._v: Tensor | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Adds the new tokens' keys and values and returns those of all tokens so far, packed.

        Shapes:
            `[new tokens, kv_heads, head_dim]` → `[all tokens, kv_heads, head_dim]`.
        """
        owner = self._owner
        self._k, self._v = self._store(self._k, k), self._store(self._v, v)
        return self._k[owner.rows, owner.columns], self._v[owner.rows, owner.columns]

    def reorder(self, samples: Tensor) -> None:
        """Makes row i the former row `samples[i]`, as beam search asks."""
        if self._k is not None and self._v is not None:
            self._k, self._v = self._k.index_select(0, samples), self._v.index_select(0, samples)

    def _store(self, rows: Tensor | None, new: Tensor) -> Tensor:
        owner = self._owner
        needed = int(owner.lengths.max())
        if rows is None or rows.shape[1] < needed:
            grown = new.new_zeros(len(owner.lengths), max(2 * needed, 16), *new.shape[1:])
            if rows is not None:
                grown[:, : rows.shape[1]] = rows
            rows = grown
        rows[owner.new.sample, owner.new.index] = new
        return rows


class KVCache:
    """A growing cache for all layers of a decoder.

    Args:
        n_layers: layers of the decoder.
        n_samples: samples decoded side by side; their lengths may differ.

    Example:
        >>> cache = KVCache(n_layers=1, n_samples=2)
        >>> new, seen = cache.extend(torch.tensor([3, 1]))
        >>> new, seen = cache.extend(torch.tensor([1, 1]))
        >>> new.index.tolist(), seen.lengths.tolist()
        ([3, 1], [4, 2])
    """

    def __init__(self, *, n_layers: int, n_samples: int, device: torch.device | str = "cpu") -> None:
        self.lengths = torch.zeros(n_samples, dtype=torch.long)
        self.device = torch.device(device)
        self.layers = [LayerCache(self) for _ in range(n_layers)]

    def extend(self, new_lengths: Tensor, positions: Tensor | None = None) -> tuple[Layout, Layout]:
        """Announces new tokens: their layout, and that of all tokens once they are in.

        Shapes:
            new_lengths int64 `[samples]`; positions `[new tokens, axes]`.
        """
        self.new = Layout(lengths=new_lengths, start=self.lengths.clone(), positions=positions, device=self.device)
        self.lengths = self.lengths + new_lengths.cpu()
        seen = Layout(lengths=self.lengths, device=self.device)
        self.rows, self.columns = seen.sample, seen.index
        return self.new, seen

    def reorder(self, samples: Tensor) -> None:
        """Makes sample i the former sample `samples[i]` in every layer."""
        self.lengths = self.lengths[samples.cpu()]
        for layer in self.layers:
            layer.reorder(samples.to(self.device))
