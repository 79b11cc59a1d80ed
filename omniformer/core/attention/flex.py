"""Attention by FlexAttention: any rule on CUDA, with blocks that the rule empties left out."""

import warnings
from collections.abc import Callable
from functools import cached_property, lru_cache
from types import FunctionType
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from omniformer.core.attention.banded import Banded
from omniformer.core.attention.blocks import Blocks
from omniformer.core.attention.dense import Dense
from omniformer.core.attention.kernel import Kernel, Weighing
from omniformer.core.layout import Layout, View
from omniformer.core.rules import Rule

MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Flex(Kernel):
    """The whole packed batch as one sequence, with a block mask made from layout and rule
    ([Dong et al. 2024](https://arxiv.org/abs/2412.05496)).

    A score function is compiled into the kernel. Biases and dropout, which FlexAttention does not know in our form, run
    by `Banded` or `Dense` instead. On a CPU there is only a forward pass, uncompiled: enough to test the mask, too slow
    to use. Chosen by name only, until it has been measured on a GPU.

    Samples meet inside a block at their borders, with weights of exactly zero; unlike in the other kernels a NaN in one
    sample can there reach its neighbours.

    Raises:
        ValueError: gradients are asked for on a CPU.
    """

    name = "flex"

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        self.rule, self.layout, self.key_layout = rule, layout, key_layout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        score = how.score
        if how.bias is not None or how.dropout > 0.0 or not len(q) or not len(k):
            return self._plain.attend(q, k, v, how)
        on_cpu = q.device.type == "cpu"
        if on_cpu and torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
            raise ValueError(
                "kernel 'flex' has no backward pass on a CPU; choose kernel='auto', or run under torch.no_grad()"
            )
        q, k, v = (rearrange(x, "tokens heads head_dim -> 1 heads tokens head_dim") for x in (q, k, v))
        out = (_uncompiled if on_cpu else compiled(_attention, self.rule))(
            q,
            k,
            v,
            score_mod=None if score is None else lambda value, batch, head, query, key: score(value),
            block_mask=self._block_mask,
            scale=how.scale,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        return rearrange(out, "1 heads tokens head_dim -> tokens heads head_dim")

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        return self._plain.lse(q, k, how)

    @cached_property
    def _block_mask(self) -> BlockMask:
        # Once outside the compiler: rules check the layout at first use, and may compute what they remember of it.
        self.rule.attend(self.layout.view()[:1, None], self.key_layout.view()[None, :1])
        on_cpu = self.layout.offsets.device.type == "cpu"
        create = create_block_mask if on_cpu else compiled(_block_mask, self.rule)
        mod = mask_mod(self.rule, self.layout, self.key_layout)
        return create(mod, None, None, self.layout.n_tokens, self.key_layout.n_tokens, device=str(self.layout.device))

    @cached_property
    def _plain(self) -> Blocks:
        kernel = Banded if self.rule.reach().bounded else Dense
        return kernel(self.rule, self.layout, self.key_layout)


def mask_mod(rule: Rule, layout: Layout, key_layout: Layout) -> MaskMod:
    """The rule on this batch, samples kept apart, as FlexAttention asks about it: one pair of places at a time."""

    def attends(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        q, k = View(layout, query), View(key_layout, key)
        return (q.sample == k.sample) & rule.attend(q, k)

    return attends


def _uncompiled(*args: Any, **kwargs: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile", UserWarning)
        return flex_attention(*args, **kwargs)  # pyright: ignore[reportReturnType]


def _attention(*args: Any, **kwargs: Any) -> Any:
    return flex_attention(*args, **kwargs)


def _block_mask(*args: Any, **kwargs: Any) -> Any:
    return create_block_mask(*args, **kwargs)


@lru_cache(maxsize=64)
def compiled(function: FunctionType, rule: Rule) -> Callable[..., Any]:
    """A function compiled for one rule alone; equal rules share it.

    The compiler keeps what it made beside the function's code, and decides by guards whether it fits the next call.
    What a rule reads of itself is compiled in as constants, so each rule gets code of its own and no guard to pass.
    """
    code = function.__code__.replace(co_name=f"{function.__name__}_by_rule")
    return torch.compile(FunctionType(code, function.__globals__))
