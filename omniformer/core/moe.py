"""Mixture of experts: many feed-forward layers, of which every token uses a few."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.attention.multihead import Context
from omniformer.core.feedforward import Activation, activation_of
from omniformer.core.init import linear_
from omniformer.core.ranges import Count, NotNegative


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
        load_balance: NotNegative = 0.01,
        router_z: NotNegative = 0.001,
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, n_experts=n_experts, d_ff=d_ff)
        checks.not_negative(load_balance=load_balance, router_z=router_z)
        if not 1 <= top_k <= n_experts:
            raise ValueError(f"top_k={top_k} must be between 1 and n_experts={n_experts}")
        d_ff = -(-d_model // 3) * 8 if d_ff is None else d_ff
        self.n_experts, self.top_k = n_experts, top_k
        self.load_balance, self.router_z = load_balance, router_z
        self.router = nn.Linear(d_model, n_experts, bias=False)
        self.gate_up = nn.Parameter(torch.empty(n_experts, 2 * d_ff, d_model))
        self.down = nn.Parameter(torch.empty(n_experts, d_model, d_ff))
        self.activation = activation_of(activation)
        self.draw_weights(0.02, 0.02)

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Maps each token `[tokens, d_model]` by the experts of its choice."""
        # Logits, softmax and losses in float32, also under autocast: a router decides on small differences.
        with torch.autocast(x.device.type, enabled=False):
            logits = F.linear(x.float(), self.router.weight.float())
        weights, experts = logits.topk(self.top_k, dim=-1)
        weights = weights.softmax(-1).to(x.dtype)
        if torch.compiler.is_exporting():
            return self._mix_all(x, weights, experts)
        if context is not None:
            self._report(logits, experts, context)
        return self._mix(x, weights, experts)

    def _mix(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """The weighted sum of each token's experts.

        Shapes:
            x `[tokens, d_model]`, weights and experts `[tokens, top_k]` → `[tokens, d_model]`.
        """
        # Choices sorted by expert: each expert then reads one run of rows.
        order = experts.flatten().argsort(stable=True)
        token = order // self.top_k
        counts = experts.flatten().bincount(minlength=self.n_experts).tolist()
        runs = x.index_select(0, token).split(counts)
        outs = [self._expert(i, run) for i, run in enumerate(runs)]
        scaled = torch.cat(outs) * weights.flatten()[order][:, None]
        return _sum_by_token(scaled, order, self.top_k)

    def _mix_all(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """The same from every expert computed for every token: as many operations whatever is chosen, for an exported
        program cannot ask.
        """
        shares = x.new_zeros(x.shape[0], self.n_experts).scatter(1, experts, weights)
        gate, up = torch.einsum("td,efd->etf", x, self.gate_up).chunk(2, dim=-1)
        outs = torch.einsum("etf,edf->etd", self.activation(gate) * up, self.down)
        return torch.einsum("te,etd->td", shares, outs)

    def _expert(self, i: int, x: Tensor) -> Tensor:
        gate, up = F.linear(x, self.gate_up[i]).chunk(2, dim=-1)
        return F.linear(self.activation(gate) * up, self.down[i])

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


def _sum_by_token(scaled: Tensor, order: Tensor, top_k: int) -> Tensor:
    """The sum over each token's choices, always in the order of choice, so that it is the same from run to run.

    Shapes:
        scaled `[tokens * top_k, d_model]`, sorted by expert; order int64, the choice that each row answers.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return scaled.index_select(0, place).unflatten(0, (len(order) // top_k, top_k)).sum(1)
