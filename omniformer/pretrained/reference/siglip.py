"""SigLIP's towers, together and that of texts alone, behind the reference's keywords."""

import torch
from omniformer_tokenizers import Packed
from torch import Tensor

from omniformer.pretrained.reference.clip import CLIPReference
from omniformer.pretrained.reference.patches import patches, square
from omniformer.pretrained.reference.sequences import Outputs, batch_of, padded, takes_part
from omniformer.pretrained.reference.towers import TowerReference


class SigLIPReference(CLIPReference):
    """Both towers: `input_ids`, `attention_mask` and `pixel_values` in; `logits_per_image` and `logits_per_text`,
    offset included, `image_embeds` and `text_embeds`, of length one, out.

    Arguments as for `PairReference`.
    """

    def pictures(self, pixel_values: Tensor) -> Packed:
        """Pictures in patches."""
        size = square("patch_size", self.vision["patch_size"])
        return patches(pixel_values, size, n_class_tokens=0, modality="vision")

    def texts(self, input_ids: Tensor, attention_mask: Tensor | None) -> Packed:
        """Texts with what pads them, of which the tower reads the last place."""
        return packed_texts(input_ids, attention_mask)[0]


class SigLIPTextReference(TowerReference):
    """The text tower: `input_ids` and `attention_mask` in; `pooler_output` and `last_hidden_state` out.

    Arguments as for `TowerReference`.
    """

    def forward(self, *, input_ids: Tensor, attention_mask: Tensor | None = None) -> Outputs:
        """The reference's outputs.

        Shapes:
            input_ids and attention_mask int64 `[texts, seq]`.
        """
        packed, taken = packed_texts(input_ids, attention_mask)
        x, layout = self.model.encode(batch_of(packed), "text")
        return Outputs(pooler_output=self.model.heads["text"](x, layout), last_hidden_state=padded(x, taken))


def packed_texts(input_ids: Tensor, attention_mask: Tensor | None) -> tuple[Packed, Tensor]:
    """Texts, and which places they have. Places count from the row's beginning, as the reference's positions do.

    Shapes:
        input_ids and attention_mask int64 `[texts, seq]`.

    Raises:
        ValueError: the mask leaves out the last place of a row, which is the one that is read.
    """
    taken = takes_part(input_ids, attention_mask)
    if bool((~taken[:, -1]).any()):
        row = int((~taken[:, -1]).nonzero()[0])
        raise ValueError(
            f"attention_mask leaves out the last place of row {row}, of which SigLIP reads; it was trained on texts "
            "whose padding is seen: give no mask"
        )
    place = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    packed = Packed(
        values=input_ids[taken],
        positions=place[taken][:, None].float(),
        modality="text",
        lengths=taken.sum(1).cpu(),
    )
    return packed, taken
