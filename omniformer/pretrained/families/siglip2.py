"""SigLIP 2 of any size and shape ([Tschannen et al. 2025](https://arxiv.org/abs/2502.14786), 3.2, NaFlex)."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.clip import part_of
from omniformer.pretrained.families.siglip import TEXT, VISION, SigLIP, SigLIPText, SigLIPVision, body_names
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.names import Name, same
from omniformer.pretrained.reference.native_size import NativeSizePairReference, NativeSizeReference
from omniformer.pretrained.reference.patches import square
from omniformer.pretrained.tokenizers.native_size import native_size_tokenizer
from omniformer.pretrained.tokenizers.siglip import siglip_texts
from omniformer.recipe import Node

_VISION = {key: value for key, value in VISION.items() if key != "image_size"} | {"num_patches": 256}


class _NativeSize:
    """What both kinds with an image tower have in common: pictures of any size, so that none is chosen."""

    architecture: str

    def picture_embedder(self, config: Mapping[str, Any]) -> Node:
        """A map of each patch, and a grid of places that is stretched over each picture."""
        return part(
            "omniformer.embedders.NativeSizeEmbedder",
            d_model=config["hidden_size"],
            features=_features(config),
            position=factory("omniformer.core.positions.Stretched", n_places=_side(config)),
        )

    def picture_names(self, config: Mapping[str, Any], core: str, pool: str | None) -> Iterator[Name]:
        """The tensors of the image tower, whose map has the colours of a pixel side by side."""
        ours, theirs = "embedders.vision", "vision_model.embeddings"
        width, size = config["hidden_size"], square("patch_size", config["patch_size"])
        yield Name(
            ours=f"{ours}.map.weight",
            theirs=f"{theirs}.patch_embedding.weight",
            shape=(width, _features(config)),
            view=(width, config["num_channels"], size, size),
            axes=(0, 2, 3, 1),
        )
        yield from same(f"{ours}.map.bias", f"{theirs}.patch_embedding.bias")
        table = (config["num_patches"], width)
        yield from same(f"{ours}.position.table", f"{theirs}.position_embedding.weight", table)
        yield from body_names(config, core, pool)

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Any:
        """Refuses: it reads any size.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"image_size={image_size}: {self.architecture} reads pictures of any size and shape; leave it out"
        )


class SigLIP2(_NativeSize, SigLIP):
    """Both towers, as `Siglip2Model` writes them; every picture is read in its own shape, in at most as many patches as
    its processor says.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Siglip2Model",)

    @property
    def vision(self) -> dict[str, Any]:
        """The configuration of the image tower."""
        return part_of(self.config, "vision_config", _VISION)

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches of pictures in their own shape, and texts that are padded to the places of their tower."""
        return _pictures(folder, self.vision) | siglip_texts(folder, self.text)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids`, `attention_mask`, `pixel_values`, `pixel_attention_mask` and `spatial_shapes` in; similarities
        and vectors out.
        """
        return NativeSizePairReference(model, self.vision, self.text)


class SigLIP2Text(SigLIPText):
    """The text tower alone, as `Siglip2TextModel` writes it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Siglip2TextModel",)
    defaults: ClassVar[dict[str, Any]] = TEXT


class SigLIP2Vision(_NativeSize, SigLIPVision):
    """The image tower alone, as `Siglip2VisionModel` writes it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Siglip2VisionModel",)
    defaults: ClassVar[dict[str, Any]] = _VISION

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches of pictures in their own shape, and nothing before them."""
        return _pictures(folder, self.config)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values`, `pixel_attention_mask` and `spatial_shapes` in; `last_hidden_state` and `pooler_output`
        out.
        """
        return NativeSizeReference(model, self.head, self.config)


def _features(config: Mapping[str, Any]) -> int:
    return config["num_channels"] * square("patch_size", config["patch_size"]) ** 2


def _side(config: Mapping[str, Any]) -> int:
    """Places along each side of the grid that is learned."""
    side = math.isqrt(n := config["num_patches"])
    if side**2 != n:
        raise ValueError(f"config.json has num_patches={n}; accepted: a square, of which the grid of positions is made")
    return side


def _pictures(folder: Path, config: Mapping[str, Any]) -> dict[str, Tokenizer]:
    size = square("patch_size", config["patch_size"])
    return native_size_tokenizer(folder, patch_size=size, channels=config["num_channels"])
