"""Context parallelism: the tokens of long samples divided between processes, of which each reads the keys and values of
all ([Llama Team 2024](https://arxiv.org/abs/2407.21783), Llama 3, 3.3.2).
"""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from omniformer.core.cache import Cache, LayerCache
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count


class Divided(Cache):
    """A cache whose tokens lie on several processes: a core with it maps those of this process, and attends to all.

    Each sample is cut into twice as many pieces as there are processes, of which the first process has the first and
    the last, the second one the second and the last but one, and so on: under a causal rule all then compute equally
    many pairs. Everything that looks at single tokens (embedders, norms, feed-forward layers, losses) divides by
    itself; of attention, keys and values are gathered, a `n_kv_heads / n_heads` of the width of the tokens each.

    Gradients of weights are sums over tokens: those of the processes are to be added up, as each has its own.

    Args:
        layout: of the whole batch; all processes give the same.
        n_layers: of the core.
        group: the processes; None for all.

    Raises:
        ValueError: the layout has edges or pairs, which join tokens of several processes; a layer carries a state from
            token to token.

    Example:
        >>> from omniformer.core.rules import Causal
        >>> from omniformer.core.transformer import Transformer
        >>> layout, core = Layout.from_lengths(3, 2), Transformer(d_model=8, n_layers=1, n_heads=2)
        >>> x, divided = torch.randn(5, 8), Divided(layout, n_layers=1)  # outside a distributed run: one process
        >>> mine = core(divided.take(x), divided.new, Causal(), cache=divided)
        >>> torch.allclose(divided.gather(mine), core(x, layout, Causal()), atol=1e-6)
        True
    """

    def __init__(self, layout: Layout, *, n_layers: Count, group: Any = None) -> None:
        if layout.edges is not None or layout.pairs:
            raise ValueError(
                "a layout with edges or pairs joins tokens of several processes; divide samples between processes, not "
                "their tokens"
            )
        rank, world = (distributed.get_rank(group), distributed.get_world_size(group)) if _up() else (0, 1)
        owner = _owners(layout, world)
        self.group = group
        self.tokens = (owner == rank).nonzero()[:, 0]
        """The numbers of this process's tokens in the batch."""
        self._sizes = torch.bincount(owner, minlength=world).tolist()
        self._order = owner.argsort(stable=True).argsort()  # where each token lies in what all send, one after another
        super().__init__(self._own(layout), layout)
        self.layers = [_Layer(self) for _ in range(n_layers)]

    def take(self, rows: Tensor) -> Tensor:
        """The rows of this process's tokens.

        Shapes:
            `[tokens, ...]` → `[own tokens, ...]`.
        """
        return rows[self.tokens]

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all tokens, in the order of the batch; all processes must ask. Each gets the gradient of its own
        rows, of what all of them have made of these.

        Shapes:
            `[own tokens, ...]` → `[tokens, ...]`.
        """
        if not _up():
            return rows
        gathered: Any = _Gather.apply(rows, self._sizes, self.group)
        return gathered[self._order]

    def _own(self, layout: Layout) -> Layout:
        sample = layout.sample[self.tokens]
        return Layout(
            lengths=torch.bincount(sample, minlength=layout.n_samples),
            places=layout.index[self.tokens],
            positions=None if layout.positions is None else layout.positions[self.tokens],
            modality=None if layout.modality is None else layout.modality[self.tokens],
            prefix=layout.prefix,
            features={name: each[self.tokens] for name, each in layout.features.items()},
            device=layout.device,
        )


class _Layer(LayerCache):
    """Gathers where other caches keep."""

    def __init__(self, owner: Divided) -> None:
        self._divided = owner

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return self._divided.gather(k), self._divided.gather(v)

    def once(self, compute: Any) -> tuple[Tensor, Tensor]:
        return compute()

    @property
    def state(self) -> dict[str, Tensor]:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise ValueError(
            "a layer carries a state from token to token, so that its tokens cannot be divided between processes; "
            "divide samples"
        )


class _Gather(torch.autograd.Function):
    """The rows of all processes, one after the other."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int], group: Any) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        # Collectives need equal sizes, so short ranks send rows of zeros that are cut off again.
        padded = F.pad(rows.flatten(1), (0, 0, 0, max(sizes) - len(rows))).contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded, group=group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)]).unflatten(1, rows.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        summed = gradients[0].contiguous()
        distributed.all_reduce(summed, group=ctx.group)
        return summed.split(ctx.sizes)[distributed.get_rank(ctx.group)], None, None


def _owners(layout: Layout, world: int) -> Tensor:
    """Which process has each token: pieces of a sample go to the first, the second, ..., the last, and back."""
    within = torch.arange(layout.n_tokens, device=layout.device) - layout.offsets[layout.sample]
    lengths = layout.lengths.to(layout.device)[layout.sample]
    piece = within * 2 * world // lengths
    return torch.minimum(piece, 2 * world - 1 - piece)


def _up() -> bool:
    return distributed.is_available() and distributed.is_initialized()
