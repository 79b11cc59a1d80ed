"""Context parallelism: the tokens of long samples divided between processes, of which each reads the keys and values of
all ([Llama Team 2024](https://arxiv.org/abs/2407.21783), Llama 3, 3.3.2).
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.gated import GatedAttention
from omniformer.core.attention.latent import LatentAttention
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.attention.sinks import SinkAttention
from omniformer.core.cache import Cache, LayerCache
from omniformer.core.core import reader, writer
from omniformer.core.feedforward import FeedForward, GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count
from omniformer.core.rules import Rule
from omniformer.core.transformer import Transformer
from omniformer.parallel.layers import layers

# The layers that look at single tokens, or read others through a cache.
_KINDS = (
    SelfAttention,
    GatedAttention,
    SinkAttention,
    LatentAttention,
    CrossAttention,
    FeedForward,
    GatedFeedForward,
)


def apply(core: nn.Module, group: Any = None) -> None:
    """Lets processes divide the tokens of each training batch in a core, in place; all must read the same batches.

    Each takes in all tokens, computes its own, and gives back all: embedders, heads and losses are computed by every
    process. What a backward pass leaves on one of them, times their number, is its tokens' part of the gradient, so
    that the mean over processes is the gradient, of the core as of all the rest. Passes that are not training, or keep
    a cache, or are looked into, are not divided.

    Args:
        core: a `Transformer`, or a pair of them.
        group: the processes; None for all.

    Raises:
        ValueError: the core is another one, or has a layer of a kind that cannot be divided.
    """
    parts = {reader(core), writer(core)}
    if others := [type(part).__name__ for part in parts if type(part) is not Transformer]:
        raise ValueError(
            f"trainer=context divides the tokens of a Transformer, and this core is a {others[0]}; choose trainer=fsdp"
        )
    for _ in layers(core, _KINDS, "context"):
        pass  # each is of a kind that can be divided
    for part in parts:
        part.forward = partial(_through, part, group)


def _through(core: Any, group: Any, x: Tensor, layout: Layout, rule: Rule | None = None, **options: Any) -> Tensor:
    if not core.training or any(options.get(name) is not None for name in ("plan", "cache", "stages")):
        return Transformer.forward(core, x, layout, rule, **options)
    divided = Divided(layout, n_layers=core.n_layers, group=group)
    with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
        # Masks of a process's own within; outside all go on to draw the same.
        torch.manual_seed(int(torch.randint(2**62, ())) + divided.rank)
        own = Transformer.forward(core, divided.take(x), divided.new, rule, **(dict(options, cache=divided)))
    return divided.gather(own)


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
                "their tokens, as trainer=fsdp does"
            )
        self.rank, world = (distributed.get_rank(group), distributed.get_world_size(group)) if _up() else (0, 1)
        owner, sample = _owners(layout, world)  # on the host, so that nobody waits for a device
        self.group = group
        self.tokens = (owner == self.rank).nonzero()[:, 0].to(layout.device)
        """The numbers of this process's tokens in the batch."""
        self._sizes = torch.bincount(owner, minlength=world).tolist()
        # Where each token lies in what all send, one after another.
        self._order = owner.argsort(stable=True).argsort().to(layout.device)
        lengths = torch.bincount(sample[owner == self.rank], minlength=layout.n_samples)
        super().__init__(self._own(layout, lengths), layout)
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

    def _own(self, layout: Layout, lengths: Tensor) -> Layout:
        return Layout(
            lengths=lengths,
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


def _owners(layout: Layout, world: int) -> tuple[Tensor, Tensor]:
    """Which process has each token: pieces of a sample go to the first, the second, ..., the last, and back. And of
    which sample it is.
    """
    lengths = layout.lengths
    sample = torch.repeat_interleave(lengths)
    within = torch.arange(layout.n_tokens) - (lengths.cumsum(0) - lengths)[sample]
    piece = within * 2 * world // lengths[sample]
    return torch.minimum(piece, 2 * world - 1 - piece), sample


def _up() -> bool:
    return distributed.is_available() and distributed.is_initialized()
