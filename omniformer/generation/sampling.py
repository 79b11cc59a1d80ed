"""Choosing the next token from the model's scores."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Draws the next id: the most probable one, or at random from the head of the distribution.

    Args:
        temperature: divides the scores; 0 takes the most probable id (greedy), 1 draws from the model's distribution.
        top_k: draws among the k most probable ids only ([Fan et al. 2018](https://arxiv.org/abs/1805.04833)).
        top_p: draws among the fewest ids that together have this probability
            ([Holtzman et al. 2019](https://arxiv.org/abs/1904.09751)).
        min_p: drops ids less probable than this share of the most probable one
            ([Nguyen et al. 2024](https://arxiv.org/abs/2407.01082)).
        seed: of the draws; the same seed gives the same text.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> Sampler(temperature=0.0)(torch.tensor([[0.1, 2.0, 0.3]])).tolist()
        [1]
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int = 0
    _generator: torch.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must be at least 0 (0 is greedy)")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k={self.top_k} must be at least 1, or left out")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p)):
            if share is not None and not 0 < share <= 1:
                raise ValueError(f"{name}={share} must be above 0 and at most 1, or left out")
        # Draws happen on the host, so that a seed gives the same text on every device.
        object.__setattr__(self, "_generator", torch.Generator().manual_seed(self.seed))

    def __call__(self, logits: Tensor) -> Tensor:
        """Draws one id for each row.

        Shapes:
            logits `[samples, vocab_size]` → int64 `[samples]`.
        """
        if self.temperature == 0:
            return logits.argmax(-1)
        probabilities = self.probabilities(logits)
        drawn = torch.multinomial(probabilities.cpu(), 1, generator=self._generator)
        return drawn[:, 0].to(logits.device)

    def probabilities(self, logits: Tensor) -> Tensor:
        """The distribution that ids are drawn from.

        Shapes:
            logits `[samples, vocab_size]` → the same, rows that add up to one.
        """
        scores = logits.double() / self.temperature
        ranked, order = scores.sort(stable=True, dim=-1, descending=True)
        probabilities = ranked.softmax(-1)
        kept = torch.ones_like(probabilities, dtype=torch.bool)
        if self.top_k is not None:
            kept[..., self.top_k :] = False
        if self.top_p is not None:
            # An id stays while those before it do not have the probability yet: the first always stays.
            kept &= probabilities.cumsum(-1) - probabilities < self.top_p
        if self.min_p is not None:
            kept &= probabilities >= self.min_p * probabilities[..., :1]
        ranked = ranked.masked_fill(~kept, -torch.inf).softmax(-1)
        return torch.zeros_like(ranked).scatter(-1, order, ranked)
