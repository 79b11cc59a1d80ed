"""The shared core: a stack of blocks over packed tokens, which knows no modality."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from omniformer.core.attention.multihead import Context, SelfAttention, head_dim_of
from omniformer.core.attention.plan import Plan, lower
from omniformer.core.block import Block, PreNorm
from omniformer.core.cache import KVCache
from omniformer.core.feedforward import FeedForward
from omniformer.core.init import depth_scaled
from omniformer.core.layout import Layout
from omniformer.core.norm import LayerNorm
from omniformer.core.positions import Rotary
from omniformer.core.rules import Full, Rule

Factory = Callable[..., nn.Module]


class Transformer(nn.Module):
    """A stack of transformer blocks ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)) over packed tokens.

    Parts are passed in as factories: the class itself, or `functools.partial` of it with arguments of one's own.

    Args:
        d_model: width of the residual stream.
        n_layers: number of blocks.
        n_heads: number of query heads of each block.
        n_kv_heads: number of key and value heads; as many as query heads by default.
        attention: makes the attention of a block, called with `d_model`, `n_heads`, `n_kv_heads`.
        feedforward: makes the feed-forward layer of a block, called with `d_model`.
        norm: makes a norm, called with a width.
        connection: makes a residual connection around attention or feed-forward: `PreNorm`, `PostNorm`, `SandwichNorm`.
        rotary: makes rotary positions, called with `head_dim`; None leaves positions to the embedders.
        final_norm: whether to normalise the output, as `PreNorm` needs.
        dropout: of the output of every branch.
        stochastic_depth: chance to skip a branch in the last block; it grows linearly from 0 in the first.
        init_std: deviation of initial weights; 0.02 as in GPT-2 and BERT.
        output_init: of the maps back onto the residual stream: "depth_scaled" divides by `sqrt(2 n_layers)`, "zero" lets
            every block begin as the identity ([Zhang et al. 2019](https://arxiv.org/abs/1901.09321)), "same" draws as
            elsewhere.
        checkpoint_blocks: whether to recompute each block in the backward pass instead of keeping its activations
            ([Chen et al. 2016](https://arxiv.org/abs/1604.06174)).
        kernel: the attention kernel to insist on; "auto" chooses by rule, shapes and device.

    Shapes:
        x `[tokens, d_model]` → `[tokens, d_model]`.

    Raises:
        ValueError: `n_heads` does not divide `d_model`, or `n_kv_heads` does not divide `n_heads`.

    Example:
        >>> import torch
        >>> core = Transformer(d_model=16, n_layers=2, n_heads=2)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 16])
    """

    def __init__(
        self,
        *,
        d_model: int,
        n_layers: int,
        n_heads: int,
        n_kv_heads: int | None = None,
        attention: Factory = SelfAttention,
        feedforward: Factory = FeedForward,
        norm: Factory = LayerNorm,
        connection: Factory = PreNorm,
        rotary: Callable[..., Rotary] | None = None,
        final_norm: bool = True,
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        init_std: float = 0.02,
        output_init: Literal["depth_scaled", "zero", "same"] = "depth_scaled",
        checkpoint_blocks: bool = False,
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        self.d_model, self.n_layers, self.n_heads = d_model, n_layers, n_heads
        self.init_std, self.output_init = init_std, output_init
        self.checkpoint_blocks, self.kernel = checkpoint_blocks, kernel
        self.rotary = None if rotary is None else rotary(head_dim=head_dim_of(d_model, n_heads))

        def block(layer: int) -> Block:
            def connect(branch: nn.Module) -> nn.Module:
                depth = stochastic_depth * layer / max(n_layers - 1, 1)
                return connection(branch, d_model=d_model, norm=norm, dropout=dropout, stochastic_depth=depth)

            return Block(
                attention=connect(attention(d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads)),
                feedforward=connect(feedforward(d_model)),
            )

        self.blocks = nn.ModuleList(block(layer) for layer in range(n_layers))
        self.norm = norm(d_model) if final_norm else nn.Identity()
        self.reset_parameters()

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        rule: Rule | None = None,
        *,
        plan: Plan | None = None,
        cache: KVCache | None = None,
        stages: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Mixes the tokens of each sample.

        Args:
            x: tokens of all samples, end to end.
            layout: where the samples begin and end.
            rule: who may attend to whom; everybody by default.
            plan: the rule already lowered for this layout, where the caller has it; `rule` is then not read.
            cache: keys and values of earlier tokens; `layout` must then be the one that `cache.extend` gave.
            stages: filled, when given, with the output of every block by name, for probing.
        """
        if plan is None:
            plan = lower(rule or Full(), layout, kernel=self.kernel)
        context = Context(plan=plan, rotation=None if self.rotary is None else self.rotary(layout))
        for i, block in enumerate(self.blocks):
            if cache is not None:
                context = replace(context, cache=cache.layers[i])
            if self.checkpoint_blocks and self.training:
                x = checkpoint(block, x, context, use_reentrant=False)  # pyright: ignore[reportAssignmentType]
            else:
                x = block(x, context)
            if stages is not None:
                stages[f"blocks.{i}"] = x
        return self.norm(x)

    def reset_parameters(self) -> None:
        """Draws all weights anew, from PyTorch's global generator."""
        scales = {"depth_scaled": depth_scaled(self.init_std, self.n_layers), "zero": 0.0, "same": self.init_std}
        for module in self.modules():
            if module is self or not hasattr(module, "reset_parameters") or isinstance(module, nn.Linear):
                continue
            if hasattr(module, "out") or hasattr(module, "down"):
                module.reset_parameters(self.init_std, scales[self.output_init])  # pyright: ignore[reportCallIssue]
            else:
                module.reset_parameters()  # pyright: ignore[reportCallIssue]
