"""Performer: linear attention whose features estimate the softmax kernel without bias."""

from typing import Any

import torch
from torch import Tensor

from omniformer.core import checks
from omniformer.core.ranges import Count, Seed
from omniformer.core.variants.linear import FeatureMap, LinearAttention

# exp of a key's features is kept below e^60: sums over any length then stay within float32.
_LARGEST = 60.0


class FavorFeatures(FeatureMap):
    """Positive orthogonal random features, FAVOR+ ([Choromanski et al. 2020](https://arxiv.org/abs/2009.14794)).

    With `y = x / head_dim^(1/4)` and random directions w, the features `exp(w y - |y|^2 / 2) / sqrt(n_features)` have
    the expected dot product `exp(q k^T / sqrt(head_dim))` (lemma 1). Directions are orthogonal in groups of `head_dim`,
    with the lengths of Gaussian vectors, which keeps the expectation and lowers the variance (theorem 2).

    Args:
        head_dim: features of a head.
        n_features: number of random directions; the error falls with its square root. 256, as in the paper.
        seed: of the directions. None takes PyTorch's global generator, so that each layer has its own.

    Raises:
        ValueError: `n_features` is less than 1.

    Example:
        >>> features = FavorFeatures(4, n_features=4096, seed=0)
        >>> x = torch.tensor([0.5, 0.5, 0.5, 0.5])
        >>> round(features.estimate(x, x).item(), 1), round(torch.exp(x @ x / 2).item(), 1)
        (1.6, 1.6)
    """

    def __init__(self, head_dim: Count, *, n_features: Count = 256, seed: Seed | None = None) -> None:
        super().__init__(head_dim)
        checks.counts(head_dim=head_dim, n_features=n_features)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.register_buffer("directions", orthogonal_gaussian(n_features, head_dim, generator))
        self.directions: Tensor

    def redraw(self, seed: int | None = None) -> None:
        """Draws new directions, as the paper does now and then in training."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        n_features, head_dim = self.directions.shape
        self.directions.copy_(orthogonal_gaussian(n_features, head_dim, generator))

    def query(self, q: Tensor) -> Tensor:
        """Features of queries, each query's divided by its largest: that cancels, and nothing overflows."""
        exponent = self._exponent(q)
        return (exponent - exponent.detach().amax(-1, keepdim=True)).exp()

    def key(self, k: Tensor) -> Tensor:
        """Features of keys, all multiplied by one number that depends on the directions alone.

        The largest feature among the keys would serve as well, but then a key would change what comes before it.
        """
        return (self._exponent(k) - self._shift()).exp()

    def estimate(self, q: Tensor, k: Tensor) -> Tensor:
        """The unbiased estimate of `exp(q k^T / sqrt(head_dim))`.

        Shapes:
            `[..., head_dim]`, `[..., head_dim]` → `[...]`.
        """
        return (self._exponent(q) + self._exponent(k)).exp().mean(-1)

    def _exponent(self, x: Tensor) -> Tensor:
        x = x.float() * self.head_dim**-0.25
        return x @ self.directions.float().T - x.square().sum(-1, keepdim=True) / 2

    def _shift(self) -> Tensor:
        # w k - |k|^2 / 2 is at most |w|^2 / 2, where k = w.
        return (self.directions.float().square().sum(-1).max() / 2 - _LARGEST).clamp_min(0.0)


class PerformerAttention(LinearAttention):
    """Linear attention with FAVOR+ features ([Choromanski et al. 2020](https://arxiv.org/abs/2009.14794)).

    An estimate of softmax attention that gets better with `n_features`. Its error grows with the exponential of
    scores: use `qk_norm` where they are large. A key whose squared length exceeds about `170 sqrt(head_dim)` underflows
    and counts as nothing.

    Args:
        n_features: random directions of each head.
        seed: of the directions; None gives each layer its own, from PyTorch's global generator.
        **heads: those of `LinearAttention`, apart from `feature_map`.

    Raises:
        ValueError: as for `LinearAttention`, or `n_features` is less than 1.
    """

    def __init__(self, *, n_features: Count = 256, seed: Seed | None = None, **heads: Any) -> None:
        super().__init__(
            **heads, feature_map=lambda head_dim: FavorFeatures(head_dim, n_features=n_features, seed=seed)
        )


def orthogonal_gaussian(n_rows: int, width: int, generator: torch.Generator | None = None) -> Tensor:
    """Rows distributed like standard Gaussian vectors, orthogonal to each other in groups of `width`.

    Shapes:
        float32 `[n_rows, width]`.
    """
    n_groups = -(-n_rows // width)
    # On the host by name, so that models can be built on the meta device.
    gaussian = torch.randn(n_groups, width, width, generator=generator, device="cpu", dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    # QR is unique, and its directions uniform, only once the signs of R's diagonal are taken back.
    directions = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
    lengths = torch.randn(n_groups, width, width, generator=generator, device="cpu", dtype=torch.float64).norm(dim=-1)
    return (directions.transpose(-1, -2) * lengths[..., None]).flatten(0, 1)[:n_rows].float()
