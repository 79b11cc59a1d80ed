"""One yes-or-no question to all ranks."""

import torch
import torch.distributed as dist
from lightning import Trainer

from omniformer.parallel import readers


class Agreement:
    """Lets all ranks act on what one of them has seen; with a single rank it costs nothing.

    The question travels between hosts, not devices, so asking it does not wait for a GPU. All ranks must construct
    it, and ask, at the same points of the program.

    Args:
        trainer: knows how many ranks there are; its process group must be up (true from the `setup` hook on).
    """

    def __init__(self, trainer: Trainer) -> None:
        self._alone = trainer.world_size == 1
        self._together = readers.together(trainer)
        self._group: dist.ProcessGroup | None = None
        if not self._alone and dist.get_backend() != "gloo":
            group = dist.new_group(backend="gloo")
            assert isinstance(group, dist.ProcessGroup)  # every rank is a member
            self._group = group

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on at least one rank."""
        if self._alone:
            return flag
        flags = torch.tensor([int(flag)])
        dist.all_reduce(flags, op=dist.ReduceOp.MAX, group=self._group)
        return bool(flags.item())

    def gather(self, value: object) -> list[object]:
        """Everybody's value, by rank; for rare events only, since it is slow."""
        if self._alone:
            return [value]
        values: list[object] = [None] * dist.get_world_size()
        dist.all_gather_object(values, value, group=self._group)
        return values

    def gather_read(self, value: object) -> list[object]:
        """What everybody makes of samples, once for the ranks that read the same ones; for rare events too."""
        return self.gather(value)[:: self._together]
