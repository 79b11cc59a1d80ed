"""Register tokens: learned tokens of each sample in which a transformer may keep what belongs to no input token."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from omniformer.core import checks
from omniformer.core.layout import Layout, View
from omniformer.core.ranges import Count
from omniformer.core.rules import Reach, Rule
from omniformer.core.transformer import Transformer


class Registers(nn.Module):
    """A core with learned tokens in front of every sample, taken off again at the end
    ([Darcet et al. 2023](https://arxiv.org/abs/2309.16588)).

    Registers read every token of their sample and every token reads them, whatever the rule says of the others: under
    `Neighbours` one register is a virtual node. Their coordinates are 0. A rule that hides tokens (`Rule.hides`), later
    ones or those of another modality, is refused: registers would hand them on.

    Args:
        core: the transformer.
        n_registers: tokens in front of each sample; 4 as in the paper.

    Raises:
        ValueError: `n_registers` is below 1; at first use, the rule hides tokens, or the layout waits for a cache or
            has values of pairs.

    Example:
        >>> core = Registers(core=Transformer(d_model=16, n_layers=1, n_heads=2), n_registers=2)
        >>> core(torch.randn(5, 16), Layout.from_lengths(2, 3)).shape
        torch.Size([5, 16])
    """

    no_weight_decay = ("tokens",)

    def __init__(self, *, core: Transformer, n_registers: Count = 4) -> None:
        super().__init__()
        checks.counts(n_registers=n_registers)
        self.core, self.d_model = core, core.d_model
        self.tokens = nn.Parameter(torch.empty(n_registers, core.d_model))
        self.reset_parameters()

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        rule: Rule | None = None,
        *,
        condition: Tensor | None = None,
        stages: dict[str, Tensor] | None = None,
        losses: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Mixes the tokens of each sample, with the registers among them; as `Transformer.forward`.

        The stages have a row for each register too: the first of each sample.
        """
        layout.admit(self)
        n = len(self.tokens)
        rule = None if rule is None else _BesideRegisters(rule, layout, n)
        longer, place = _longer(layout, n)
        rows = torch.arange(longer.n_tokens, device=x.device)
        is_register = torch.ones_like(rows, dtype=torch.bool).index_fill(0, place, False)
        registers = self.tokens.to(x.dtype).repeat(layout.n_samples, 1)
        mixed = (
            x.new_zeros(longer.n_tokens, self.d_model)
            .index_copy(0, rows[is_register], registers)
            .index_copy(0, place, x)
        )
        return self.core(mixed, longer, rule, condition=condition, stages=stages, losses=losses)[place]

    def reset_parameters(self) -> None:
        """Draws the registers anew."""
        nn.init.normal_(self.tokens, std=0.02)


@dataclass(frozen=True)
class _BesideRegisters(Rule):
    """A rule of the tokens alone, asked in a layout with registers in front of them."""

    rule: Rule
    layout: Layout = field(compare=False)  # of one batch: rules are the same whatever batch they are asked about
    n: int

    def __post_init__(self) -> None:
        if self.rule.hides():
            raise ValueError(f"{self.rule} hides tokens, which registers would hand on; use it without Registers")

    def attend(self, query: View, key: View) -> Tensor:
        register = (query.index < self.n) | (key.index < self.n)
        return register | self.rule.attend(self._own(query), self._own(key))

    def reach(self) -> Reach:
        # Registers read everything, and are read from everywhere.
        return Reach()

    def _own(self, view: View) -> View:
        """The same tokens in the layout without registers; a register stands for any token."""
        token = view.token - (view.sample + 1) * self.n
        last = (self.layout.offsets[-1] - 1).clamp(min=0)
        return View(self.layout, torch.minimum(token.clamp(min=0), last))

    def __str__(self) -> str:
        return f"({self.rule} beside {self.n} registers)"


def _longer(layout: Layout, n: int) -> tuple[Layout, Tensor]:
    """The layout with n more tokens in front of each sample, and where the tokens are now."""
    for name in ("start", "places"):
        if getattr(layout, name) is not None:
            raise ValueError("registers stand in front of whole samples; decode with a cache without Registers")
    if layout.pairs:
        raise ValueError(f"the layout has values of pairs ({', '.join(layout.pairs)}), which registers have not")
    place = torch.arange(layout.n_tokens, device=layout.device) + (layout.sample + 1) * n
    n_tokens = layout.n_tokens + n * layout.n_samples

    def spread(each: Tensor | None) -> Tensor | None:
        return None if each is None else each.new_zeros(n_tokens, *each.shape[1:]).index_copy(0, place, each)

    changed = {
        "lengths": layout.lengths + n,
        "positions": spread(layout.positions),
        "modality": spread(layout.modality),
        "prefix": None if layout.prefix is None else layout.prefix + n,
        "edges": None if layout.edges is None else place[layout.edges],
        "features": {name: spread(feature) for name, feature in layout.features.items()},
    }
    return replace(layout, **changed, device=layout.device), place
