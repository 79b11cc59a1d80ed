"""Two sequences of each sample as one: what is given, then what is written."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from omniformer.core.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """The layout of both sequences end to end, and where the tokens of each lie in it.

    Shapes:
        first int64 `[tokens of the first]`, second int64 `[tokens of the second]`.
    """

    layout: Layout
    first: Tensor
    second: Tensor

    def tokens(self, first: Tensor, second: Tensor) -> Tensor:
        """The vectors of both sequences, interleaved sample by sample.

        Shapes:
            `[tokens of the first, d_model]`, `[tokens of the second, d_model]` → `[tokens, d_model]`.
        """
        out = first.new_zeros(len(first) + len(second), first.shape[-1])
        return out.index_copy(0, self.first, first).index_copy(0, self.second, second.to(first.dtype))


def join(first: Layout, second: Layout) -> Joined:
    """One sequence of each sample: its tokens of the first layout, which become the prefix, then those of the second. A
    layout that states a longer prefix keeps it: then the beginning of the second belongs to it.

    Coordinates, modalities and edges come along; an axis that one of the two lacks is 0 there.

    Args:
        first: what comes first.
        second: what follows, of the same samples.

    Raises:
        ValueError: the layouts have different numbers of samples, or values for pairs of tokens or further features,
            which say nothing about tokens of the other sequence.

    Example:
        >>> joined = join(Layout.from_lengths(2, 1), Layout.from_lengths(1, 2))
        >>> joined.layout.lengths.tolist(), joined.first.tolist(), joined.second.tolist()
        ([3, 3], [0, 1, 3], [2, 4, 5])
    """
    if first.n_samples != second.n_samples:
        raise ValueError(f"cannot join {first.n_samples} samples with {second.n_samples}; each needs its partner")
    if named := [*first.pairs, *second.pairs, *first.features, *second.features]:
        raise ValueError(
            f"cannot join sequences that carry {', '.join(sorted(set(named)))}: it says nothing about tokens of the "
            "other; let a core with cross-attention read the first (core=encoder_decoder)"
        )
    device = first.device
    lengths = first.lengths + second.lengths
    start = (lengths.cumsum(0) - lengths).to(device)
    places = []
    for layout, begin in ((first, start), (second, start + first.lengths.to(device))):
        places.append(torch.arange(layout.n_tokens, device=device) + (begin - layout.offsets[:-1])[layout.sample])
    edges = [place[each.edges] for place, each in zip(places, (first, second), strict=True) if each.edges is not None]
    kinds = [each.edge_features for each in (first, second) if each.edge_features is not None]
    whole = Layout(
        lengths=lengths,
        positions=_merged(first.positions, second.positions, *places),
        modality=_merged(first.modality, second.modality, *places),
        prefix=_prefix(first),
        edges=torch.cat(edges, dim=1) if edges else None,
        edge_features=torch.cat(kinds) if kinds else None,
        device=device,
    )
    return Joined(layout=whole, first=places[0], second=places[1])


def _prefix(first: Layout) -> Tensor:
    """How much of a sample is its prefix: what comes first, or more where it says so."""
    return first.lengths if first.prefix is None else torch.maximum(first.lengths, first.prefix.cpu())


def _merged(first: Tensor | None, second: Tensor | None, place_first: Tensor, place_second: Tensor) -> Tensor | None:
    """Facts about the tokens of both sequences in joint order; columns that one of them lacks are 0."""
    if first is None or second is None:
        return None
    if first.ndim == 2:
        width = max(first.shape[1], second.shape[1])
        first, second = (F.pad(each, (0, width - each.shape[1])) for each in (first, second))
    out = first.new_zeros(len(first) + len(second), *first.shape[1:])
    return out.index_copy(0, place_first, first).index_copy(0, place_second, second)
