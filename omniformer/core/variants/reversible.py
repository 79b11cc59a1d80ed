"""Reversible residual layers: the backward pass recomputes each layer's input from its output."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import get_device_states, set_device_states

from omniformer.core.attention.multihead import Context
from omniformer.core.block import Factory, Parts
from omniformer.core.connection import PreNorm
from omniformer.core.transformer import Transformer


class ReversibleTransformer(Transformer):
    """A transformer whose activation memory does not grow with depth.

    Two streams take turns ([Gomez et al. 2017](https://arxiv.org/abs/1707.04585);
    [Kitaev et al. 2020](https://arxiv.org/abs/2001.04451), section 3):

        x1 ──────(+)── y1 ──┬─────────         y1 = x1 + attention(norm(x2))
                  │     feedforward            y2 = x2 + feedforward(norm(y1))
        x2 ──┬────┘         │
             └─────────────(+)── y2

    so that the inputs follow from the outputs by two subtractions. Only the last layer's outputs are kept; the
    backward pass goes down the layers and recomputes what it needs, with the same dropout, at the price of one more
    forward pass. Both streams begin as x, and their mean is the result. Inputs come back with rounding errors, so
    gradients equal those of kept activations to rounding.

    Probing by `stages` and caches take the plain route, which keeps activations.

    Args:
        block: `ReversibleBlock`.
        **options: the others of `Transformer`. `connection` must be `PreNorm`, since the layers bring their own
            residual, and `checkpoint_blocks` off.

    Raises:
        ValueError: an option has another value than those named; at first use, a part leaves auxiliary losses or values
            for later layers, whose gradients would be lost, or the layout or rotation itself requires gradients.

    Example:
        >>> from omniformer.core.layout import Layout
        >>> core = ReversibleTransformer(d_model=16, n_layers=2, n_heads=2)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 16])
    """

    def __init__(self, *, block: Factory | None = None, **options: Any) -> None:
        block = ReversibleBlock if block is None else block
        if getattr(block, "func", block) is not ReversibleBlock or options.get("checkpoint_blocks"):
            raise ValueError(
                f"a reversible transformer keeps nothing: block must be ReversibleBlock, not {block}, "
                f"and checkpoint_blocks={options.get('checkpoint_blocks', False)} be False"
            )
        super().__init__(block=block, **options)

    @property
    def units(self) -> list[nn.Module]:
        """None: the branches of all blocks are called, and computed again, one by one."""
        return []

    def through(self, x: Tensor, contexts: list[Context], stages: dict[str, Tensor] | None) -> Tensor:
        """Passes the tokens through all blocks as two streams."""
        learns = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters()))
        if learns and stages is None and contexts[0].cache is None:
            stack = _Stack.prepare(list(self.blocks), contexts)
            first, second = _Reversible.apply(stack, x, x, *stack.tensors)  # pyright: ignore[reportGeneralTypeIssues]
            return (first + second) / 2
        first = second = x
        for i, (block, context) in enumerate(zip(self.blocks, contexts, strict=True)):
            first, second = block(first, second, context)
            if stages is not None:
                stages[f"blocks.{i}"] = (first + second) / 2
        return (first + second) / 2


class ReversibleBlock(nn.Module):
    """One reversible layer; see `ReversibleTransformer`.

    Args:
        parts: what it is made from.

    Raises:
        ValueError: the parts' connection is not `PreNorm`.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        if getattr(parts.connection, "func", parts.connection) is not PreNorm:
            raise ValueError(
                f"reversible layers bring their own residual: connection must be PreNorm, not {parts.connection}"
            )
        parts = replace(parts, connection=_Update)
        self.attention = parts.connect(parts.new_attention())
        self.feedforward = parts.connect(parts.new_feedforward())

    def forward(self, first: Tensor, second: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Passes both streams `[tokens, d_model]` through the layer."""
        first = first + self.attention(second, context)
        return first, second + self.feedforward(first, context)


class _Update(PreNorm):
    """What `PreNorm` adds, without what it adds to."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.dropped(self.branch(self.norm(x), context), context)


class _Reversible(torch.autograd.Function):
    """A stack of layers as one node of the graph; weights are inputs, so that their gradients go the usual way."""

    @staticmethod
    def forward(ctx: Any, stack: "_Stack", first: Tensor, second: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        first, second = stack.forward(first, second)
        ctx.stack = stack
        ctx.save_for_backward(first, second)
        return first, second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.stack.backward(*ctx.saved_tensors, *grads)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stack:
    """The branches of all layers in the order in which they run, and every tensor that may get a gradient from them.

    Args:
        steps: pairs of a branch and what it reads. Each step is `a, b → b, a + branch(b)`.
        weights: parameters of the branches and of biases.
        given: memory and conditions that were computed elsewhere.
        leaves: the same as `given`, cut from where they were computed; what the steps read.
        random: the state of the random generators before each step, filled by `forward`.
    """

    steps: list[tuple[nn.Module, Context]]
    weights: list[Tensor]
    given: list[Tensor]
    leaves: list[Tensor]
    random: "list[_Random]"

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor that may get a gradient, apart from the two streams."""
        return [*self.weights, *self.given]

    @classmethod
    def prepare(cls, layers: list[nn.Module], contexts: list[Context]) -> Self:
        """Collects the branches and cuts outer tensors from their graph."""
        context = contexts[0]
        for each in contexts:
            _refuse_hidden_gradients(each)
        memory, condition = context.memory, context.condition
        given = [] if memory is None else [memory.x]
        given = [x for x in [*given, *([] if condition is None else [condition])] if x.requires_grad]
        leaves = [x.detach().requires_grad_() for x in given]
        leaf = dict(zip(map(id, given), leaves, strict=True))
        if memory is not None:
            memory = replace(memory, x=leaf.get(id(memory.x), memory.x))
        if condition is not None:
            condition = leaf.get(id(condition), condition)
        modules = [*layers, *([context.bias] if isinstance(context.bias, nn.Module) else [])]
        steps: list[tuple[nn.Module, Context]] = []
        for layer, own in zip(layers, contexts, strict=True):
            assert isinstance(layer, ReversibleBlock)
            own = replace(own, memory=memory, condition=condition)
            steps += [(layer.attention, own), (layer.feedforward, own)]
        weights: list[Tensor] = [p for p in nn.ModuleList(modules).parameters() if p.requires_grad]
        return cls(steps=steps, weights=weights, given=given, leaves=leaves, random=[])

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Runs all steps without keeping anything but the random state before each."""
        for branch, context in self.steps:
            self.random.append(_Random.now(second))
            first, second = second, first + branch(second, context)
        lost = [*context.report.losses, *(["first_values"] if context.report.first_values is not None else [])]
        if lost:
            raise ValueError(
                f"a reversible transformer cannot pass gradients to {', '.join(lost)}: "
                "auxiliary losses and values shared between layers need Transformer"
            )
        return first, second

    def backward(
        self, first: Tensor, second: Tensor, first_grad: Tensor, second_grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Undoes the steps from the last to the first, and collects gradients on the way.

        Returns:
            the gradients of both streams' inputs and of `tensors`.
        """
        grads: dict[int, Tensor] = {}
        for (branch, context), random in zip(reversed(self.steps), reversed(self.random), strict=True):
            stream = first.detach().requires_grad_()
            with torch.enable_grad(), random.replayed():
                update = branch(stream, context)
            inputs = [stream, *(p for p in branch.parameters() if p.requires_grad), *self._shared(context)]
            stream_grad, *others = torch.autograd.grad(update, inputs, second_grad, allow_unused=True)
            for tensor, grad in zip(inputs[1:], others, strict=True):
                if grad is not None:
                    grads[id(tensor)] = grads[id(tensor)] + grad if id(tensor) in grads else grad
            first, second = second - update.detach(), first
            first_grad, second_grad = second_grad, first_grad if stream_grad is None else first_grad + stream_grad
        return first_grad, second_grad, *(grads.get(id(x)) for x in [*self.weights, *self.leaves])

    def _shared(self, context: Context) -> list[Tensor]:
        """What every branch may read: the common bias, memory and conditions."""
        bias = list(context.bias.parameters()) if isinstance(context.bias, nn.Module) else []
        return [*(p for p in bias if p.requires_grad), *self.leaves]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Random:
    """Random generators and autocast as they were, so that a branch can be run again in the same way."""

    host: Tensor
    devices: list[int]
    states: list[Tensor]
    device_type: str
    autocast: bool
    dtype: torch.dtype

    @classmethod
    def now(cls, x: Tensor) -> Self:
        """The state of the moment, on the host and on the device of x."""
        devices, states = get_device_states(x) if x.is_cuda else ([], [])
        device_type = "cuda" if x.is_cuda else "cpu"
        return cls(
            host=torch.get_rng_state(),
            devices=devices,
            states=states,
            device_type=device_type,
            autocast=torch.is_autocast_enabled(device_type),
            dtype=torch.get_autocast_dtype(device_type),
        )

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Runs what is inside with that state, and puts today's back."""
        autocast = torch.autocast(self.device_type, dtype=self.dtype, enabled=self.autocast)
        with torch.random.fork_rng(self.devices), autocast:
            torch.set_rng_state(self.host)
            if self.devices:
                set_device_states(self.devices, self.states)
            yield


def _refuse_hidden_gradients(context: Context) -> None:
    """Raises where a gradient would be lost, because the stack does not see the tensor that wants it."""
    layout, rotation = context.plan.layout, context.rotation
    seen = {
        "the rotation": [] if rotation is None else [rotation.cos, rotation.sin],
        "the layout's positions": [layout.positions],
        "the layout's edge_features": [layout.edge_features],
        "the layout's features": list(layout.features.values()),
        "the layout's pairs": list(layout.pairs.values()),
    }
    for name, tensors in seen.items():
        if any(tensor is not None and tensor.requires_grad for tensor in tensors):
            raise ValueError(
                f"{name} requires gradients, which a reversible transformer cannot give it; use Transformer"
            )
