"""Where samples of several modalities lie in one space, so that those that belong together are neighbours."""

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.ranges import Count, NotNegative, Positive
from omniformer.heads.head import Head
from omniformer.heads.pooling import MeanPool, width_of

T = TypeVar("T")


class ContrastiveHead(Head):
    """A unit vector for each sample, by a linear map of its own for each modality
    ([Radford et al. 2021](https://arxiv.org/abs/2103.00020), 2.3), and the scale by which a loss multiplies their
    cosines.

    The scale is learned as a logarithm. `embed` is the way to use the head: a pass of the core over one modality at a
    time, `embed(x, layout, modality)`.

    Args:
        d_model: width of the core; by modality where it is `Towers` of several widths.
        modalities: two or more, each with a map and a pooling of its own.
        d_embedding: width of the common space; None for no maps, where the poolings give vectors of one width.
        pool: makes a pooling, called with `d_model`; the mean by default. By modality where they differ, as in CLIP,
            which reads the class token of a picture and the last token of a text.
        temperature: where the learned scale starts, `1 / temperature`; 0.07 is that paper's.
        bias: where the learned offset of the sigmoid loss starts, -10 in
            [Zhai et al. 2023](https://arxiv.org/abs/2303.15343); None for no offset, which a softmax cannot feel.
        max_scale: what the scale never exceeds in training, 100 as in Radford et al.; None for no bound, as in SigLIP.

    Shapes:
        x `[tokens, d_model]` → `[samples, modalities, d_embedding]`; `embed` → `[samples, d_embedding]`.

    Raises:
        ValueError: there are fewer than two modalities, or one twice, or one without a width or a pooling; the
            temperature starts the scale above its bound; or without maps, the poolings give several widths.

    Example:
        >>> head = ContrastiveHead(d_model=8, modalities=["vision", "text"], d_embedding=4)
        >>> head.embed(torch.randn(5, 8), Layout.from_lengths(2, 3), "text").shape
        torch.Size([2, 4])
    """

    compares = True
    instead = "compares inputs, it predicts no class: use Predictor.embed, or name classes with predict --labels"

    def __init__(
        self,
        *,
        d_model: Count | dict[str, Count],
        modalities: list[str],
        d_embedding: Count | None = 128,
        pool: Callable[..., nn.Module] | dict[str, Callable[..., nn.Module]] = MeanPool,
        temperature: NotNegative = 0.07,
        bias: float | None = None,
        max_scale: Positive | None = 100.0,
    ) -> None:
        super().__init__()
        if len(set(modalities)) < 2 or len(set(modalities)) < len(modalities):
            raise ValueError(f"modalities={list(modalities)} must be two or more different ones, to compare them")
        if max_scale is not None:
            checks.positive(max_scale=max_scale)
        if not temperature > 0 or temperature < 1 / (max_scale or math.inf):
            least = "above 0" if max_scale is None else f"at least {1 / max_scale}"
            raise ValueError(f"temperature={temperature} must be {least}")
        checks.counts(d_embedding=d_embedding)
        self.modalities, self.max_scale = list(modalities), max_scale
        self.temperature, self.initial_bias = temperature, bias
        self.widths = _by_modality(d_model, self.modalities, "d_model")
        for width in self.widths.values():
            checks.counts(d_model=width)
        pools: dict[str, Callable[..., nn.Module]] = _by_modality(pool, self.modalities, "pool")
        self.pools = nn.ModuleDict({name: pools[name](d_model=width) for name, width in self.widths.items()})
        pooled = {name: width_of(self.pools[name], width) for name, width in self.widths.items()}
        if d_embedding is None and len(set(pooled.values())) > 1:
            raise ValueError(f"d_embedding=None needs poolings of one width, received {pooled}; give d_embedding")
        self.d_embedding = d_embedding or next(iter(pooled.values()))
        self.maps = nn.ModuleDict(
            {
                name: nn.Identity() if d_embedding is None else nn.Linear(width, d_embedding, bias=False)
                for name, width in pooled.items()
            }
        )
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = None if bias is None else nn.Parameter(torch.zeros(()))
        self.reset_parameters()

    def embed(self, x: Tensor, layout: Layout, modality: str) -> Tensor:
        """The unit vectors of samples of one modality, in float32; zero for a sample without tokens.

        Shapes:
            x `[tokens, d_model]` → `[samples, d_embedding]`.

        Raises:
            ValueError: the head has no map for that modality.
        """
        if modality not in self.maps:
            raise ValueError(f"no map for modality {modality!r}; this head has {', '.join(self.modalities)}")
        if x.shape[0] == 0:  # no tower has made these tokens, so that they may be of another width
            x = x.new_zeros(0, self.widths[modality])
        return F.normalize(self.maps[modality](self.pools[modality](x, layout)).float(), dim=-1)

    def scale(self) -> Tensor:
        """The factor of cosines, at most `max_scale` in training."""
        if self.training and self.max_scale is not None:
            with torch.no_grad():  # the parameter itself stops there: a clamped output would never learn its way back
                self.log_scale.clamp_(max=math.log(self.max_scale))
        return self.log_scale.float().exp()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """The unit vectors of samples under the map of each modality, in the order of `modalities`.

        A head cannot see which modality the tokens are of: for a batch of one modality, its row is the one that counts.

        Raises:
            ValueError: the widths differ, so that no map but one can read the tokens: use `embed`.
        """
        if len(set(self.widths.values())) > 1:
            raise ValueError(f"tokens of widths {self.widths} are read by embed(x, layout, modality), one at a time")
        return torch.stack([self.embed(x, layout, modality) for modality in self.modalities], dim=1)

    def predict(self, outputs: Tensor) -> Tensor:
        """The unit vectors themselves."""
        return outputs.float()

    def reset_parameters(self) -> None:
        """Draws the maps anew; scale and offset start where they were told to."""
        for each in self.maps.values():
            if isinstance(each, nn.Linear):
                linear_(each, each.in_features**-0.5)
        nn.init.constant_(self.log_scale, -math.log(self.temperature))
        if self.bias is not None and self.initial_bias is not None:
            nn.init.constant_(self.bias, self.initial_bias)


def _by_modality(given: T | dict[str, T], modalities: list[str], name: str) -> dict[str, T]:
    """One value for each modality, whether one was given for all or a mapping."""
    if not isinstance(given, dict):
        return dict.fromkeys(modalities, given)
    if set(given) != set(modalities):
        raise ValueError(f"{name} is given for {', '.join(given)}; this head has modalities {', '.join(modalities)}")
    return {modality: given[modality] for modality in modalities}
