"""What is asked of a core, whatever it is made of.

A core is a module that is called with tokens, layout and rule, `core(x, layout, rule)`, and has `d_model` and
`reads_memory`, whether it has cross-attention. One with more to it says so: a pair has an `encoder` and a `decoder`;
one that reads tokens of several kinds has `kinds`, its parts by kind, and `together`, a pass over all of them.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from omniformer.core.layout import Layout
from omniformer.core.rules import Full, Rule


def reader(core: nn.Module) -> nn.Module:
    """What reads that which samples are given: the core, or the encoder of a pair."""
    return getattr(core, "encoder", core)


def writer(core: nn.Module) -> nn.Module:
    """What writes answers: the core, or the decoder of a pair."""
    return getattr(core, "decoder", core)


def kinds(core: nn.Module) -> Sequence[nn.Module]:
    """The parts that read tokens of a kind of their own: source and target, pictures and texts. Of most cores it is the
    core alone.

    Example:
        >>> from omniformer.core.transformer import Transformer
        >>> tower = Transformer(d_model=8, n_layers=1, n_heads=2)
        >>> len(kinds(tower))
        1
    """
    return getattr(core, "kinds", (core,))


def together(core: nn.Module, tokens: Sequence[tuple[Tensor, Layout]], rule: Rule | None = None, **options: Any) -> Any:
    """One pass over tokens of every kind that a core reads.

    Args:
        core: any.
        tokens: of each of its `kinds`, with their layout.
        rule: who may attend to whom; as the core has it by default.
        **options: of the core's own call: `memory`, `condition`.
    """
    if hasattr(core, "kinds"):
        return core.together(tokens, rule, **options)  # pyright: ignore[reportCallIssue]
    ((x, layout),) = tokens
    return core(x, layout, rule or Full(), **options)
