"""The layers that the blocks of a core are made of, for strategies that divide what blocks compute."""

from collections.abc import Collection, Iterator

from torch import nn

from omniformer.parallel import fsdp


def layers(core: nn.Module, kinds: Collection[type], strategy: str) -> Iterator[tuple[str, nn.Module]]:
    """The layers of all blocks, by name; a subclass may compute otherwise, so that it is a kind of its own.

    Args:
        core: whose blocks are called one after the other.
        kinds: of layers that can be divided.
        strategy: that divides them, as `trainer=` names it.

    Raises:
        ValueError: the core has no blocks that are called as wholes, or a layer is of another kind.
    """
    blocks = fsdp.units(core)
    if not blocks or len(blocks) < len(fsdp.named(core)):
        raise ValueError(
            f"trainer={strategy} divides blocks that are called as wholes and share no weights, and those of "
            f"{type(core).__name__} are not all so; choose trainer=fsdp"
        )
    names = {each: name for name, each in core.named_modules()}
    for part in (part for block in blocks for part in block.modules() if hasattr(part, "branch")):
        branch: nn.Module = part.branch  # pyright: ignore[reportAssignmentType]
        children = list(branch.children())
        both = bool(children) and all(type(each) in kinds for each in children)  # side by side
        for layer in children if both else [branch]:
            if type(layer) not in kinds:
                raise ValueError(
                    f"trainer={strategy} cannot divide {names[layer]}, a {type(layer).__name__}; it divides "
                    f"{', '.join(kind.__name__ for kind in kinds)}: choose trainer=fsdp"
                )
            yield names[layer], layer
