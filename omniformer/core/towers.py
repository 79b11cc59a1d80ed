"""Transformers side by side: each reads one kind of tokens, in a width and a depth of its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omniformer.core.init import untouched
from omniformer.core.layout import Layout
from omniformer.core.rules import Full, Rule
from omniformer.core.transformer import Transformer


class Towers(nn.Module):
    """One transformer for each modality, which meet in a head only
    ([Radford et al. 2021](https://arxiv.org/abs/2103.00020), figure 1).

        tokens of modality 0 ── tower 0 ── out
        tokens of modality 1 ── tower 1 ── out

    A batch holds tokens of one modality, whose number in the layout chooses the tower. `OmniFormer` numbers modalities
    in the order of its embedders.

    Args:
        towers: by number of modality.
        rules: of each tower, who may attend to whom, beside the rule that a call brings: CLIP reads texts causally and
            pictures fully. Everybody by default.

    Shapes:
        x `[tokens, d_model of the tower]` → the same.

    Raises:
        ValueError: there are fewer than two towers, or not one rule for each; at first use, the layout states no
            modality, several, or one without a tower.

    Example:
        >>> towers = [Transformer(d_model=width, n_layers=1, n_heads=2) for width in (16, 8)]
        >>> layout = Layout(lengths=torch.tensor([2, 3]), modality=torch.ones(5, dtype=torch.long))
        >>> Towers(towers=towers)(torch.randn(5, 8), layout).shape
        torch.Size([5, 8])
    """

    reads_memory = False
    """Whether any block has cross-attention: none, since a batch is of one modality."""

    reads_padded = True
    """Whether the rows of a padded batch may come in, with a `PaddedLayout`: they may where the towers say so."""

    def __init__(self, *, towers: Sequence[Transformer], rules: Sequence[Rule] | None = None) -> None:
        super().__init__()
        if len(towers) < 2:
            raise ValueError(f"{len(towers)} towers: give one for each of two or more modalities")
        if rules is not None and len(rules) != len(towers):
            raise ValueError(f"{len(rules)} rules for {len(towers)} towers; give one for each")
        self.towers = nn.ModuleList(towers)
        self.rules = [Full()] * len(towers) if rules is None else list(rules)
        self.widths = tuple(tower.d_model for tower in towers)

    @property
    def d_model(self) -> int:
        """The width of the first tower, which tokens of no modality take."""
        return self.widths[0]

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        rule: Rule | None = None,
        *,
        stages: dict[str, Tensor] | None = None,
        losses: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Mixes the tokens of each sample in the tower of their modality; as `Transformer.forward`.

        Without a token nothing is computed, and every weight gets a gradient of zero.
        """
        if not layout.n_tokens:
            return x + untouched(self)
        number = self._number(layout)
        return self.towers[number](x, layout, self.rule(number, rule), stages=stages, losses=losses)

    @property
    def units(self) -> list[nn.Module]:
        """None: which tower is called depends on the batch."""
        return []

    @property
    def kinds(self) -> tuple[nn.Module, ...]:
        """The towers, by number of modality."""
        return tuple(self.towers)

    def together(
        self, tokens: Sequence[tuple[Tensor, Layout]], rule: Rule | None = None, **options: Any
    ) -> list[Tensor]:
        """The output of every tower for tokens of its own, each with their layout.

        Args:
            tokens: by number of modality.
            rule: as for `rule`.
            **options: of the towers.
        """
        return [
            tower(x, layout, self.rule(number, rule), **options)
            for number, (tower, (x, layout)) in enumerate(zip(self.towers, tokens, strict=True))
        ]

    def rule(self, number: int, given: Rule | None = None) -> Rule:
        """Who may attend to whom in a tower: as the tower says and, where a call brings a rule, as that says too.

        Args:
            number: of the tower.
            given: the rule that a call brings.
        """
        own = self.rules[number]
        if given is None or isinstance(given, Full):
            return own
        return given if isinstance(own, Full) else given & own

    def _number(self, layout: Layout) -> int:
        """The modality of all tokens."""
        if layout.modality is None:
            raise ValueError(f"the layout states no modality, which chooses one of {len(self.towers)} towers")
        modality = layout.modality
        least, most = layout.memo("modalities", lambda: tuple(torch.stack(modality.aminmax()).tolist()))
        if least != most:
            raise ValueError(
                f"a batch with tokens of modalities {least} to {most}: each tower reads one modality by itself; encode "
                "them one after the other, as batch.select(modality)"
            )
        if not 0 <= most < len(self.towers):
            raise ValueError(f"tokens of modality {most}; this core has towers 0 to {len(self.towers) - 1}")
        return most
