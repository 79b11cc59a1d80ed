"""The shared core: a stack of blocks over packed tokens, which knows no modality."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from omniformer.core import checks
from omniformer.core.attention.multihead import Context, Report, SelfAttention
from omniformer.core.attention.plan import Plan, check_kernel, lower
from omniformer.core.biases import Remembered
from omniformer.core.block import Block, Factory, Parts
from omniformer.core.cache import Cache
from omniformer.core.connection import PreNorm
from omniformer.core.feedforward import FeedForward
from omniformer.core.init import depth_scaled, reset
from omniformer.core.layer_kinds import LayerKind, repeated
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.norm import LayerNorm
from omniformer.core.ranges import BelowOne, Count, Positive
from omniformer.core.rotary import Rotary, Rotation
from omniformer.core.rules import Full, Rule

_OUTPUT_INITS = ("depth_scaled", "zero", "same")
_KEEPS = ("nothing", "products")
_aten = torch.ops.aten
_PRODUCTS: Any = [
    *(_aten.mm.default, _aten.addmm.default, _aten.bmm.default, _aten.baddbmm.default),
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._flash_attention_forward.default,
]
_keeping_products = partial(create_selective_checkpoint_contexts, _PRODUCTS)


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
        connection: makes a residual connection around a branch: `PreNorm`, `PostNorm`, `SandwichNorm`, `LayerScale`,
            `AdaptiveNorm`.
        block: makes a block of these parts, called with `Parts`: `Block`, `ParallelBlock`, `CrossBlock`,
            `GatedCrossBlock`.
        rotary: makes rotary positions, called with `head_dim`; None leaves positions to the embedders.
        pattern: the kind of each layer by name, repeated until there are `n_layers`, such as
            `["window", "window", "full"]`; with one kind or none it may be left out.
        kinds: what the layers of each kind have of their own; by default all layers are alike.
        pair_bias: makes additive scores that all layers share, called with `n_heads`; none by default. Scores of each
            layer's own are an argument of `SelfAttention`.
        final_norm: whether to normalise the output, as `PreNorm` needs.
        dropout: of the output of every branch.
        stochastic_depth: chance to skip a branch in the last block; it grows linearly from 0 in the first.
        init_std: deviation of initial weights; 0.02 as in GPT-2 and BERT.
        output_init: of the maps back onto the residual stream: "depth_scaled" divides by `sqrt(2 n_layers)`, "zero"
            lets every block begin as the identity ([Zhang et al. 2019](https://arxiv.org/abs/1901.09321)), "same" draws
            as elsewhere.
        checkpoint_blocks: whether to recompute blocks in the backward pass instead of keeping their activations
            ([Chen et al. 2016](https://arxiv.org/abs/1604.06174)): each one, or every so many, the first included.
        checkpoint_keeps: what such blocks keep nevertheless: "nothing", or "products", the results of linear maps and
            of fused attention, so that only norms, activations and the like are computed again
            ([Korthikanti et al. 2022](https://arxiv.org/abs/2205.05198)).
        kernel: the attention kernel to insist on, in cross-attention too; "auto" chooses by rule, shapes and device.

    Shapes:
        x `[tokens, d_model]` → `[tokens, d_model]`.

    Raises:
        ValueError: a number is out of its range, `output_init` or `kernel` is unknown, `n_heads` does not divide
            `d_model`, or `n_kv_heads` does not divide `n_heads`; with `rotary`, the attention does not turn its heads
            or the layers that share it differ in their width; `pattern` and `kinds` do not go together.

    Example:
        >>> import torch
        >>> core = Transformer(d_model=16, n_layers=2, n_heads=2)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 16])
    """

    reads_padded = True
    """Whether the rows of a padded batch may come in, with a `PaddedLayout`."""

    def __init__(
        self,
        *,
        d_model: Count,
        n_layers: Count,
        n_heads: Count,
        n_kv_heads: Count | None = None,
        attention: Factory = SelfAttention,
        feedforward: Factory = FeedForward,
        norm: Factory = LayerNorm,
        connection: Factory = PreNorm,
        block: Factory = Block,
        rotary: Callable[..., Rotary] | None = None,
        pattern: Sequence[str] | None = None,
        kinds: Mapping[str, LayerKind] | None = None,
        pair_bias: Factory | None = None,
        final_norm: bool = True,
        dropout: BelowOne = 0.0,
        stochastic_depth: BelowOne = 0.0,
        init_std: Positive = 0.02,
        output_init: Literal["depth_scaled", "zero", "same"] = "depth_scaled",
        checkpoint_blocks: bool | Count = False,
        checkpoint_keeps: Literal["nothing", "products"] = "nothing",
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_kv_heads)
        checks.below_one(dropout=dropout, stochastic_depth=stochastic_depth)
        checks.positive(init_std=init_std)
        if checkpoint_blocks is not False:
            checks.counts(checkpoint_blocks=checkpoint_blocks)
        checks.known(_OUTPUT_INITS, output_init=output_init)
        checks.known(_KEEPS, checkpoint_keeps=checkpoint_keeps)
        check_kernel(kernel)
        self.d_model, self.n_layers, self.n_heads = d_model, n_layers, n_heads
        self.init_std, self.output_init = init_std, output_init
        self.checkpoint_blocks, self.checkpoint_keeps, self.kernel = checkpoint_blocks, checkpoint_keeps, kernel
        parts = Parts(
            layer=0,
            d_model=d_model,
            n_heads=n_heads,
            n_kv_heads=n_kv_heads,
            attention=attention,
            feedforward=feedforward,
            norm=norm,
            connection=connection,
            dropout=dropout,
            stochastic_depth=0.0,
        )
        depths = [stochastic_depth * layer / max(n_layers - 1, 1) for layer in range(n_layers)]
        if pattern is not None and not kinds:
            raise ValueError(f"pattern={list(pattern)} needs kinds=, which says what the layers of each kind have")
        self.layer_kinds = dict(kinds or {"layer": LayerKind()})
        self.kind_of_layer = repeated(pattern, self.layer_kinds, n_layers)
        parts_of = {name: kind.parts(parts) for name, kind in self.layer_kinds.items()}
        self.blocks = nn.ModuleList(
            block(replace(parts_of[self.kind_of_layer[layer]], layer=layer, stochastic_depth=depth))
            for layer, depth in enumerate(depths)
        )
        self.norm = norm(d_model) if final_norm else nn.Identity()
        self.pair_bias = None if pair_bias is None else pair_bias(n_heads=n_heads)
        sharing = {name for name, kind in self.layer_kinds.items() if kind.rotary == "stack"}
        if rotary is not None and not sharing:
            raise ValueError("no kind of layer uses rotary= of the stack, as each has its own; leave it out")
        self.rotary = None if rotary is None else rotary(head_dim=self._rotated_width(sharing))
        # A part for each kind that turns its heads in its own way; None for the others.
        self.own_rotary = nn.ModuleList(
            kind.rotary(head_dim=self._rotated_width({name})) if callable(kind.rotary) else None  # pyright: ignore[reportArgumentType]
            for name, kind in self.layer_kinds.items()
        )
        self.reset_parameters()

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        rule: Rule | None = None,
        *,
        plan: Plan | None = None,
        cache: Cache | None = None,
        memory: Memory | None = None,
        condition: Tensor | None = None,
        stages: dict[str, Tensor] | None = None,
        losses: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Mixes the tokens of each sample.

        Args:
            x: tokens of all samples, end to end.
            layout: where the samples begin and end.
            rule: who may attend to whom; everybody by default.
            plan: the rule already lowered for this layout, where the caller has it; `rule` is then not read.
            cache: keys and values of earlier tokens; `layout` must then be the one that `cache.extend` gave.
            memory: tokens of another sequence, for blocks with cross-attention. A cache keeps it from the first call
                on.
            condition: one vector for each sample, for `AdaptiveNorm`.
            stages: filled, when given, with the output of every block by name, and with what parts report, for probing.
            losses: filled, when given, with the auxiliary losses of parts such as a mixture of experts, by name: each
                is weighted already and the mean over layers, so that a task adds them up.

        Shapes:
            x `[tokens, d_model]`, condition `[samples, d_condition]` → `[tokens, d_model]`.

        Raises:
            ValueError: x, condition, memory or plan do not fit the layout; the cache has not announced it, has another
                number of layers, or does not hold what the rule may ask for.
        """
        self._check(x, layout, condition)
        contexts = self._contexts(layout, rule, plan, cache, memory, condition)
        x = self.through(x, contexts, stages)
        report = contexts[0].report
        if stages is not None:
            stages.update(report.stages)
        if losses is not None:
            losses.update(report.mean_losses())
        return self.norm(x)

    def through(self, x: Tensor, contexts: list[Context], stages: dict[str, Tensor] | None) -> Tensor:
        """Passes the tokens through all blocks; a subclass may connect them in its own way.

        Args:
            contexts: what each block reads.
            stages: filled, when given, with the output of every block.
        """
        every = int(self.checkpoint_blocks) if self.training else 0
        if self.pair_bias is not None and not every:
            shared: Any = Remembered(self.pair_bias)  # pyright: ignore[reportArgumentType]
            contexts = [replace(context, bias=shared) for context in contexts]
        for i, (block, context) in enumerate(zip(self.blocks, contexts, strict=True)):
            again = every and i % every == 0
            out: Any = self._recomputed(block, x, context) if again else block(x, context)
            x = out
            if stages is not None:
                stages[f"blocks.{i}"] = x
        return x

    def _recomputed(self, block: nn.Module, x: Tensor, context: Context) -> Any:
        keeps: dict[str, Any] = {} if self.checkpoint_keeps == "nothing" else {"context_fn": _keeping_products}
        return checkpoint(block, x, context, use_reentrant=False, **keeps)

    @property
    def units(self) -> list[nn.Module]:
        """The parts that are called one after the other, all of them in every pass: what holds its weights in pieces
        gathers those of one unit at a time (`omniformer.parallel.fsdp`).
        """
        return list(self.blocks)

    @property
    def reads_memory(self) -> bool:
        """Whether any block has cross-attention."""
        return any(getattr(part, "reads_memory", False) for part in self.blocks.modules())

    def reset_parameters(self) -> None:
        """Draws all weights anew, from PyTorch's global generator."""
        scales = {"depth_scaled": depth_scaled(self.init_std, self.n_layers), "zero": 0.0, "same": self.init_std}
        for part in self.children():
            reset(part, self.init_std, scales[self.output_init])

    def _contexts(
        self,
        layout: Layout,
        rule: Rule | None,
        plan: Plan | None,
        cache: Cache | None,
        memory: Memory | None,
        condition: Tensor | None,
    ) -> list[Context]:
        """What each block reads; all of it is made once, for all layers or for all of a kind."""
        if cache is not None:
            cache.check(layout, self.n_layers)
            memory = cache.remember(memory)
        if plan is not None:
            plan.check(layout, layout if cache is None else cache.seen)
        shared: dict[str, Any] = {
            "bias": self.pair_bias,
            "memory": memory,
            "memory_plan": None if memory is None else memory.plan(layout, kernel=self.kernel),
            "condition": condition,
            "report": Report(),
        }
        plans, rotations = self._plans(layout, rule, plan, cache), self._rotations(layout, cache)
        caches = [None] * self.n_layers if cache is None else cache.layers
        return [
            Context(plan=plans[kind], rotation=rotations[kind], layer=layer, cache=caches[layer], **shared)
            for layer, kind in enumerate(self.kind_of_layer)
        ]

    def rules(self, rule: Rule | None = None) -> list[Rule]:
        """Who may attend to whom in each layer, under the rule of a call; everybody by default."""
        rule = rule or Full()
        own = {name: rule if kind.rule is None else rule & kind.rule for name, kind in self.layer_kinds.items()}
        return [own[name] for name in self.kind_of_layer]

    def _plans(self, layout: Layout, rule: Rule | None, plan: Plan | None, cache: Cache | None) -> dict[str, Plan]:
        """The plan of each kind of layer; kinds that narrow the rule of the call in the same way share one."""
        rules = self.rules(rule if plan is None else plan.rule)
        found: dict[Rule | None, Plan] = {} if plan is None else {None: plan}
        for name, kind in self.layer_kinds.items():
            layer = self.kind_of_layer.index(name)
            if kind.rule in found:
                continue
            if cache is None:
                found[kind.rule] = lower(rules[layer], layout, kernel=self.kernel)
            else:
                found[kind.rule] = cache.plan(rules[layer], kernel=self.kernel, layer=layer)
        return {name: found[kind.rule] for name, kind in self.layer_kinds.items()}

    def _rotations(self, layout: Layout, cache: Cache | None) -> dict[str, Rotation | None]:
        """The rotary positions of each kind of layer."""
        seen = None if cache is None else cache.seen
        shared = None if self.rotary is None else self.rotary(layout, seen)
        return {
            name: own(layout, seen) if own is not None else shared if kind.rotary == "stack" else None
            for (name, kind), own in zip(self.layer_kinds.items(), self.own_rotary, strict=True)
        }

    def _check(self, x: Tensor, layout: Layout, condition: Tensor | None) -> None:
        layout.admit(self)
        if x.shape != (layout.n_tokens, self.d_model):
            raise ValueError(
                f"x has shape {list(x.shape)}; a layout of {layout.n_tokens} tokens and d_model={self.d_model} need "
                f"[{layout.n_tokens}, {self.d_model}]"
            )
        if condition is not None and len(condition) != layout.n_samples:
            raise ValueError(
                f"condition has {len(condition)} rows for {layout.n_samples} samples; it needs one for each"
            )

    def _rotated_width(self, kinds: set[str]) -> int:
        """Features of a head that rotary positions may turn, as the parts of all blocks of these kinds say."""
        blocks = [block for block, kind in zip(self.blocks, self.kind_of_layer, strict=True) if kind in kinds]
        said = (getattr(part, "rotated_width", None) for block in blocks for part in block.modules())
        widths = {width for width in said if width is not None}
        if len(widths) == 1:
            return widths.pop()
        found = f"has heads of {sorted(widths)} features" if widths else "turns no heads"
        raise ValueError(f"rotary= needs attention with heads of one width to turn; the attention of this core {found}")
