"""LoRA: a weight stays as it is, and a product of two thin matrices is learned beside it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.adapters.places import Place, chosen, places
from omniformer.core.dropout import Dropout
from omniformer.core.ranges import BelowOne, Count, Positive
from omniformer.quantization import QuantizedLinear, refuse_quantized

CHILD = "lora"
"""The name of the submodule of a linear map that holds its updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRA:
    """What is adapted, and how much ([Hu et al. 2021](https://arxiv.org/abs/2106.09685), 4.1): `W x + scale B A x`.

    Args:
        rank: rows of A and columns of B. 8: in the paper's table 6 more bring nothing.
        alpha: `scale` is `alpha / rank`, so that a learning rate found for one rank serves others. 16, that is 2 at
            rank 8, as most published adapters have it.
        dropout: share of the features that A reads set to zero in training.
        targets: which projections: plain names (`query`, `key`, `value`, `out`, `gate`, `up`, `down`, or a map by its
            own name, such as `qkv`), wherever they are; or shell patterns of their paths, such as
            `core.decoder.*.cross.branch.value`. Queries and values, as in the paper's experiments.
        rank_stabilised: divide by the root of the rank instead, which keeps the update's size at large ranks
            ([Kalajdzievski 2023](https://arxiv.org/abs/2312.03732)).
        init: how A is drawn; B begins at zero, so that an adapted model begins as it was. "uniform" between
            `±1 / sqrt(in_features)`, as the paper's code does, or "normal" with a deviation of `1 / rank`.

    Raises:
        ValueError: a number is out of its range, or there are no targets.

    Example:
        >>> LoRA(rank=8, alpha=16).scale
        2.0
    """

    rank: Count = 8
    alpha: Positive = 16.0
    dropout: BelowOne = 0.0
    targets: Sequence[str] = ("query", "value")
    rank_stabilised: bool = False
    init: Literal["uniform", "normal"] = "uniform"

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ValueError(
                f"rank={self.rank}, alpha={self.alpha}, dropout={self.dropout}: rank must be at least 1, alpha above "
                "0, dropout at least 0 and below 1"
            )
        if not self.targets or isinstance(self.targets, str):
            raise ValueError(f"targets={self.targets!r} must be a list of names, such as [query, value]")
        if self.init not in ("uniform", "normal"):
            raise ValueError(f"init={self.init!r} is unknown; choose 'uniform' or 'normal'")

    @property
    def scale(self) -> float:
        """The factor of the update."""
        return self.alpha / (self.rank**0.5 if self.rank_stabilised else self.rank)


class Update(nn.Module):
    """One low-rank update, `scale B A x`.

    Args:
        in_features: numbers in.
        first: the first row of the map that it adds to.
        last: the row after the last.
        lora: rank, scale, dropout and the draw of A.

    Shapes:
        a `[rank, in_features]`, b `[rows, rank]`; x `[..., in_features]` → `[..., rows]`.
    """

    def __init__(self, in_features: int, *, first: int, last: int, lora: LoRA) -> None:
        super().__init__()
        self.first, self.last, self.lora = first, last, lora
        self.dropout = Dropout(lora.dropout)
        self.a = nn.Parameter(torch.empty(lora.rank, in_features))
        self.b = nn.Parameter(torch.empty(last - first, lora.rank))
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """What is added to those rows of the map's output."""
        x = self.dropout(x.to(self.a.dtype))
        return F.linear(F.linear(x, self.a), self.b) * self.lora.scale

    def change(self) -> Tensor:
        """What the update comes to as a change of the weight.

        Shapes:
            `[rows, in_features]`.
        """
        return self.b @ self.a * self.lora.scale

    def reset_parameters(self) -> None:
        """Draws A anew and sets B to zero."""
        if self.lora.init == "normal":
            nn.init.normal_(self.a, std=1 / self.lora.rank)
        else:
            bound = self.a.shape[1] ** -0.5
            nn.init.uniform_(self.a, -bound, bound)
        nn.init.zeros_(self.b)


class Updates(nn.ModuleDict):
    """The updates of one linear map, by the name of the projection; a submodule of the map.

    Args:
        merged: whether they are part of the weight at the moment, and so add nothing.
    """

    def __init__(self, *, merged: bool = False) -> None:
        super().__init__()
        self.merged = merged
        self.handle: Any = None

    def forward(self, x: Tensor, out: Tensor) -> Tensor:
        """The map's output with all updates.

        Shapes:
            x `[..., in_features]`, out `[..., out_features]` → as out.
        """
        parts, reached = [], 0
        for update in self.ordered():
            if update.first > reached:
                parts.append(out.new_zeros(*out.shape[:-1], update.first - reached))
            parts.append(update(x).to(out.dtype))
            reached = update.last
        if reached < out.shape[-1]:
            parts.append(out.new_zeros(*out.shape[:-1], out.shape[-1] - reached))
        return out + (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))

    def ordered(self) -> list[Update]:
        """The updates from the first row to the last."""
        updates = [update for update in self.values() if isinstance(update, Update)]
        return sorted(updates, key=lambda update: update.first)


def apply_lora(model: nn.Module, lora: LoRA | None = None, *, train: Sequence[str] = ("heads.*",)) -> tuple[str, ...]:
    """Puts updates beside the chosen projections; everything else stays as it is.

    The adapted maps keep their class and the names of their weights; updates are submodules of them,
    `<map>.lora.<projection>.a` and `.b`. They are float32 where the weights are of half precision.

    Args:
        model: changed in place.
        lora: what and how much; the defaults of `LoRA` without it.
        train: shell patterns of other parameters that go on learning. Heads by default: they are mostly new. A head
            that is tied to the embedder's table belongs to the embedder.

    Returns:
        The paths of what is adapted.

    Raises:
        ValueError: a target means nothing in this model or is adapted already, or a weight belongs to several modules.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> core = Transformer(d_model=8, n_layers=1, n_heads=2)
        >>> apply_lora(core, LoRA(rank=2))
        ('blocks.0.attention.branch.query', 'blocks.0.attention.branch.value')
        >>> sum(p.numel() for p in core.parameters() if p.requires_grad)
        64
    """
    lora = LoRA() if lora is None else lora
    taken = chosen(places(model), lora.targets)
    for place in taken:
        _refuse_shared(model, place)
        if is_adapted(model.get_submodule(place.linear)):
            raise ValueError(f"{place.linear} is adapted already; merge and remove the first adapter before another")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in train))
    for place in taken:
        attach(model, place, lora)
    return tuple(place.path for place in taken)


def attach(model: nn.Module, place: Place, lora: LoRA) -> Update:
    """Puts one update in its place."""
    linear = model.get_submodule(place.linear)
    assert isinstance(linear, nn.Linear)
    updates = getattr(linear, CHILD, None)
    if updates is None:
        updates = Updates()
        linear.add_module(CHILD, updates)
        updates.handle = linear.register_forward_hook(_add)
    update = Update(linear.in_features, first=place.first, last=place.last, lora=lora)
    dtype = torch.promote_types(linear.weight.dtype, torch.float32)
    updates[place.name] = update.to(linear.weight.device, dtype).train(linear.training)
    return update


def adapters(model: nn.Module) -> dict[str, tuple[Place, Update]]:
    """The updates of a model, by path.

    Example:
        >>> adapters(nn.Linear(2, 2))
        {}
    """
    return {path: (place, update) for path, place in places(model).items() if (update := _update(model, place))}


def is_adapted(module: nn.Module) -> bool:
    """Whether a module, or one inside it, has updates."""
    return any(isinstance(each, Updates) for each in module.modules())


def merge(model: nn.Module) -> None:
    """Adds all updates to their weights: the model computes the same, at the speed of the unadapted one.

    The updates stay beside the weights, without effect, until `unmerge` takes them out again or `remove` takes them
    away. Sums are made in float32 and rounded once to the type of the weight.

    Raises:
        ValueError: there is nothing to merge, it is merged already, or the weights are quantized.
    """
    _fold(model, sign=1)


def unmerge(model: nn.Module) -> None:
    """Takes merged updates out of the weights again, up to rounding.

    Raises:
        ValueError: nothing is merged.
    """
    _fold(model, sign=-1)


def remove(model: nn.Module) -> None:
    """Takes the updates away. What was merged stays in the weights; the rest is forgotten."""
    for linear, updates in list(_adapted(model)):
        updates.handle.remove()
        delattr(linear, CHILD)


def refuse_adapted(model: nn.Module) -> None:
    """Refuses a model that cannot be written whole, since updates stand beside its weights.

    Raises:
        ValueError: it has an adapter; says what to do.
    """
    if is_adapted(model):
        raise ValueError(
            "this model has an adapter beside its weights: add it to them with omniformer.adapters.merge(model) and "
            "remove(model), then save; or save the adapter alone with save_adapter"
        )


def _add(linear: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
    """The hook of an adapted map."""
    updates: Any = linear.lora
    return out if updates.merged else updates(inputs[0], out)


def _adapted(model: nn.Module) -> Iterator[tuple[nn.Linear, Updates]]:
    for module in model.modules():
        updates = getattr(module, CHILD, None)
        if isinstance(module, nn.Linear) and isinstance(updates, Updates):
            yield module, updates


@torch.no_grad()
def _fold(model: nn.Module, *, sign: int) -> None:
    pairs = list(_adapted(model))
    if not pairs:
        raise ValueError("this model has no adapter; apply or load one first")
    refuse_quantized(model)
    if any(updates.merged == (sign > 0) for _, updates in pairs):
        raise ValueError("the adapter is merged already" if sign > 0 else "the adapter is not merged")
    for linear, updates in pairs:
        for update in updates.ordered():
            rows = linear.weight[update.first : update.last]
            rows.copy_(rows.to(update.a.dtype) + sign * update.change())
        updates.merged = sign > 0


def _update(model: nn.Module, place: Place) -> Update | None:
    updates = getattr(model.get_submodule(place.linear), CHILD, None)
    return updates[place.name] if updates is not None and place.name in updates else None  # pyright: ignore


def _refuse_shared(model: nn.Module, place: Place) -> None:
    linear: Any = model.get_submodule(place.linear)
    weight = linear.codes.numbers if isinstance(linear, QuantizedLinear) else linear.weight
    every = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    names = [name for name, each in every if each is weight]
    if len(names) > 1:
        raise ValueError(f"{place.path} cannot be adapted: {' and '.join(names)} are one weight")
