"""CLIP's towers, together and alone, behind the reference's keywords."""

from collections.abc import Mapping
from typing import Any

import torch
from omniformer_tokenizers import Packed
from torch import Tensor

from omniformer.pretrained.reference.any_size import sized
from omniformer.pretrained.reference.patches import check_size, patches, sides, square
from omniformer.pretrained.reference.sequences import Outputs, batch_of, padded, takes_part
from omniformer.pretrained.reference.towers import PairReference, TowerReference

# Configurations that say so mean the largest id of a text, whatever it is: an error of the first ones, kept since.
LARGEST_ID = 2


class CLIPReference(PairReference):
    """Both towers: `input_ids`, `attention_mask` and `pixel_values` in; `logits_per_image`, `logits_per_text`,
    `image_embeds` and `text_embeds`, of length one, out.

    Arguments as for `PairReference`.
    """

    def forward(
        self,
        *,
        input_ids: Tensor,
        pixel_values: Tensor,
        attention_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
    ) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_ids and attention_mask int64 `[texts, seq]`, pixel_values `[images, channels, height, width]`, of any
            size where positions are stretched.
        """
        size, patch = sides("image_size", self.vision["image_size"]), square("patch_size", self.vision["patch_size"])
        with sized(self.model, pixel_values, size, patch, interpolate_pos_encoding):
            return self.compared(self.pictures(pixel_values), self.texts(input_ids, attention_mask))

    def pictures(self, pixel_values: Tensor) -> Packed:
        """Pictures as the tower reads them."""
        size = square("patch_size", self.vision["patch_size"])
        return patches(pixel_values, size, n_class_tokens=1, modality="vision")

    def texts(self, input_ids: Tensor, attention_mask: Tensor | None) -> Packed:
        """Texts as the tower reads them."""
        return packed_texts(input_ids, attention_mask, self.text)[0]


class CLIPVisionReference(TowerReference):
    """The image tower: `pixel_values` in; `image_embeds` and `last_hidden_state` out.

    Arguments as for `TowerReference`.
    """

    def forward(self, *, pixel_values: Tensor) -> Outputs:
        """The reference's outputs.

        Shapes:
            pixel_values `[images, channels, height, width]`.
        """
        stages: dict[str, Tensor] = {}
        x, layout = self.model.encode(batch_of(packed_pictures(pixel_values, self.config)), "picture", stages=stages)
        # The reference calls the last state what stands before the last norm.
        last = stages[f"blocks.{self.config['num_hidden_layers'] - 1}"]
        return Outputs(
            image_embeds=self.model.heads["picture"](x, layout),
            last_hidden_state=last.unflatten(0, (len(pixel_values), -1)),
        )


class CLIPTextReference(TowerReference):
    """The text tower: `input_ids` and `attention_mask` in; `text_embeds` and `last_hidden_state` out.

    Arguments as for `TowerReference`.
    """

    def forward(self, *, input_ids: Tensor, attention_mask: Tensor | None = None) -> Outputs:
        """The reference's outputs; states behind the end of a text are zero.

        Shapes:
            input_ids and attention_mask int64 `[texts, seq]`.
        """
        packed, taken = packed_texts(input_ids, attention_mask, self.config)
        x, layout = self.model.encode(batch_of(packed), "text")
        return Outputs(text_embeds=self.model.heads["text"](x, layout), last_hidden_state=padded(x, taken))


def packed_pictures(pixel_values: Tensor, config: Mapping[str, Any]) -> Packed:
    """Pictures of the size that the tower reads, in patches behind a class token.

    Shapes:
        pixel_values `[images, channels, height, width]`.
    """
    check_size("pixel_values", tuple(pixel_values.shape[2:]), sides("image_size", config["image_size"]))
    return patches(pixel_values, square("patch_size", config["patch_size"]), n_class_tokens=1, modality="vision")


def packed_texts(input_ids: Tensor, attention_mask: Tensor | None, config: Mapping[str, Any]) -> tuple[Packed, Tensor]:
    """Texts as far as their end, behind which a causal tower cannot look anyway; and which places those are.

    Places count from the row's beginning, padding included, as the reference's positions do.

    Shapes:
        input_ids and attention_mask int64 `[texts, seq]`.

    Raises:
        ValueError: a text does not end; names its row.
    """
    end = config["eos_token_id"]
    if end == LARGEST_ID:
        last = input_ids.int().argmax(1)
    else:
        ends = input_ids == end
        if bool((~ends.any(1)).any()):
            row = int((~ends.any(1)).nonzero()[0])
            raise ValueError(f"row {row} of input_ids has no end of text, eos_token_id={end}, of which CLIP reads")
        last = ends.int().argmax(1)
    place = torch.arange(input_ids.shape[1], device=input_ids.device)
    taken = takes_part(input_ids, attention_mask) & (place <= last[:, None])
    packed = Packed(
        values=input_ids[taken],
        positions=place.expand_as(input_ids)[taken][:, None].float(),
        modality="text",
        lengths=taken.sum(1).cpu(),
    )
    return packed, taken
