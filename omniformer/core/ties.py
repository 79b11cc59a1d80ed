"""Weights that several parts of a model share."""

from torch import nn


def tie(whole: nn.Module, taken: str, given: str) -> None:
    """Puts one weight in the place of another, so that both names mean it from then on.

    Args:
        whole: holds both.
        taken: the name of the weight that is replaced.
        given: the name of the weight that takes its place.

    Raises:
        ValueError: there is no such weight, or their shapes differ.

    Example:
        >>> pair = nn.ModuleDict({"read": nn.Embedding(9, 4), "write": nn.Linear(4, 9, bias=False)})
        >>> tie(pair, "write.weight", "read.weight")
        >>> pair["write"].weight is pair["read"].weight
        True
    """
    try:
        old, new = whole.get_parameter(taken), whole.get_parameter(given)
    except AttributeError as error:
        raise ValueError(f"ties.{taken}: {error}") from None
    if old.shape != new.shape:
        raise ValueError(f"ties.{taken} has shape {list(old.shape)}, {given} has {list(new.shape)}; they must agree")
    owner, _, name = taken.rpartition(".")
    setattr(whole.get_submodule(owner), name, new)
