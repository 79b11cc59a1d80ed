"""A family's table of names beside a model: which tensor of a file answers to which parameter of ours."""

from collections.abc import Sequence

from torch import Tensor, nn

from omniformer.model import OmniFormer
from omniformer.pretrained.checkpoint import CONFIG_FILE
from omniformer.pretrained.family import Family
from omniformer.pretrained.names import Name


def lines_of(family: Family, model: OmniFormer) -> tuple[dict[str, list[Name]], dict[str, tuple[int, ...]]]:
    """The table by the names of theirs, and the shapes of theirs.

    Raises:
        ValueError: the model has another shape than the family says.
    """
    parameters = parameters_of(model)
    lines: dict[str, list[Name]] = {}
    expected: dict[str, tuple[int, ...]] = {}
    for line in family.names():
        if line.ours not in parameters:
            raise ValueError(f"this model has no {line.ours}, which a {family.architecture} of this {CONFIG_FILE} has")
        lines.setdefault(line.theirs, []).append(line)
        try:
            expected[line.theirs] = line.expected(parameters[line.ours])
        except IndexError as error:
            raise ValueError(f"this model is no {family.architecture} of this {CONFIG_FILE}: {error}") from error
    if left := sorted(set(parameters) - {line.ours for each in lines.values() for line in each}):
        raise ValueError(f"a {family.architecture} has no place for {brief(left)}; use omniformer.save, our own format")
    return lines, expected


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    """All that is learned, or kept, each under its first name."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def brief(names: Sequence[str]) -> str:
    """The first names of a list, for messages."""
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown}, and {len(names) - 5} more"
