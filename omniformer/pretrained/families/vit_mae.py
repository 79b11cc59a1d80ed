"""Masked autoencoders ([He et al. 2021](https://arxiv.org/abs/2111.06377)): ViT that learned by painting what it did
not see; the part that reads.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.vit import ViT, encoder_names, patch_names
from omniformer.pretrained.names import Name
from omniformer.pretrained.reference.patches import PartlySeenReference
from omniformer.recipe import Node


class ViTMAE(ViT):
    """The encoder of a masked autoencoder, as `ViTMAEModel` writes it.

    Files of `ViTMAEForPreTraining` are read as the part below: the decoder, which is thrown away after learning, is
    reported as unexpected. Pictures are read whole, while the reference hides most of their patches at random whenever
    it is not told which (`noise`). Positions are waves that the reference keeps as they are; here they learn with the
    rest unless `model.freeze=[embedders.*]` keeps them.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("ViTMAEModel", "ViTMAEForPreTraining")
    defaults: ClassVar[dict[str, Any]] = ViT.defaults | {"mask_ratio": 0.75}

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.architecture = self.architectures[0]
        self.config["architectures"] = [self.architecture]

    @property
    def heads(self) -> dict[str, Node]:
        """None."""
        return {}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from patch_names("embedders.vision", "vit.embeddings", self.conv_shape, self.grid, ("cls_token",))
        yield from encoder_names(self.config, "vit")

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values`, and `noise` that says which patches are seen, in; `last_hidden_state` out."""
        return PartlySeenReference(
            model, image_size=self.image_size, patch_size=self.patch_size, mask_ratio=self.config["mask_ratio"]
        )
