"""What a model looks at: attention maps of every layer and head, and what can be read from them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

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
        core: a `Transformer`, or what is made of some, whose attention goes through a plan, as `SelfAttention` does.
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
    with exchanged(attending(core), lambda plan: recorded(plan, maps)):
        core(x, layout, rule)
    if not maps:
        raise ValueError(f"{type(core).__name__} computed no attention weights; its layers do not go through a plan")
    return maps


def attending(core: nn.Module, *, to: Literal["itself", "memory"] = "itself") -> list[nn.Module]:
    """The layers of a core that attend to its own sequence, or to what it reads as a memory."""
    heads: list[Any] = [part for part in core.modules() if getattr(part, "by_plan", False)]
    return [part for part in heads if part.reads_memory == (to == "memory")]


@contextmanager
def exchanged(
    layers: Iterable[nn.Module], change: Callable[[Plan], Plan], *, field: Literal["plan", "memory_plan"] = "plan"
) -> Iterator[None]:
    """Has layers run, while the context lasts, on other plans than those that they are given.

    Args:
        layers: as `attending` finds them; each is asked by itself, since layers of different kinds have plans of their
            own.
        change: makes the plan that a layer runs on.
        field: the plan of its own sequence, or that of the memory.
    """

    def listen(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        *streams, context = given
        plan = getattr(context, field)
        return *streams, context if plan is None else replace(context, **{field: change(plan)})

    hooks = [layer.register_forward_pre_hook(listen) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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


class Silencer(Kernel):
    """A plan's kernel of which one head collects nothing, in one layer of a pass.

    Args:
        plan: the plan whose kernel it takes the place of.
        layer: the number of the layer, among those that attend in a pass.
        head: the number of the head.
        passed: counts the layers of the pass.
    """

    name = "silencer"

    def __init__(self, plan: Plan, layer: int, head: int, passed: Iterator[int]) -> None:
        self.plan, self.layer, self.head, self.passed = plan, layer, head, passed
        self.takes_rows = plan.kernel.takes_rows

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        out = self.plan.kernel.attend(q, k, v, how)
        if next(self.passed) != self.layer:
            return out
        return out * (torch.arange(q.shape[1], device=q.device) != self.head)[:, None].to(out.dtype)

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        return self.plan.kernel.lse(q, k, how)


@torch.no_grad()
def head_effects(
    run: Callable[[], Tensor],
    layers: Iterable[nn.Module],
    maps: Maps,
    *,
    field: Literal["plan", "memory_plan"] = "plan",
) -> Tensor:
    """How much each head does: by which share of its length the output changes where that head alone collects nothing
    ([Michel et al. 2019](https://arxiv.org/abs/1905.10650), 3.2, of the output in the place of a score).

    0 is a head that does nothing, 1 a change as long as the output itself.

    Args:
        run: a pass of the model, once for each head of each layer; gives what is compared.
        layers: those that attend, as `attending` finds them.
        maps: what they looked at in such a pass, which says how many heads each layer has.
        field: as for `exchanged`.

    Shapes:
        float32 `[layers, heads]`; NaN where a layer has fewer heads than others.
    """
    layers, whole = list(layers), run()
    length = whole.norm().clamp(min=1e-12)

    def without(layer: int, head: int) -> Tensor:
        passed = count()
        with exchanged(layers, lambda plan: replace(plan, kernel=Silencer(plan, layer, head, passed)), field=field):
            return (run() - whole).norm() / length

    return _padded(
        [
            torch.stack([without(layer, head) for head in range(len(samples[0]))]).float()
            for layer, samples in enumerate(maps)
        ]
    )


def _padded(rows: list[Tensor]) -> Tensor:
    """Layers with as many heads as the one that has most."""
    return pad_sequence(rows, batch_first=True, padding_value=float("nan"))


def entropy(maps: Maps) -> Tensor:
    """How widely each head looks: the mean entropy of its rows, in nats.

    0 is one key a query; `log n` is an even look at n keys. A head whose entropy falls to 0 has collapsed
    ([Zhai et al. 2023](https://arxiv.org/abs/2303.06296)). Rows without keys are left out.

    Shapes:
        float32 `[layers, heads]`; NaN where a layer has fewer heads than others.
    """
    layers = []
    for samples in maps:
        rows = [sample.float() for sample in samples]
        totals = torch.stack([torch.special.entr(row).sum((1, 2)) for row in rows]).sum(0)
        counts = torch.stack([(row.sum(-1) > 0).sum(1) for row in rows]).sum(0)
        layers.append(totals / counts.clamp(min=1))
    return _padded(layers)


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
