"""Mixture of experts: many feed-forward layers, of which every token uses a few."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.attention.multihead import Context
from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.init import linear_
from omniformer.core.ranges import Count, NotNegative, Positive
from omniformer.core.routing import Routing, SoftmaxOfChosen

# What one product of all experts can read: rows of whole blocks of bytes, in these types.
_ROW_BYTES, _PRODUCTS = 16, (torch.float32, torch.bfloat16, torch.float16)


class MixtureOfExperts(nn.Module):
    """A router picks the `top_k` best of `n_experts` gated feed-forward layers for each token and mixes their outputs
    ([Shazeer et al. 2017](https://arxiv.org/abs/1701.06538); routing as in Mixtral,
    [Jiang et al. 2024](https://arxiv.org/abs/2401.04088), 2.1).

    An expert takes every token that asks for it: there is no capacity, and no token is dropped.

    Two auxiliary losses reach the task through the core's `losses`, weighted already: "load_balance" is
    `n_experts * sum(share of choices * mean probability)`, 1 when all experts are asked equally
    ([Fedus et al. 2021](https://arxiv.org/abs/2101.03961), 2.2); "router_z" is the mean square of the log of the
    router's partition sum, which keeps logits small ([Zoph et al. 2022](https://arxiv.org/abs/2202.08906), 3.2). Each
    expert's share of the choices stands in the core's `stages` as "blocks.<layer>.expert_load".

    Args:
        d_model: width of the residual stream.
        n_experts: number of experts.
        top_k: experts that a token uses; 2 as in Mixtral.
        d_ff: width inside an expert; `8/3 d_model` by default, rounded up to a multiple of 8.
        activation: of the experts' gate.
        gate: how gate and values of an expert meet; `activation(gate) * values` by default.
        bias: whether the router and the experts have offsets, as in gpt-oss.
        routing: chooses experts, called with `n_experts` and `top_k`: `SoftmaxOfChosen` as in Mixtral,
            `ChosenOfSoftmax`, `SigmoidRouting`.
        shared: makes a feed-forward layer beside the experts, which every token uses, called with `d_model`
            ([Dai et al. 2024](https://arxiv.org/abs/2401.06066), DeepSeekMoE, 3.2); none by default.
        load_balance: weight of that loss; 0.01 as in Fedus et al.
        router_z: weight of that loss; 0.001 as in Zoph et al.

    Raises:
        ValueError: `top_k` is not between 1 and `n_experts`.

    Example:
        >>> moe = MixtureOfExperts(8, n_experts=4)
        >>> moe(torch.randn(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        d_model: Count,
        *,
        n_experts: Count = 8,
        top_k: Count = 2,
        d_ff: Count | None = None,
        activation: Activation = "silu",
        gate: Callable[[Tensor, Tensor], Tensor] | None = None,
        bias: bool = False,
        routing: Callable[..., Routing] = SoftmaxOfChosen,
        shared: Callable[..., nn.Module] | None = None,
        load_balance: NotNegative = 0.01,
        router_z: NotNegative = 0.001,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_experts=n_experts, d_ff=d_ff)
        checks.not_negative(load_balance=load_balance, router_z=router_z)
        d_ff = -(-d_model // 3) * 8 if d_ff is None else d_ff
        self.n_experts, self.top_k = n_experts, top_k
        self.load_balance, self.router_z = load_balance, router_z
        self.routing = routing(n_experts=n_experts, top_k=top_k)
        self.router = nn.Linear(d_model, n_experts, bias=bias)
        self.gate_up = nn.Parameter(torch.empty(n_experts, 2 * d_ff, d_model))
        self.down = nn.Parameter(torch.empty(n_experts, d_model, d_ff))
        self.gate_up_bias = nn.Parameter(torch.empty(n_experts, 2 * d_ff)) if bias else None
        self.down_bias = nn.Parameter(torch.empty(n_experts, d_model)) if bias else None
        self.shared = None if shared is None else shared(d_model)
        self.activation, self.gate = activation_of(activation), gate
        self.draw_weights(0.02, 0.02)

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Maps each token `[tokens, d_model]` by the experts of its choice."""
        # Logits, softmax and losses in float32, also under autocast: a router decides on small differences.
        with torch.autocast(x.device.type, enabled=False):
            bias = None if self.router.bias is None else self.router.bias.float()
            logits = F.linear(x.float(), self.router.weight.float(), bias)
        weights, experts = self.routing(logits)
        weights = weights.to(x.dtype)
        mix = self._mix_all if torch.compiler.is_exporting() else self._mix
        out = mix(x, weights, experts)
        if context is not None and not torch.compiler.is_exporting():
            self._report(logits, experts, context)
        return out if self.shared is None else out + self.shared(x, context)

    def _mix(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """The weighted sum of each token's experts.

        Shapes:
            x `[tokens, d_model]`, weights and experts `[tokens, top_k]` → `[tokens, d_model]`.
        """
        # Choices sorted by expert: each expert then reads one run of rows. Nothing waits for the device.
        chosen, order = experts.flatten().sort(stable=True)
        ends = torch.searchsorted(chosen, torch.arange(self.n_experts, device=x.device), right=True, out_int32=True)
        token = order // self.top_k
        inside = self._meet(_by_group(x.index_select(0, token), self.gate_up, ends, self.gate_up_bias, chosen))
        outs = _by_group(inside, self.down, ends, self.down_bias, chosen)
        scaled = outs * weights.flatten()[order][:, None]
        return _sum_by_token(scaled, order, self.top_k)

    def _mix_all(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """The same from every expert computed for every token: as many operations whatever is chosen, for an exported
        program cannot ask.
        """
        shares = x.new_zeros(x.shape[0], self.n_experts).scatter(1, experts, weights)
        both = torch.einsum("td,efd->etf", x, self.gate_up)
        inside = self._meet(both if self.gate_up_bias is None else both + self.gate_up_bias[:, None])
        outs = torch.einsum("etf,edf->etd", inside, self.down)
        outs = outs if self.down_bias is None else outs + self.down_bias[:, None]
        return torch.einsum("te,etd->td", shares, outs)

    def _meet(self, both: Tensor) -> Tensor:
        """What stands between the maps of an expert, from gate and values side by side."""
        gate, values = both.chunk(2, dim=-1)
        return self.activation(gate) * values if self.gate is None else self.gate(gate, values)

    def expert(self, i: int, x: Tensor) -> Tensor:
        """What one expert makes of tokens, whoever chose it.

        Shapes:
            `[tokens, d_model]` → the same.
        """
        inside, down = (None if each is None else each[i] for each in (self.gate_up_bias, self.down_bias))
        return F.linear(self._meet(F.linear(x, self.gate_up[i], inside)), self.down[i], down)

    def _report(self, logits: Tensor, experts: Tensor, context: Context) -> None:
        """Leaves losses and load in the context. A batch without tokens leaves zeros."""
        n_tokens = max(len(logits), 1)
        load = experts.flatten().bincount(minlength=self.n_experts) / (n_tokens * self.top_k)
        probability = logits.softmax(-1).sum(0) / n_tokens
        balance = self.n_experts * (load * probability).sum()
        z = logits.logsumexp(-1).square().sum() / n_tokens
        context.report.add_losses(load_balance=self.load_balance * balance, router_z=self.router_z * z)
        context.report.stages[f"blocks.{context.layer}.expert_load"] = load

    def draw_weights(self, std: float, output_std: float) -> None:
        linear_(self.router, std)
        nn.init.normal_(self.gate_up, std=std)
        nn.init.normal_(self.down, std=output_std) if output_std else nn.init.zeros_(self.down)
        for offset in (self.gate_up_bias, self.down_bias):
            if offset is not None:
                nn.init.zeros_(offset)


class ClampedSwiGLU:
    """`gate sigmoid(alpha gate) (values + 1)` of gates that are cut above and values that are cut on both sides
    ([OpenAI 2025](https://arxiv.org/abs/2508.10925), gpt-oss, 2.3).

    Args:
        alpha: 1.702 as in gpt-oss, which makes it nearly a GELU.
        limit: where both are cut.

    Example:
        >>> ClampedSwiGLU(limit=1.0)(torch.tensor([0.0, 9.0]), torch.tensor([3.0, -9.0])).tolist()
        [0.0, 0.0]
    """

    def __init__(self, *, alpha: Positive = 1.702, limit: Positive = 7.0) -> None:
        checks.positive(alpha=alpha, limit=limit)
        self.alpha, self.limit = alpha, limit

    def __call__(self, gate: Tensor, values: Tensor) -> Tensor:
        """Joins both, of any shape."""
        gate, values = gate.clamp(max=self.limit), values.clamp(-self.limit, self.limit)
        return gate * (self.alpha * gate).sigmoid() * (values + 1)


def _by_group(x: Tensor, weight: Tensor, ends: Tensor, bias: Tensor | None, group: Tensor) -> Tensor:
    """Runs of rows, each through the map of its group.

    Shapes:
        x `[rows, in]`, weight `[groups, out, in]`, ends int32 `[groups]`, bias `[groups, out]`, group int64 `[rows]` →
        `[rows, out]`.
    """
    if torch.is_autocast_enabled(x.device.type):  # the fused product does not know of it
        x, weight = (each.to(torch.get_autocast_dtype(x.device.type)) for each in (x, weight))
    if x.dtype in _PRODUCTS and all(width * x.element_size() % _ROW_BYTES == 0 for width in weight.shape[1:]):
        out = F.grouped_mm(x, weight.transpose(-1, -2), offs=ends)
    else:  # rows that the fused product cannot read
        runs = x.tensor_split(ends[:-1].tolist())
        out = torch.cat([F.linear(run, each) for run, each in zip(runs, weight, strict=True)])
    return out if bias is None else out + bias.to(out.dtype).index_select(0, group)


def _sum_by_token(scaled: Tensor, order: Tensor, top_k: int) -> Tensor:
    """The sum over each token's choices, always in the order of choice, so that it is the same from run to run.

    Shapes:
        scaled `[tokens * top_k, d_model]`, sorted by expert; order int64, the choice that each row answers.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return scaled.index_select(0, place).unflatten(0, (len(order) // top_k, top_k)).sum(1)
