"""Towers of pictures and of texts behind the reference's keywords, alone and in pairs."""

from collections.abc import Mapping
from typing import Any

from omniformer_tokenizers import Packed

from omniformer.model import OmniFormer
from omniformer.pretrained.reference.sequences import Outputs, Reference, batch_of


class TowerReference(Reference):
    """One tower; a subclass says by `forward` which keywords it takes.

    Args:
        model: the loaded model.
        config: of the tower.
    """

    def __init__(self, model: OmniFormer, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.config = model, dict(config)


class PairReference(Reference):
    """Both towers; a subclass says by `forward` which keywords it takes.

    Args:
        model: the loaded model.
        vision: the configuration of the image tower.
        text: the configuration of the text tower.
    """

    def __init__(self, model: OmniFormer, vision: Mapping[str, Any], text: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.vision, self.text = model, dict(vision), dict(text)

    def compared(self, pictures: Packed, texts: Packed) -> Outputs:
        """`logits_per_image` and `logits_per_text`, offset included where there is one; `image_embeds` and
        `text_embeds`, of length one.
        """
        head: Any = self.model.heads["contrastive"]
        images, words = (
            head.embed(*self.model.encode(batch_of(packed), "contrastive"), packed.modality)
            for packed in (pictures, texts)
        )
        similarity = words @ images.T * head.scale()
        similarity = similarity if head.bias is None else similarity + head.bias
        return Outputs(
            logits_per_text=similarity, logits_per_image=similarity.T, image_embeds=images, text_embeds=words
        )
