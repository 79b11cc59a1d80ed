"""What a model looks at: attention maps of every layer and head, and what can be read from them."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core.attention.kernel import Kernel, Weighing
from omniformer.core.attention.merging import left_by
from omniformer.core.attention.plan import Plan
from omniformer.core.layout import Layout
from omniformer.core.rules import Rule

Maps = list[list[Tensor]]
"""For each layer and sample, weights `[heads, queries, keys]`. A row adds up to one, to less where there is a sink,
or to zero without keys."""


@torch.no_grad()
def attention_maps(core: nn.Module, x: Tensor, layout: Layout, rule: Rule | None = None) -> Maps:
    """The attention weights of every layer, recomputed in plain maths while the model runs on its fast kernels.

    Args:
        core: a `Transformer` whose attention goes through a plan, as `SelfAttention` does.
        x: its input.
        layout: where the samples begin and end.
        rule: who may attend to whom; everybody by default.

    Shapes:
        x `[tokens, d_model]` → for each layer and sample `[heads, queries, keys]`.

    Raises:
        ValueError: no layer computes weights, as with linear attention or a recurrent core.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=16, n_layers=2, n_heads=4)
        >>> maps = attention_maps(core, torch.randn(5, 16), Layout.from_lengths(2, 3))
        >>> len(maps), maps[0][1].shape
        (2, torch.Size([4, 3, 3]))
    """
    maps: Maps = []

    def listen(block: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        *streams, context = given
        return *streams, replace(context, plan=recorded(context.plan, maps))

    # The plan is exchanged block by block: layers of different kinds have plans of their own.
    hooks = [block.register_forward_pre_hook(listen) for block in getattr(core, "blocks", ())]
    try:
        core(x, layout, rule)
    finally:
        for hook in hooks:
            hook.remove()
    if not maps:
        raise ValueError(f"{type(core).__name__} computed no attention weights; its layers do not go through a plan")
    return maps


def recorded(plan: Plan, maps: Maps) -> Plan:
    """The same plan, which also adds its weights to `maps`."""
    return replace(plan, kernel=Recorder(plan, maps))


class Recorder(Kernel):
    """A plan's kernel that also writes down its weights.

    Args:
        plan: the plan whose kernel it takes the place of.
        maps: where the weights of each layer are added.
    """

    name = "recorder"

    def __init__(self, plan: Plan, maps: Maps) -> None:
        self.plan = plan
        self.takes_rows = plan.kernel.takes_rows
        self.maps = maps

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        weights = self.plan.weights(q, k, scale=how.scale, bias=how.bias, score=how.score)
        if how.sink is not None:
            left = left_by(how.sink, self.lse(q, k, how)).split(self.plan.layout.lengths.tolist())
            weights = [each * share.T[..., None] for each, share in zip(weights, left, strict=True)]
        self.maps.append(weights)
        return self.plan.kernel.attend(q, k, v, how)

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        return self.plan.kernel.lse(q, k, how)


def entropy(maps: Maps) -> Tensor:
    """How widely each head looks: the mean entropy of its rows, in nats.

    0 is one key a query; `log n` is an even look at n keys. A head whose entropy falls to 0 has collapsed
    ([Zhai et al. 2023](https://arxiv.org/abs/2303.06296)). Rows without keys are left out.

    Shapes:
        float32 `[layers, heads]`.
    """
    layers = []
    for samples in maps:
        rows = [sample.float() for sample in samples]
        totals = torch.stack([torch.special.entr(row).sum((1, 2)) for row in rows]).sum(0)
        counts = torch.stack([(row.sum(-1) > 0).sum(1) for row in rows]).sum(0)
        layers.append(totals / counts.clamp(min=1))
    return torch.stack(layers)


def collapsed_heads(maps: Maps, *, below: float = 0.05) -> list[tuple[int, int]]:
    """Layer and number of the heads whose entropy is below a bound, in nats.

    Args:
        maps: of a batch whose samples have several tokens, else every head looks collapsed.
        below: the bound; 0.05 nats is a weight of about 0.99 on one key.
    """
    return [(layer, head) for layer, head in (entropy(maps) < below).nonzero().tolist()]


def rollout(maps: Maps) -> list[Tensor]:
    """How much of each input token reaches each output token, residual connections counted half.

    The product over layers of `(mean over heads + identity) / 2`
    ([Abnar and Zuidema 2020](https://arxiv.org/abs/2005.00928), 3).

    Shapes:
        for each sample `[queries, keys]`; rows add up to one where every query may attend to something.
    """
    result = []
    for samples in zip(*maps, strict=True):
        total = torch.eye(samples[0].shape[-1], device=samples[0].device)
        for weights in samples:
            mean = weights.float().mean(0)
            total = (mean + torch.eye(len(mean), device=mean.device)) / 2 @ total
        result.append(total)
    return result


def modality_flow(maps: Maps, layout: Layout, n_modalities: int) -> Tensor:
    """Which share of its attention each modality gives to each other one.

    Args:
        maps: of a batch.
        layout: with the modality of each token.
        n_modalities: how many there are.

    Shapes:
        float32 `[layers, n_modalities, n_modalities]`, from the modality of the query to that of the key.

    Raises:
        ValueError: the layout does not say which modality a token comes from.
    """
    if layout.modality is None:
        raise ValueError("the layout has no modality; pass Layout(modality=...)")
    which = nn.functional.one_hot(layout.modality, n_modalities).float().split(layout.lengths.tolist())
    flows = []
    for samples in maps:
        flow = sum(one.T @ weights.float().mean(0) @ one for one, weights in zip(which, samples, strict=True))
        assert isinstance(flow, Tensor)
        flows.append(flow / flow.sum(-1, keepdim=True).clamp(min=1e-12))
    return torch.stack(flows)
