"""Models of pictures in their own shape behind the reference's keywords: SigLIP 2."""

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from omniformer_tokenizers import Packed
from torch import Tensor

from omniformer.model import OmniFormer
from omniformer.pretrained.reference.patches import square
from omniformer.pretrained.reference.sequences import Outputs, Reference, batch_of, padded, takes_part
from omniformer.pretrained.reference.siglip import packed_texts
from omniformer.pretrained.reference.towers import PairReference


class NativeSizeReference(Reference):
    """The image tower: `pixel_values`, `pixel_attention_mask` and `spatial_shapes` in; `last_hidden_state` and
    `pooler_output` out.

    Args:
        model: the loaded model.
        head: the name of its head; None for the tower without one.
        config: of the tower.
    """

    def __init__(self, model: OmniFormer, head: str | None, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.head, self.config = model, head, dict(config)

    def forward(self, *, pixel_values: Tensor, pixel_attention_mask: Tensor, spatial_shapes: Tensor) -> Outputs:
        """The reference's outputs.

        Shapes:
            as for `packed_patches`.

        Raises:
            ValueError: as for `packed_patches`.
        """
        packed = packed_patches(pixel_values, pixel_attention_mask, spatial_shapes, self.config)
        x, layout = self.model.encode(batch_of(packed), self.head)
        pooled = None if self.head is None else self.model.head(self.head)(x, layout)
        return Outputs(
            last_hidden_state=padded(x, takes_part(pixel_values, pixel_attention_mask)), pooler_output=pooled
        )


class NativeSizePairReference(PairReference):
    """Both towers: `input_ids`, `attention_mask` and what `NativeSizeReference` takes in; `logits_per_image`,
    `logits_per_text`, `image_embeds` and `text_embeds`, of length one, out.

    Arguments as for `PairReference`.
    """

    def forward(
        self,
        *,
        input_ids: Tensor,
        pixel_values: Tensor,
        pixel_attention_mask: Tensor,
        spatial_shapes: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_ids and attention_mask int64 `[texts, seq]`; of pictures as for `packed_patches`.

        Raises:
            ValueError: as for `packed_patches` and `packed_texts`.
        """
        pictures = packed_patches(pixel_values, pixel_attention_mask, spatial_shapes, self.vision)
        return self.compared(pictures, packed_texts(input_ids, attention_mask)[0])


def packed_patches(
    pixel_values: Tensor, pixel_attention_mask: Tensor, spatial_shapes: Tensor, config: Mapping[str, Any]
) -> Packed:
    """Padded patches as packed ones, in our order of their numbers: colour after colour.

    Shapes:
        pixel_values `[pictures, patches, patch_size * patch_size * channels]`, pixel_attention_mask int64
        `[pictures, patches]`, spatial_shapes int64 `[pictures, 2]`: rows and columns of patches.

    Raises:
        ValueError: the mask does not leave as many patches as the shape of a picture has; names its row.
    """
    size = square("patch_size", config["patch_size"])
    taken, shapes = takes_part(pixel_values, pixel_attention_mask), spatial_shapes.tolist()
    for row, ((rows, columns), n) in enumerate(zip(shapes, taken.sum(1).tolist(), strict=True)):
        if rows * columns != n:
            raise ValueError(f"spatial_shapes say {rows} x {columns} patches of row {row}, pixel_attention_mask {n}")
    places = [torch.cartesian_prod(torch.arange(rows), torch.arange(columns)) for rows, columns in shapes]
    return Packed(
        values=rearrange(pixel_values[taken], "n (h w c) -> n (c h w)", h=size, w=size),
        positions=torch.cat(places).to(pixel_values.device, torch.float32),
        modality="vision",
        lengths=taken.sum(1).cpu(),
    )
