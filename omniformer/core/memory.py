"""Tokens of another sequence, for cross-attention to read."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from omniformer.core.attention.plan import Plan, lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Full, Rule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Memory:
    """What cross-attention reads: an encoder's output, image tokens, a text that steers a diffusion model.

    Args:
        x: the tokens. They need not be as wide as the core that reads them.
        layout: their samples; sample i of the reader attends to sample i of the memory. An empty sample is legal and
            adds nothing.
        rule: which memory tokens a token may attend to; all of its sample by default.

    Shapes:
        x `[memory tokens, d_memory]`.

    Raises:
        ValueError: x has another number of rows than the layout has tokens.

    Example:
        >>> memory = Memory(x=torch.arange(3.0)[:, None], layout=Layout.from_lengths(1, 2))
        >>> memory.take(torch.tensor([1, 0])).x.flatten().tolist()
        [1.0, 2.0, 0.0]
    """

    x: Tensor
    layout: Layout
    rule: Rule = field(default_factory=Full)

    def __post_init__(self) -> None:
        if self.x.shape[0] != self.layout.n_tokens:
            raise ValueError(f"memory has {self.x.shape[0]} rows, its layout has {self.layout.n_tokens} tokens")

    def plan(self, layout: Layout, *, kernel: str = "auto") -> Plan:
        """The memory's rule lowered for the tokens that read it; see `lower`."""
        return lower(self.rule, layout, self.layout, kernel=kernel)

    def take(self, samples: Tensor) -> "Memory":
        """The memory of some samples, in the order given, repeats allowed: what beam search needs.

        Shapes:
            samples int64 `[new samples]`.
        """
        return self._of(tokens_of(self.layout, samples), self.layout.lengths[samples.cpu()], samples)

    def without(self, samples: Tensor) -> "Memory":
        """The same memory with nothing to read for some samples: what guidance compares with, and trains for
        ([Ho and Salimans 2022](https://arxiv.org/abs/2207.12598), algorithm 1).

        Shapes:
            samples bool `[samples]`, True for those that lose their memory.

        Example:
            >>> memory = Memory(x=torch.arange(3.0)[:, None], layout=Layout.from_lengths(1, 2))
            >>> memory.without(torch.tensor([False, True])).layout.lengths.tolist()
            [1, 0]
        """
        kept = ~samples.to(self.layout.device)
        tokens = kept[self.layout.sample].nonzero().flatten()
        lengths = self.layout.lengths * kept.cpu()
        return self._of(tokens, lengths, torch.arange(len(lengths)))

    def _of(self, tokens: Tensor, lengths: Tensor, samples: Tensor) -> "Memory":
        """The memory of some tokens, which belong to samples of these lengths that had these numbers."""
        old = self.layout
        start, prefix = (None if each is None else each[samples.to(each.device)] for each in (old.start, old.prefix))
        places, positions, modality = (
            None if each is None else each[tokens] for each in (old.places, old.positions, old.modality)
        )
        layout = Layout(
            lengths=lengths,
            start=start,
            places=places,
            positions=positions,
            prefix=prefix,
            modality=modality,
            features={name: feature[tokens] for name, feature in old.features.items()},
            device=old.device,
        )
        return replace(self, x=self.x[tokens], layout=layout)


def tokens_of(layout: Layout, samples: Tensor) -> Tensor:
    """Numbers of the tokens of some samples, sample after sample.

    Shapes:
        samples int64 `[new samples]` → int64 `[tokens of these samples]`.
    """
    samples = samples.to(layout.device)
    lengths = layout.lengths.to(layout.device)[samples]
    ends = lengths.cumsum(0)
    shift = torch.repeat_interleave(layout.offsets[samples] - ends + lengths, lengths)
    return torch.arange(len(shift), device=layout.device) + shift
