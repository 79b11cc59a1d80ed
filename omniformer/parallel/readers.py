"""Which processes of a run read samples of their own: all, except where several compute one model together."""

from typing import Any

from lightning.pytorch import Trainer
from torch import distributed

_group: list[Any] = []  # of the processes that read other samples than this one, where these are not all


def place(trainer: Trainer) -> tuple[int, int]:
    """The number of this process among those that read samples of their own, and how many there are; processes that
    read the same samples have the same number.

    Args:
        trainer: knows the processes.
    """
    return trainer.global_rank // together(trainer), trainer.world_size // together(trainer)


def together(trainer: Trainer) -> int:
    """How many processes read the same samples.

    Args:
        trainer: knows the processes.
    """
    return getattr(getattr(trainer, "strategy", None), "together", 1)


def are(*groups: Any) -> None:
    """Says which processes read other samples than this one, itself included; without a group, all do from now on."""
    _group[:] = groups


def group() -> Any:
    """The processes that read other samples than this one, itself included; all of them where nobody said otherwise."""
    return _group[0] if _group else distributed.group.WORLD
