"""Patches of pictures of any size, whose positions know how large each picture is."""

from collections.abc import Callable

import torch
from omniformer_tokenizers import Packed
from torch import Tensor, nn

from omniformer.core.ranges import Count
from omniformer.embedders.vectors import VectorEmbedder


class NativeSizeEmbedder(VectorEmbedder):
    """One linear map of each patch, plus a vector of its place among the rows and columns of its own picture
    ([Dehghani et al. 2023](https://arxiv.org/abs/2307.06304), NaViT, 2.1).

    Args:
        d_model: width of the core.
        features: numbers in one patch.
        position: makes what is added, called with `d_model` and `n_axes`, and later with places and sizes:
            `Stretched`.
        axes: coordinates of a token: row and column.

    Shapes:
        values `[tokens, features]` → `[tokens, d_model]`.

    Example:
        >>> from functools import partial
        >>> from omniformer_tokenizers import PatchTokenizer, pack
        >>> from omniformer.core.positions import Stretched
        >>> cut = PatchTokenizer(patch_size=4, channels=1)
        >>> packed = pack([cut(torch.zeros(1, 8, 8)), cut(torch.zeros(1, 4, 20))])
        >>> NativeSizeEmbedder(d_model=8, features=16, position=partial(Stretched, n_places=6))(packed).shape
        torch.Size([9, 8])
    """

    def __init__(self, *, d_model: Count, features: Count, position: Callable[..., nn.Module], axes: Count = 2) -> None:
        super().__init__(d_model=d_model, features=features, axes=axes)
        self.position = position(d_model=d_model, n_axes=axes)

    def forward(self, packed: Packed) -> Tensor:
        """The vectors of all tokens."""
        x = self.map(packed.values.to(self.map.weight.dtype))
        return x + self.position(packed.positions, sizes_of(packed)).to(x.dtype)  # pyright: ignore[reportOptionalCall]


def sizes_of(packed: Packed) -> Tensor:
    """For each token, how many rows and columns its picture has: one more than the last place of any.

    Shapes:
        `[tokens, axes]`.

    Example:
        >>> from omniformer_tokenizers import PatchTokenizer, pack
        >>> sizes_of(pack([PatchTokenizer(patch_size=4)(torch.zeros(3, 4, 8))])).tolist()
        [[1.0, 2.0], [1.0, 2.0]]
    """
    places = packed.positions
    owner = torch.repeat_interleave(packed.lengths.to(places.device), output_size=len(places))
    last = places.new_zeros(len(packed.lengths), places.shape[1])
    return last.scatter_reduce(0, owner[:, None].expand_as(places), places, "amax")[owner] + 1
