"""Layers that differ: which kind of layer stands where in a stack, and what a kind has of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from omniformer.core.block import Factory, Parts
from omniformer.core.ranges import Count
from omniformer.core.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKind:
    """What the layers of one kind have in place of what the stack gives to all.

    Args:
        rule: narrows the rule of the call: a pair takes part where both allow it. None adds nothing.
        rotary: makes rotary positions, called with `head_dim`; "stack": those of the stack; None: the tokens of these
            layers have no positions ([Yang et al. 2025](https://arxiv.org/abs/2501.18795)).
        attention: makes the attention; None: as the stack. So are the next three.
        feedforward: makes the feed-forward layer.
        norm: makes the norms.
        connection: makes the residual connections.

    Example:
        >>> from functools import partial
        >>> from omniformer.core.rotary import Rotary
        >>> from omniformer.core.rules import Window
        >>> from omniformer.core.transformer import Transformer
        >>> near = LayerKind(rule=Window(left=127), rotary=partial(Rotary, base=10_000.0))
        >>> far = LayerKind(rotary=partial(Rotary, base=1_000_000.0))
        >>> core = Transformer(
        ...     d_model=8, n_layers=6, n_heads=2, pattern=["near", "near", "far"], kinds={"near": near, "far": far}
        ... )
        >>> core.kind_of_layer
        ('near', 'near', 'far', 'near', 'near', 'far')
    """

    rule: Rule | None = None
    rotary: Factory | Literal["stack"] | None = "stack"
    attention: Factory | None = None
    feedforward: Factory | None = None
    norm: Factory | None = None
    connection: Factory | None = None

    def parts(self, stack: Parts) -> Parts:
        """What a block of this kind is made from, given what the blocks of the stack are made from."""
        own = {name: getattr(self, name) for name in ("attention", "feedforward", "norm", "connection")}
        return replace(stack, **{name: factory for name, factory in own.items() if factory is not None})


def repeated(pattern: Sequence[str] | None, kinds: Mapping[str, LayerKind], n_layers: Count) -> tuple[str, ...]:
    """The kind of each layer: the pattern again and again, cut at the last layer.

    Raises:
        ValueError: the pattern is empty or names a kind that there is not, or a kind stands in no layer.

    Example:
        >>> repeated(["a", "b"], {"a": LayerKind(), "b": LayerKind()}, 3)
        ('a', 'b', 'a')
    """
    if pattern is None and len(kinds) == 1:
        pattern = list(kinds)
    if not pattern:
        raise ValueError(
            f"pattern={pattern} with the kinds {', '.join(kinds)}: say the kinds in the order of the layers"
        )
    named = tuple(pattern[i % len(pattern)] for i in range(n_layers))
    if unknown := [name for name in pattern if name not in kinds]:
        raise ValueError(f"pattern={list(pattern)} names {unknown[0]!r}, which is not among the kinds {list(kinds)}")
    if unused := [name for name in kinds if name not in named]:
        raise ValueError(f"no layer of n_layers={n_layers} is of kind {unused[0]!r}; pattern={list(pattern)}")
    return named
