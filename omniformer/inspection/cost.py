"""What a model costs, computed on the meta device before anything is allocated.

The model itself runs there, on tensors that have shapes and no values: every matrix product and every tensor kept for
the backward pass is counted as it comes by, so a part that somebody adds tomorrow is counted without being known here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from omniformer.core.attention.meta import Call, listener
from omniformer.core.connection import AdaptiveNorm
from omniformer.core.core import kinds, together, writer
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.rules import Rule
from omniformer.inspection.pairs import count_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one pass over a batch takes.

    Args:
        flops: floating-point operations of a forward pass, a multiplication and an addition counted as two: matrix
            products and convolutions, and in attention only the pairs that the rule allows.
        activation_bytes: what a forward pass keeps for the backward pass, weights aside. Attention keeps what a fused
            kernel does.
        attention_bytes: the matrices of attention weights of all layers, had they been written out, with the pairs that
            the rule forbids. Fused kernels do not allocate them.
        attention_layers: uses of attention in one pass.
    """

    flops: int
    activation_bytes: int
    attention_bytes: int
    attention_layers: int

    @property
    def training_flops(self) -> int:
        """Operations of a forward and a backward pass: each product needs two more of its size for the gradients.

        What a kernel recomputes to save memory is not counted, as is usual for "model FLOPs".
        """
        return 3 * self.flops


def parameters(model: nn.Module) -> int:
    """The number of weights; those that two parts share count once.

    Example:
        >>> parameters(nn.Linear(3, 2))
        8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def active_parameters(model: nn.Module) -> int:
    """The weights that one token uses: of a mixture of experts, those of `top_k` experts."""
    idle = 0
    for part in model.modules():
        if isinstance(part, MixtureOfExperts):
            experts = (part.gate_up, part.down, part.gate_up_bias, part.down_bias)
            weights = sum(each.numel() for each in experts if each is not None)
            idle += weights // part.n_experts * (part.n_experts - part.top_k)
    return parameters(model) - idle


def cache_bytes_per_token(model: nn.Module, dtype: torch.dtype = torch.bfloat16) -> int:
    """Keys and values that decoding keeps of each token, all layers together; of an `EncoderDecoder`, of the target.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> cache_bytes_per_token(Transformer(d_model=16, n_layers=2, n_heads=2), torch.float32)
        256
    """
    return sum(getattr(part, "cached_per_token", 0) for part in writer(model).modules()) * dtype.itemsize


def forward_cost(
    core: nn.Module,
    layout: Layout,
    rule: Rule | None = None,
    *,
    target: Layout | None = None,
    memory: Memory | None = None,
) -> Cost:
    """What one forward pass of a core over a batch takes.

    A core with `AdaptiveNorm` is given a condition of the width that it asks for.

    Args:
        core: a core such as `Transformer`, `EncoderDecoder` or `Towers`, on the meta device.
        layout: the samples; with edges or positions where the rule needs them.
        rule: who may attend to whom; everybody by default. Of an `EncoderDecoder`, in the target; causal by default.
        target: the samples that an `EncoderDecoder` writes, or that all `Towers` but the first read; the layout by
            default.
        memory: what blocks with cross-attention read.

    Raises:
        ValueError: the core is not on the meta device.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> with torch.device("meta"):
        ...     core = Transformer(d_model=16, n_layers=1, n_heads=2)
        >>> cost = forward_cost(core, Layout.from_lengths(32))
        >>> cost.flops == 32 * 2 * 12 * 16**2 + 4 * 32 * 32 * 16
        True
    """
    known: dict[int, Layout] = {}

    def moved(each: Layout) -> Layout:
        meta = each.to("meta")
        known[id(meta)] = each
        return meta

    read, parts = moved(layout), kinds(core)
    others = moved(target) if target is not None and len(parts) > 1 else read
    layouts = [read, *[others] * (len(parts) - 1)]
    tokens = [(_tokens(part, each), each) for part, each in zip(parts, layouts, strict=True)]
    options = _condition(parts[-1], layouts[-1])
    if memory is not None:
        options["memory"] = Memory(x=memory.x.to("meta"), layout=moved(memory.layout), rule=memory.rule)
    return _measured(core, lambda: together(core, tokens, rule, **options), known)


def _measured(model: nn.Module, run: Callable[[], Any], known: dict[int, Layout]) -> Cost:
    """Runs a model on the meta device and counts."""
    calls: list[Call] = []
    kept = _Kept(model)
    token = listener.set(calls.append)
    try:
        with FlopCounterMode(display=False) as counter, _any_experts(model), kept.watching():
            run()
    finally:
        listener.reset(token)
    return Cost(
        flops=counter.get_total_flops() + sum(_flops(call, known) for call in calls),
        activation_bytes=kept.n_bytes,
        attention_bytes=sum(_matrix_bytes(call) for call in calls),
        attention_layers=len(calls),
    )


def _flops(call: Call, known: dict[int, Layout]) -> int:
    """Scores and weighted sums: for each pair and head a product of `head_dim` and one of `value_dim`."""
    layout, key_layout = (known.get(id(each), each) for each in (call.layout, call.key_layout))
    return 2 * call.n_heads * (call.head_dim + call.value_dim) * count_pairs(call.rule, layout, key_layout)


def _matrix_bytes(call: Call) -> int:
    return call.n_heads * int((call.layout.lengths * call.key_layout.lengths).sum()) * call.itemsize


class _Kept:
    """The bytes of all tensors kept for a backward pass, each storage once, those of the model itself aside."""

    def __init__(self, model: nn.Module) -> None:
        own = [*model.parameters(), *model.buffers()]
        self.own = {tensor.untyped_storage()._cdata for tensor in own}
        self.alive: dict[int, Tensor] = {}

    @property
    def n_bytes(self) -> int:
        """All bytes so far."""
        return sum(tensor.untyped_storage().nbytes() for tensor in self.alive.values())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notes what is kept inside."""

        def pack(tensor: Tensor) -> Tensor:
            key = tensor.untyped_storage()._cdata
            if key not in self.own:
                self.alive.setdefault(key, tensor)  # held on to, so that no later storage gets the same key
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.enable_grad():
            yield


@contextmanager
def _any_experts(model: nn.Module) -> Iterator[None]:
    """Lets every token use the first experts: which ones it would choose needs values, how many it does not."""
    layers = [part for part in model.modules() if isinstance(part, MixtureOfExperts)]
    for layer in layers:
        layer.forward = partial(_first_experts, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _first_experts(layer: MixtureOfExperts, x: Tensor, context: object = None) -> Tensor:
    weights = layer.router(x)[:, : layer.top_k].softmax(-1)
    outs = torch.stack([layer.expert(i, x) for i in range(layer.top_k)], dim=1)
    out = (outs * weights[..., None]).sum(1)
    return out if layer.shared is None else out + layer.shared(x, context)


def _condition(core: nn.Module, layout: Layout) -> dict[str, Any]:
    """A vector for each sample as the option of a core that is steered by one, without values; else no option."""
    for part in core.modules():
        if isinstance(part, AdaptiveNorm):
            weight = part.modulation.weight
            return {"condition": torch.empty(layout.n_samples, weight.shape[1], device="meta", dtype=weight.dtype)}
    return {}


def _tokens(core: nn.Module, layout: Layout) -> Tensor:
    """Tokens for a core, without values."""
    devices = {parameter.device.type for parameter in core.parameters()}
    if devices - {"meta"}:
        raise ValueError(f"the core has weights on {', '.join(sorted(devices))}; build it under torch.device('meta')")
    dtype = next((parameter.dtype for parameter in core.parameters()), torch.float32)
    return torch.empty(layout.n_tokens, core.d_model, device="meta", dtype=dtype, requires_grad=True)  # pyright: ignore
