"""Pictures of any size behind the reference's keyword `interpolate_pos_encoding`: positions stretched for a call."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from omniformer.core.positions import Learned
from omniformer.model import OmniFormer
from omniformer.pretrained.reference.patches import PictureReference, check_size
from omniformer.pretrained.reference.sequences import Outputs


class AnySizeReference(PictureReference):
    """A model of pictures whose learned positions are stretched where a call asks for it.

    Arguments as for `PictureReference`.
    """

    def forward(self, *, pixel_values: Tensor, interpolate_pos_encoding: bool = False) -> Outputs:
        """The reference's outputs.

        Shapes:
            pixel_values `[samples, channels, height, width]`, of any size where positions are stretched.

        Raises:
            ValueError: the pictures are not of the size that the model reads, and nobody asked to stretch.
        """
        with sized(self.model, pixel_values, self.image_size, self.patch_size, interpolate_pos_encoding) as size:
            return PictureReference(
                self.model,
                self.head,
                image_size=size,
                patch_size=self.patch_size,
                n_class_tokens=self.n_class_tokens,
            )(pixel_values=pixel_values)


@contextmanager
def sized(
    model: OmniFormer, pixel_values: Tensor, image_size: tuple[int, int], patch_size: int, any_size: bool
) -> Iterator[tuple[int, int]]:
    """While it lasts, the model reads pictures of the size that these have, which is given back.

    Args:
        model: whose positions are stretched, gradients and all, without smoothing.
        pixel_values: `[samples, channels, height, width]`.
        image_size: height and width that it reads.
        patch_size: in pixels.
        any_size: whether it may be another; else the pictures are refused.
    """
    height, width = pixel_values.shape[2:]
    if not any_size or (height, width) == image_size:
        check_size("pixel_values", (height, width), image_size)
        yield image_size
        return
    holder: Any = model.embedders["vision"]
    while hasattr(holder, "embedder"):  # of patches, behind class tokens where there are any
        holder = holder.embedder
    own: Learned = holder.position
    holder.position = _Places(own.stretched(height // patch_size, width // patch_size))
    try:
        yield height, width
    finally:
        holder.position = own


class _Places(nn.Module):
    """Vectors of the places of a grid."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, positions: Tensor) -> Tensor:
        """Those at these places."""
        return self.table[tuple(positions.long().unbind(-1))]
