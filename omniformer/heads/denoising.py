"""What noise is in a picture, given how much there is."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omniformer.core import checks
from omniformer.core.frequencies import Frequencies
from omniformer.core.init import linear_
from omniformer.core.layout import Layout
from omniformer.core.norm import LayerNorm
from omniformer.core.positions import Sinusoidal
from omniformer.core.ranges import Count
from omniformer.heads.head import Head
from omniformer.heads.noise import Cosine, Schedule


class DenoisingHead(Head):
    """The two ends of a diffusion transformer ([Peebles and Xie 2022](https://arxiv.org/abs/2212.09748), DiT): the
    vector that tells the core the step, and the map from its output back to the values of a patch.

    The head owns the schedule and what is predicted, so that a saved model can be sampled from as it is. The last map
    begins at zero: an untrained model predicts zero, the mean of what it is to learn.

    Args:
        d_model: width of the core.
        features: numbers of a patch.
        d_condition: width of the vector that tells the step, as the core's `AdaptiveNorm` has it; `d_model` by default,
            as in the paper.
        schedule: how much signal is left at each step; `Cosine` of 1,000 steps by default.
        predicts: the `velocity`, noise less signal in the shares of the step
            ([Salimans and Ho 2022](https://arxiv.org/abs/2202.00512), appendix D), or the `noise` that is in the values
            ([Ho et al. 2020](https://arxiv.org/abs/2006.11239)). At the last steps of `Cosine` nearly all is noise, so
            that its prediction says next to nothing of the picture; the velocity does at every step.

    Shapes:
        x `[tokens, d_model]`, condition `[samples, d_condition]` → `[tokens, features]`.

    Raises:
        ValueError: `predicts` is not known.

    Example:
        >>> head = DenoisingHead(d_model=8, features=4, d_condition=6)
        >>> c = head.condition(torch.tensor([10, 900]))
        >>> c.shape, head(torch.randn(5, 8), Layout.from_lengths(2, 3), condition=c).abs().sum().item()
        (torch.Size([2, 6]), 0.0)
    """

    not_exported = "a picture takes many steps out of noise; what is exported is one pass, or one step of writing"

    per_token = True
    makes = "pictures"
    instead = "paints, it predicts no class: use python -m omniformer.generate"

    def __init__(
        self,
        *,
        d_model: Count,
        features: int,
        d_condition: Count | None = None,
        schedule: Schedule | None = None,
        predicts: Literal["noise", "velocity"] = "velocity",
    ) -> None:
        super().__init__()
        checks.counts(d_model=d_model, features=features, d_condition=d_condition)
        d_condition = d_model if d_condition is None else d_condition
        if predicts not in ("noise", "velocity"):
            raise ValueError(f"predicts={predicts!r} is not known; choose 'velocity' or 'noise'")
        self.schedule = Cosine() if schedule is None else schedule
        self.predicts = predicts
        # Shares of the deviation, exact in every dtype of the model, and not saved: they follow from the schedule.
        self.signal = Frequencies(self.schedule.alphas.sqrt())
        self.rest = Frequencies((1 - self.schedule.alphas).sqrt())
        self.waves = Sinusoidal(d_model=256)
        self.time_in = nn.Linear(256, d_condition)
        self.time_out = nn.Linear(d_condition, d_condition)
        self.norm = LayerNorm(d_model, gain=False)
        self.modulation = nn.Linear(d_condition, 2 * d_model)
        self.values = nn.Linear(d_model, features)
        self.reset_parameters()

    @property
    def n_steps(self) -> int:
        """Steps of the schedule; steps count from 0, the cleanest."""
        return self.schedule.n_steps

    def condition(self, t: Tensor) -> Tensor:
        """The vector that tells each sample's step to the core and to `forward`.

        Shapes:
            t int64 `[samples]` → `[samples, d_condition]`.
        """
        # Wavelengths were made for 1,000 steps; other numbers of steps use the same range.
        place = t.to(torch.float32)[:, None] * (1000 / self.n_steps)
        waves = self.waves(place).to(self.time_in.weight.dtype)
        return self.time_out(F.silu(self.time_in(waves)))

    def forward(self, x: Tensor, layout: Layout, *, condition: Tensor | None = None) -> Tensor:
        """What the head predicts of each token: noise or velocity.

        Args:
            x: the core's output.
            layout: its samples.
            condition: what `condition` gave.

        Raises:
            ValueError: there is no condition: the step is unknown.
        """
        if condition is None:
            raise ValueError(
                "a denoising head needs the step of each sample: pass condition=head.condition(t), or make pictures "
                "with omniformer.generation.diffusion.denoise"
            )
        shift, scale = self.modulation(F.silu(condition))[layout.sample].chunk(2, dim=-1)
        return self.values(self.norm(x) * (1 + scale) + shift)

    def predict(self, outputs: Tensor) -> Tensor:
        """The values themselves."""
        return outputs.float()

    def mix(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Clean values with as much noise as there is at step t.

        Shapes:
            clean and noise `[tokens, features]`, t int64 `[tokens]` → `[tokens, features]`.
        """
        signal, rest = self._shares(t, clean)
        return signal * clean + rest * noise

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the head should say of `mix(clean, noise, t)`; shapes as for `mix`."""
        if self.predicts == "noise":
            return noise
        signal, rest = self._shares(t, clean)
        return signal * noise - rest * clean

    def separate(self, outputs: Tensor, mixed: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The clean values and the noise that the outputs say are in the mixed values; shapes as for `mix`."""
        signal, rest = self._shares(t, mixed)
        if self.predicts == "noise":
            return (mixed - rest * outputs) / signal, outputs
        return signal * mixed - rest * outputs, rest * mixed + signal * outputs

    def reset_parameters(self) -> None:
        """Draws the map of the step anew; the last maps begin at zero."""
        for layer in (self.time_in, self.time_out):
            linear_(layer, 0.02)
        linear_(self.modulation, 0.0)
        linear_(self.values, 0.0)

    def _shares(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of signal and noise for each token."""
        return self.signal()[t][:, None].to(like.dtype), self.rest()[t][:, None].to(like.dtype)
