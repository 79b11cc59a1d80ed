"""Attention of the newest token of each sample, as in decoding: to all tokens before it, over the rows of a cache."""

import torch
from torch import Tensor

from omniformer.core.attention.blocks import Bucket, within
from omniformer.core.attention.kernel import Kernel, Weighing
from omniformer.core.attention.reference import dense_lse
from omniformer.core.layout import Layout, View
from omniformer.core.rules import UNBOUNDED, Rule

_NONE = torch.zeros(0, 0, dtype=torch.long)
_EVERYBODY = Bucket(query=_NONE, key=_NONE, owned=_NONE)


class Newest(Kernel):
    """One query a sample, which sees all of its keys, equally many in every sample: nothing to gather, to mask or to
    prepare. It costs nothing once a step, where `Dense` would cut buckets anew for each token that is written.

    Every bias and score, under rules that are a band (`Rule.band`), such as `Causal`, while it spans all keys.

    Raises:
        ValueError: the layouts are others.
    """

    name = "newest"
    takes_rows = True

    def __init__(self, rule: Rule, layout: Layout, key_layout: Layout) -> None:
        if not fits(rule, layout, key_layout):
            raise ValueError(
                "kernel 'newest' reads the last token of each sample, which sees all of its keys, equally many in "
                f"each; received {rule} on {layout.n_tokens} tokens of {layout.n_samples} samples; choose 'auto'"
            )
        self.layout, self.key_layout = layout, key_layout

    def attend(self, q: Tensor, k: Tensor, v: Tensor, how: Weighing) -> Tensor:
        k, v = self._rows(k), self._rows(v)
        return within(q.unsqueeze(2), k, v, _EVERYBODY, self._added(how), how).squeeze(2)

    def lse(self, q: Tensor, k: Tensor, how: Weighing) -> Tensor:
        options = {"scale": how.scale, "mask": None, "bias": self._added(how, q.shape[1]), "score": how.score}
        return dense_lse(q.unsqueeze(2), self._rows(k), **options).flatten(1)

    def _rows(self, x: Tensor) -> Tensor:
        """Keys or values as `[samples, kv_heads, keys, head_dim]`."""
        return (x if x.ndim == 4 else x.unflatten(0, (self.layout.n_samples, -1))).transpose(1, 2)

    def _added(self, how: Weighing, heads: int = -1) -> Tensor | None:
        """The additive scores, `[samples or 1, heads, 1, keys]`."""
        if how.bias is None:
            return None
        n, device = self.layout.n_samples, self.layout.device
        query, key = torch.arange(n, device=device), torch.arange(self.key_layout.n_tokens, device=device)
        added = how.bias(View(self.layout, query.view(n, 1, 1)), View(self.key_layout, key.view(n, 1, -1)))
        return added.transpose(0, 1).expand(-1, heads, -1, -1)


def fits(rule: Rule, layout: Layout, key_layout: Layout) -> bool:
    """Whether each sample has one query, from which all of its keys can be seen, equally many in every sample.

    Example:
        >>> from omniformer.core.rules import Causal, Window
        >>> held = Layout.from_lengths(3, 3)
        >>> new = Layout(lengths=torch.tensor([1, 1]), start=torch.tensor([2, 2]))
        >>> fits(Causal(), new, held), fits(Causal() & Window(left=1), new, held)
        (True, False)
    """
    if layout.start is None or layout.places is not None or key_layout.places is not None:
        return False
    held = key_layout.lengths.tolist()
    if not held or not held[0] or min(held) != max(held) or set(layout.lengths.tolist()) != {1}:
        return False
    band = rule.band()
    if band is None or band.sinks or band.scattered:
        return False
    everywhere = band.left >= UNBOUNDED and band.right >= UNBOUNDED
    return everywhere or (band.left >= held[0] - 1 and layout.start.tolist() == [held[0] - 1] * len(held))
