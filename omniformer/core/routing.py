"""Which experts a token goes to, and how much each of them counts."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.ranges import Count, NotNegative


class Routing(nn.Module, ABC):
    """Chooses experts by the router's logits.

    Args:
        n_experts: number of experts.
        top_k: experts that a token uses.
    """

    def __init__(self, *, n_experts: Count, top_k: Count) -> None:
        super().__init__()
        if not 1 <= top_k <= n_experts:
            raise ValueError(f"top_k={top_k} must be between 1 and n_experts={n_experts}")
        self.n_experts, self.top_k = n_experts, top_k

    @abstractmethod
    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """What the chosen experts count, and their numbers.

        Shapes:
            float32 `[tokens, n_experts]` → float32 `[tokens, top_k]`, int64 `[tokens, top_k]`.
        """

    def stepped(self, everywhere: Callable[[Tensor], Tensor]) -> None:
        """What changes after an optimizer step, which whoever trains tells; nothing here.

        Args:
            everywhere: adds up counts over all processes that train together.
        """


class SoftmaxOfChosen(Routing):
    """The best logits, and a softmax over these alone, so that they add up to one
    ([Jiang et al. 2024](https://arxiv.org/abs/2401.04088), 2.1).

    Example:
        >>> weights, experts = SoftmaxOfChosen(n_experts=3, top_k=2)(torch.tensor([[1.0, 5.0, 1.0]]))
        >>> experts[0, 0].item(), round(weights.sum().item(), 4)
        (1, 1.0)
    """

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        weights, experts = logits.topk(self.top_k, dim=-1)
        return weights.softmax(-1), experts


class ChosenOfSoftmax(Routing):
    """The best of a softmax over all experts, as they are: they add up to less than one
    ([Fedus et al. 2021](https://arxiv.org/abs/2101.03961), 2.1; Qwen's first mixtures).

    Example:
        >>> weights, experts = ChosenOfSoftmax(n_experts=2, top_k=1)(torch.zeros(1, 2))
        >>> weights.tolist()
        [[0.5]]
    """

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        weights, experts = logits.softmax(-1).topk(self.top_k, dim=-1)
        return weights, experts


class SigmoidRouting(Routing):
    """Each expert is judged by itself, by a sigmoid. For the choice an offset is added, which evens out the load
    without any loss; what a chosen expert counts is its sigmoid alone, as a share of those of all chosen
    ([DeepSeek-AI 2024](https://arxiv.org/abs/2412.19437), 2.1.2).

    The offsets are kept with the weights and get no gradient: after each optimizer step they are moved by what was
    asked for since the last one (`stepped`).

    Args:
        n_experts: number of experts.
        top_k: experts that a token uses.
        scale: factor of what the experts count; 2.5 in DeepSeek-V3.
        n_groups: groups of experts, of which only the best are looked at; a group is as good as its two best experts.
        top_groups: how many groups are looked at; all by default.
        step: how far the offsets move after each optimizer step; 0.001 as in DeepSeek-V3, 0 leaves them.

    Raises:
        ValueError: `n_groups` does not divide `n_experts`, or the groups that are looked at hold fewer than `top_k`
            experts.

    Example:
        >>> weights, experts = SigmoidRouting(n_experts=2, top_k=1, scale=2.0)(torch.zeros(1, 2))
        >>> weights.tolist()
        [[2.0]]
    """

    offset: Tensor

    def __init__(
        self,
        *,
        n_experts: Count,
        top_k: Count,
        scale: NotNegative = 1.0,
        n_groups: Count = 1,
        top_groups: Count | None = None,
        step: NotNegative = 0.001,
    ) -> None:
        super().__init__(n_experts=n_experts, top_k=top_k)
        checks.not_negative(step=step)
        top_groups = n_groups if top_groups is None else top_groups
        size, rest = divmod(n_experts, n_groups)
        if rest or not 1 <= top_groups <= n_groups or size * top_groups < top_k or (n_groups > 1 and size < 2):
            raise ValueError(
                f"n_groups={n_groups} must divide n_experts={n_experts} into groups of two and more, of which "
                f"top_groups={top_groups} must hold top_k={top_k} experts"
            )
        self.scale, self.n_groups, self.top_groups = scale, n_groups, top_groups
        self.step = step
        self.register_buffer("offset", torch.zeros(n_experts))
        # How often each expert was asked since the last step; no buffer, which DDP would make equal on all ranks.
        self._asked: Tensor | None = None

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        scores = logits.sigmoid()
        judged = scores + self.offset.to(scores.dtype)
        if self.top_groups < self.n_groups:
            groups = judged.unflatten(-1, (self.n_groups, -1))
            best = groups.topk(2, dim=-1).values.sum(-1).topk(self.top_groups, dim=-1).indices
            kept = torch.zeros_like(groups[..., 0], dtype=torch.bool).scatter(-1, best, True)
            judged = groups.masked_fill(~kept[..., None], -torch.inf).flatten(-2)
        experts = judged.topk(self.top_k, dim=-1).indices
        if self.training and torch.is_grad_enabled():
            asked = experts.flatten().bincount(minlength=self.n_experts)
            self._asked = asked if self._asked is None else self._asked + asked
        weights = scores.gather(-1, experts)
        return weights / (weights.sum(-1, keepdim=True) + 1e-20) * self.scale, experts

    @torch.no_grad()
    def stepped(self, everywhere: Callable[[Tensor], Tensor]) -> None:
        """Makes experts that were asked too often a little less attractive, and the others more."""
        asked = torch.zeros_like(self.offset, dtype=torch.long) if self._asked is None else self._asked
        asked, self._asked = everywhere(asked), None
        self.offset += self.step * (asked.sum() - asked * self.n_experts).sign().to(self.offset.dtype)
