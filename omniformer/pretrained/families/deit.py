"""DeiT ([Touvron et al. 2020](https://arxiv.org/abs/2012.12877)): ViT with a second token, taught by a teacher."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.vit import ViT, classifier, encoder_names, patch_names
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node


class DeiT(ViT):
    """Distilled DeiT of all sizes, as `DeiTForImageClassificationWithTeacher` and `DeiTForImageClassification` write
    them. The undistilled ones were published as ViT.

    Args:
        config: the content of `config.json`, with the keys and defaults of ViT.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("DeiTForImageClassificationWithTeacher", "DeiTForImageClassification")
    prefix = "deit."
    n_class_tokens: ClassVar[int] = 2
    processor: ClassVar[str] = "DeiTImageProcessor"

    @property
    def heads(self) -> dict[str, Node]:
        """A classifier of the class token, or one of each token."""
        sizes: dict[str, Any] = {"d_model": self.config["hidden_size"], "n_classes": self.n_classes}
        if self.architecture == "DeiTForImageClassification":
            return {"classification": classifier(**sizes, pool=factory("omniformer.heads.FirstToken"))}
        return {"classification": part("omniformer.heads.DistilledHead", **sizes)}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        tokens = ("cls_token", "distillation_token")
        yield from patch_names("embedders.vision", "deit.embeddings", self.conv_shape, self.grid, tokens)
        yield from encoder_names(self.config, "deit")
        if self.architecture == "DeiTForImageClassification":
            yield from linear("heads.classification.classes", "classifier")
        else:
            yield from linear("heads.classification.classes", "cls_classifier")
            yield from linear("heads.classification.distilled", "distillation_classifier")
