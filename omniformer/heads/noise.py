"""How a picture drowns in noise, step by step: what a diffusion model learns to undo."""

import math
from abc import ABC, abstractmethod
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor


class Schedule(ABC):
    """Which share of signal is left at each step of diffusion ([Ho et al. 2020](https://arxiv.org/abs/2006.11239), 2).

    At step t a value is `sqrt(alpha[t]) clean + sqrt(1 - alpha[t]) noise`; `alphas` falls from about 1 at step 0 to
    about 0 at the last. A subclass implements `betas`, the share of variance that each step puts in.

    Args:
        n_steps: steps from clean to noise; 1,000 as in the paper.

    Raises:
        ValueError: there are fewer than two steps.

    Shapes:
        alphas float64 `[n_steps]`, the products of `1 - betas`.
    """

    def __init__(self, *, n_steps: Annotated[int, Ge(2)] = 1000) -> None:
        if n_steps < 2:
            raise ValueError(f"n_steps={n_steps} must be at least 2")
        self.n_steps = n_steps
        self.alphas = (1 - self.betas()).cumprod(0)

    @abstractmethod
    def betas(self) -> Tensor:
        """The share of variance that each step puts in.

        Shapes:
            float64 `[n_steps]`.
        """


class Cosine(Schedule):
    """Signal falls like a squared cosine ([Nichol and Dhariwal 2021](https://arxiv.org/abs/2102.09672), 3.2), slowly at
    both ends; better than `Linear` for small pictures, which the latter drowns too early.

    Args:
        n_steps: steps from clean to noise.

    Example:
        >>> Cosine(n_steps=1000).alphas[[0, 500, 999]].round(decimals=3).tolist()
        [1.0, 0.492, 0.0]
    """

    def betas(self) -> Tensor:
        """No step puts in more than 0.999, as in the paper, so that the last one stays finite."""
        # The offset keeps the first steps from being smaller than the steps of an 8-bit pixel.
        time = (torch.arange(self.n_steps + 1, dtype=torch.float64) / self.n_steps + 0.008) / 1.008
        signal = (time * math.pi / 2).cos().square()
        return (1 - signal[1:] / signal[:-1]).clamp(max=0.999)


class Linear(Schedule):
    """Each step puts in a little more than the one before ([Ho et al. 2020](https://arxiv.org/abs/2006.11239), 4): from
    0.0001 to 0.02 in 1,000 steps, and as much altogether in any other number of them.

    Args:
        n_steps: steps from clean to noise; at least 21, since with fewer the last would put in all.

    Raises:
        ValueError: there are fewer than 21 steps.

    Example:
        >>> Linear(n_steps=1000).alphas[[0, 500, 999]].round(decimals=4).tolist()
        [0.9999, 0.0778, 0.0]
    """

    def __init__(self, *, n_steps: Annotated[int, Ge(2)] = 1000) -> None:
        if n_steps < 21:
            raise ValueError(f"n_steps={n_steps} must be at least 21 for a linear schedule; choose more, or Cosine")
        super().__init__(n_steps=n_steps)

    def betas(self) -> Tensor:
        """A straight line."""
        return torch.linspace(0.1, 20.0, self.n_steps, dtype=torch.float64) / self.n_steps
