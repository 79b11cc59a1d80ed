"""A module without numbers, to be filled again once the real one has been divided between processes."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omniformer.parallel.tensors import whole


class Skeleton:
    """A copy of a module whose parameters take no memory.

    Args:
        module: still whole.

    Example:
        >>> skeleton = Skeleton(module := nn.Linear(2, 1))
        >>> torch.equal(skeleton.filled(module.state_dict()).weight, module.weight)
        True
    """

    def __init__(self, module: nn.Module) -> None:
        def empty(parameter: nn.Parameter) -> nn.Parameter:
            return nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)

        # What is in the memo is not copied, so that no number is.
        self._module = copy.deepcopy(module, {id(each): empty(each) for each in module.parameters()})

    def filled(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The module with the weights of a state dict, on the host; the skeleton is used up.

        Args:
            state: of whole tensors, such as `gather` gives.
        """
        names = {id(each): name for name, each in self._module.named_parameters()}
        filled: dict[int, nn.Parameter] = {}
        for part in self._module.modules():
            for name, empty in part.named_parameters(recurse=False):
                if id(empty) not in filled:
                    filled[id(empty)] = nn.Parameter(state[names[id(empty)]], requires_grad=empty.requires_grad)
                part.register_parameter(name, filled[id(empty)])
        self._module.load_state_dict(state)  # the buffers
        return self._module


def gather(module: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """The state of a module in whole tensors on the host; all processes must ask.

    Args:
        module: held in pieces.
        keep: whether this process wants them; the others get nothing, and need no room.
    """
    state = {}
    for name, each in module.state_dict().items():
        found = whole(each)
        if keep:
            state[name] = found.to("cpu", copy=True)  # pieces of unequal size leave a rest behind the numbers
    return state
