"""Language models that read tiles of pictures among their words, behind the reference's keywords."""

import torch
from einops import rearrange
from omniformer_tokenizers import Tokens
from torch import Tensor

from omniformer.model import OmniFormer
from omniformer.pretrained.reference.patches import patches
from omniformer.pretrained.reference.pictures_in_text import PicturesInTextReference
from omniformer.pretrained.reference.sequences import Outputs


class TilesInTextReference(PicturesInTextReference):
    """A language model with places for tiles in its texts: `input_ids`, `attention_mask` and `pixel_values` in,
    `logits` out. As in the reference, a picture's id stands as often as a tile has tokens, and tiles that are zero
    everywhere are padding.

    Args:
        model: the loaded model.
        head: the name of its head.
        placeholder: the id that stands for pictures.
        patch_size: in pixels.
        image_size: height and width of a tile, in pixels.
        block: rows and columns of patches in a token.
    """

    def __init__(
        self,
        model: OmniFormer,
        head: str,
        *,
        placeholder: int,
        patch_size: int,
        image_size: tuple[int, int],
        block: int,
    ) -> None:
        super().__init__(model, head, placeholder=placeholder, patch_size=patch_size, image_size=image_size)
        self.block = block

    def forward(
        self,
        *,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_attention_mask: Tensor | None = None,
    ) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_ids and attention_mask int64 `[samples, seq]`, pixel_values `[samples, tiles, channels, height,
            width]`, pixel_attention_mask `[samples, tiles, height, width]`.

        Raises:
            ValueError: as for `PicturesInTextReference`, or a part of a tile is masked.
        """
        if pixel_values is not None:
            real = (pixel_values != 0).flatten(2).any(2)
            pixel_values = pixel_values[real]
            if pixel_attention_mask is not None and not bool(pixel_attention_mask[real].all()):
                raise ValueError("pixel_attention_mask hides a part of a tile; tiles are read whole here")
        return super().forward(input_ids=input_ids, attention_mask=attention_mask, pixel_values=pixel_values)

    def _pictures(self, pixel_values: Tensor) -> list[Tokens]:
        n, p = self.block, self.patch_size
        packed = patches(pixel_values, n * p, n_class_tokens=0, modality="vision")
        values = rearrange(packed.values, "tokens (c b h d w) -> tokens (b d c h w)", b=n, d=n, h=p, w=p)
        count = len(values) // max(len(pixel_values), 1)
        places = torch.nn.functional.pad(packed.positions, (1, 0))
        return [
            Tokens(values=own, positions=place, modality="vision")
            for own, place in zip(values.split(count or 1), places.split(count or 1), strict=True)
        ]
