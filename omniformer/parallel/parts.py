"""Which parts of a core a strategy can divide, by name: asked of a description, before their classes are imported."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_OWN = "omniformer.core."  # parts of other packages are asked when they are built
# Blocks that are made of attention and feed-forward layers alone.
_BLOCKS = (
    *("Block", "BareFirstBlock", "CrossBlock", "GatedCrossBlock", "MixerBlock", "ParallelBlock", "ParallelNormsBlock"),
    "ReversibleBlock",  # of a core that is refused itself
)
_STACKS = ("Transformer", "DisentangledTransformer")  # whose blocks are called as wholes, one after the other
_ASKED = ("attention", "cross_attention", "feedforward", "block")  # what is within one of these is its own affair


@dataclass(frozen=True, slots=True)
class Divisible:
    """What a strategy divides.

    Args:
        strategy: as `trainer=` names it.
        cores: the classes whose blocks it divides, and pairs of which.
        layers: the classes of layers.
        asked: the keys of a core under which parts stand that must be divided.
    """

    strategy: str
    cores: tuple[str, ...]
    layers: tuple[str, ...]
    asked: tuple[str, ...] = _ASKED


DIVISIBLE = {
    "TensorParallel": Divisible(
        "tensor",
        _STACKS,
        ("SelfAttention", "GatedAttention", "CrossAttention", "FeedForward", "GatedFeedForward"),
        (*_ASKED, "pair_bias"),  # scores of all heads
    ),
    "ContextParallel": Divisible(
        "context",
        ("Transformer",),
        (
            *("SelfAttention", "GatedAttention", "SinkAttention", "LatentAttention", "CrossAttention"),
            *("FeedForward", "GatedFeedForward"),
        ),
    ),
}
"""By the class of the strategy; `tests/parallel/test_parts.py` holds it against what these classes divide."""


def check_parts(strategy: str, core: Any, place: str = "core") -> None:
    """Refuses a core that a strategy would refuse when it divides it, which is after data were read.

    Args:
        strategy: its class.
        core: its description; None where it is not known yet.
        place: its key.

    Raises:
        ValueError: the core or a layer is of a class that cannot be divided.

    Example:
        >>> check_parts("ContextParallel", {"_target_": "omniformer.core.variants.recurrent.Recurrent"})
        Traceback (most recent call last):
        ValueError: trainer=context divides the blocks of a Transformer, and core is a Recurrent; choose trainer=fsdp
    """
    divisible = DIVISIBLE.get(strategy)
    if divisible is None or not isinstance(core, Mapping):
        return
    called = f"trainer={divisible.strategy}"
    cores = [(key, each) for key in ("encoder", "decoder") if isinstance(each := core.get(key), Mapping)]
    for key, each in [(f"{place}.{key}", each) for key, each in cores] or [(place, core)]:
        kind = _own(each)
        if kind is not None and kind not in divisible.cores:
            raise ValueError(
                f"{called} divides the blocks of a Transformer, and {key} is a {kind}; choose trainer=fsdp"
            )
    for key, kind in _parts(core, place, divisible.asked):
        if kind not in (*divisible.layers, *_BLOCKS):
            raise ValueError(
                f"{called} cannot divide {key}, a {kind}; it divides {', '.join(divisible.layers)}: choose trainer=fsdp"
            )


def check_stacks(how: Any, core: Any) -> None:
    """Refuses to compile a core that has no stack of blocks, as the run would once its model is built.

    Args:
        how: `trainer.compile`.
        core: its description; None where it is not known yet.

    Raises:
        ValueError: it is to be compiled, and has none.

    Example:
        >>> check_stacks("blocks", {"_target_": "omniformer.core.transformer.Transformer"})
    """
    if how in (None, "off") or not isinstance(core, Mapping) or (kind := _own(core)) is None:
        return
    if not any(each in _STACKS for each in _classes(core)):
        raise ValueError(
            f"trainer.compile={how}: {kind} is no stack of blocks that are called one after the other; accepted with "
            "this core: off"
        )


def _classes(description: Any) -> Iterator[str | None]:
    """The classes of all parts within; None for one of others."""
    if isinstance(description, Mapping):
        yield _own(description)
        description = description.values()
    elif isinstance(description, str) or not isinstance(description, Sequence):
        return
    for each in description:
        yield from _classes(each)


def _parts(description: Mapping[str, Any], place: str, asked: Collection[str]) -> Iterator[tuple[str, str]]:
    """The parts of a core under some keys, with their classes."""
    unused = _unused(description, asked)
    for key, each in description.items():
        if not isinstance(each, Mapping) or key in unused:
            continue
        if key not in asked:
            yield from _parts(each, f"{place}.{key}", asked)
        elif (kind := _own(each)) is not None:
            yield f"{place}.{key}", kind


def _unused(description: Mapping[str, Any], asked: Collection[str]) -> set[str]:
    """The keys of a stack of which none of its blocks has anything: each kind of layer has its own, or no block has."""
    kinds = (description.get("kinds") or {}).values()
    unused = {key for key in asked if kinds and all((kind or {}).get(key) for kind in kinds)}
    return unused | ({"feedforward"} if _own(description.get("block") or {}) == "MixerBlock" else set())


def _own(description: Mapping[str, Any]) -> str | None:
    """The class of a part of ours."""
    target = str(description.get("_target_"))
    return target.rpartition(".")[2] if target.startswith(_OWN) else None
