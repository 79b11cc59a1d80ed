"""Which linear maps of a model can be adapted, and by which names people choose them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from omniformer.core.moe import MixtureOfExperts

WHOLE = "whole"
"""The name of the rows of a map that is adapted as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Rows of a linear map that get an update of their own.

    Args:
        path: what people call it: the path of the layer and the name of the projection, or the path of the map.
        linear: the path of the map.
        name: the projection, or "whole".
        first: the first row.
        last: the row after the last.
        fused: whether the path means several projections at once.
    """

    path: str
    linear: str
    name: str
    first: int
    last: int
    fused: bool = False


def places(model: nn.Module) -> dict[str, Place]:
    """All that can be adapted, by path.

    A layer of ours says which rows of its maps are queries, keys, values and so on (`projections`); each is a place,
    and so is every linear map as a whole. Routers of experts are none: they are computed in float32, on their own way.

    Example:
        >>> from omniformer.core.attention.multihead import SelfAttention
        >>> list(places(nn.ModuleDict({"attention": SelfAttention(d_model=4, n_heads=2)})))
        ['attention.query', 'attention.key', 'attention.value', 'attention.out', 'attention.qkv']
    """
    found: dict[str, Place] = {}
    declared: set[str] = set()
    routers: set[str] = set()
    for path, module in model.named_modules():
        for name, part in getattr(module, "projections", {}).items():
            linear = _join(path, part.module)
            declared.add(linear)
            full = _join(path, name)
            found[full] = Place(path=full, linear=linear, name=name, first=part.first, last=part.last)
        if isinstance(module, MixtureOfExperts):
            routers.add(_join(path, "router"))
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and path not in found and path not in routers:
            found[path] = Place(
                path=path, linear=path, name=WHOLE, first=0, last=module.out_features, fused=path in declared
            )
    return found


def chosen(found: dict[str, Place], targets: Sequence[str]) -> list[Place]:
    """The places that targets name, in the order of the model.

    Args:
        found: from `places`.
        targets: plain names mean every place whose path ends so (`query`, `value`, `qkv`); others are shell patterns of
            whole paths (`core.decoder.*.query`). A map of several projections is meant only by its very name.

    Raises:
        ValueError: a target means nothing in this model, or rows of a map are meant twice.
    """
    hit: set[str] = set()
    for target in targets:
        mine = {path for path, place in found.items() if _means(target, place)}
        if not mine:
            names = sorted({path.rpartition(".")[2] for path in found})
            raise ValueError(f"targets: {target!r} means nothing in this model; its maps are {', '.join(names)}")
        hit |= mine
    taken = [place for path, place in found.items() if path in hit]
    by_map: dict[str, list[Place]] = {}
    for place in taken:
        by_map.setdefault(place.linear, []).append(place)
    for linear, parts in by_map.items():
        if len(parts) > 1 and any(place.name == WHOLE for place in parts):
            raise ValueError(f"targets: {linear} is meant as a whole and by parts of it; choose one")
    return taken


def _means(target: str, place: Place) -> bool:
    last = place.path.rpartition(".")[2]
    if not set(target) & set(".*?["):
        return target == last
    if place.fused and target.rpartition(".")[2] != last:
        return False
    return fnmatchcase(place.path, target)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
