"""SigLIP ([Zhai et al. 2023](https://arxiv.org/abs/2303.15343)) and the models of fixed size of SigLIP 2
([Tschannen et al. 2025](https://arxiv.org/abs/2502.14786)): pictures and texts in one space, and their towers alone.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.clip import (
    CLIP,
    CLIPText,
    CLIPVision,
    conv_shape_of,
    grid_of,
    part_of,
    text_embedder,
    text_names,
    tower,
    tower_names,
)
from omniformer.pretrained.family import factory, part, recipe_of
from omniformer.pretrained.names import Name, linear, same
from omniformer.pretrained.reference.any_size import AnySizeReference
from omniformer.pretrained.reference.patches import sides
from omniformer.pretrained.reference.siglip import SigLIPReference, SigLIPTextReference
from omniformer.pretrained.tokenizers.pictures import picture_tokenizer
from omniformer.pretrained.tokenizers.siglip import siglip_texts
from omniformer.recipe import Node

_TOWER = {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "attention_dropout": 0.0}
_TOWER |= {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
TEXT: dict[str, Any] = _TOWER | {"vocab_size": 32000, "max_position_embeddings": 64, "projection_size": None}
VISION: dict[str, Any] = _TOWER | {"num_channels": 3, "image_size": 224, "patch_size": 16, "vision_use_head": True}


class SigLIP(CLIP):
    """Both towers, as `SiglipModel` writes them.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("SiglipModel",)
    defaults: ClassVar[dict[str, Any]] = {}

    @property
    def text(self) -> dict[str, Any]:
        """The configuration of the text tower."""
        return part_of(self.config, "text_config", TEXT)

    @property
    def vision(self) -> dict[str, Any]:
        """The configuration of the image tower."""
        return part_of(self.config, "vision_config", VISION)

    @property
    def recipe(self) -> Node:
        """Two towers, both read in whole, and a head that compares what they make of a sample."""
        text, vision = self.text, self.vision
        if not vision["vision_use_head"]:
            raise ValueError("vision_config has vision_use_head=false, and pictures are compared by it; accepted: true")
        head = part(
            "omniformer.heads.ContrastiveHead",
            d_model={"vision": vision["hidden_size"], "text": text["hidden_size"]},
            modalities=["vision", "text"],
            d_embedding=None,
            pool={"vision": _picture_pool(vision), "text": _text_pool(text)},
            temperature=0.1,
            bias=-10.0,
            max_scale=None,
        )
        towers = [tower(vision, "vision_config."), tower(text, "text_config.")]
        return recipe_of(
            core=part("omniformer.core.towers.Towers", towers=towers),
            # In the order of the towers.
            embedders={"vision": self.picture_embedder(vision), "text": text_embedder(text)},
            heads={"contrastive": head},
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from self.picture_names(self.vision, "core.towers.0", "heads.contrastive.pools.vision")
        yield from text_names(self.text, "core.towers.1")
        yield from linear("heads.contrastive.pools.text.map", "text_model.head")
        yield from same("heads.contrastive.log_scale", "logit_scale", (1,))
        yield from same("heads.contrastive.bias", "logit_bias", (1,))

    def picture_embedder(self, config: Mapping[str, Any]) -> Node:
        """What embeds patches, of a tower of this configuration."""
        return picture_embedder(config)

    def picture_names(self, config: Mapping[str, Any], core: str, pool: str | None) -> Iterator[Name]:
        """The tensors of the image tower; see `vision_names`."""
        return vision_names(config, core, pool)

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches, and texts that are padded to the places of their tower."""
        return _picture_tokenizer(folder, self.vision, self.chosen_size) | siglip_texts(folder, self.text)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids`, `attention_mask` and `pixel_values` in; similarities and vectors out."""
        return SigLIPReference(model, self.vision, self.text)


class SigLIPText(CLIPText):
    """The text tower alone, as `SiglipTextModel` writes it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("SiglipTextModel",)
    prefix = "text_model."
    defaults: ClassVar[dict[str, Any]] = TEXT

    @property
    def recipe(self) -> Node:
        """One tower, and the map of its last token."""
        head = part("omniformer.heads.VectorHead", d_model=self.config["hidden_size"], pool=_text_pool(self.config))
        return recipe_of(core=tower(self.config), embedders={"text": text_embedder(self.config)}, heads={"text": head})

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from text_names(self.config, "core")
        yield from linear("heads.text.pool.map", "text_model.head")

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Texts that are padded to the places of the tower."""
        return siglip_texts(folder, self.config)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids` and `attention_mask` in; `pooler_output` and `last_hidden_state` out."""
        return SigLIPTextReference(model, self.config)


class SigLIPVision(CLIPVision):
    """The image tower alone, as `SiglipVisionModel` writes it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("SiglipVisionModel",)
    prefix = "vision_model."
    defaults: ClassVar[dict[str, Any]] = VISION

    @property
    def recipe(self) -> Node:
        """One tower over patches alone, and a query that collects from them."""
        config = self.config
        head = part("omniformer.heads.VectorHead", d_model=config["hidden_size"], pool=_picture_pool(config))
        heads = {"picture": head} if config["vision_use_head"] else {}
        return recipe_of(core=tower(config), embedders={"vision": self.picture_embedder(config)}, heads=heads)

    def names(self) -> Iterator[Name]:
        """The table of names."""
        pool = "heads.picture.pool" if self.config["vision_use_head"] else None
        return self.picture_names(self.config, "core", pool)

    def picture_embedder(self, config: Mapping[str, Any]) -> Node:
        """What embeds patches, of a tower of this configuration."""
        return picture_embedder(config)

    def picture_names(self, config: Mapping[str, Any], core: str, pool: str | None) -> Iterator[Name]:
        """The tensors of the image tower; see `vision_names`."""
        return vision_names(config, core, pool)

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches, and nothing before them."""
        return _picture_tokenizer(folder, self.config, self.chosen_size)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values` in; `last_hidden_state` and `pooler_output` out."""
        return AnySizeReference(
            model,
            self.head,
            image_size=sides("image_size", self.config["image_size"]),
            patch_size=conv_shape_of(self.config)[-1],
            n_class_tokens=0,
        )


def picture_embedder(config: Mapping[str, Any]) -> Node:
    """A map of each patch, and a table of places."""
    return part(
        "omniformer.embedders.VectorEmbedder",
        d_model=config["hidden_size"],
        features=math.prod(conv_shape_of(config)[1:]),
        axes=2,
        position=factory("omniformer.core.positions.Learned", sizes=grid_of(config)),
    )


def _picture_pool(config: Mapping[str, Any]) -> Node:
    """A query that collects from the patches."""
    core = tower(config)
    return factory(
        "omniformer.heads.MultiheadAttentionPool",
        n_heads=config["num_attention_heads"],
        feedforward=core["feedforward"],
        norm=core["norm"],
    )


def _text_pool(config: Mapping[str, Any]) -> Node:
    return factory("omniformer.heads.DenseLastToken", d_out=config["projection_size"] or config["hidden_size"])


def vision_names(config: Mapping[str, Any], core: str, pool: str | None) -> Iterator[Name]:
    """The table of names of an image tower.

    Args:
        config: of the tower.
        core: the name of ours.
        pool: the name of what collects from the patches; None where nothing does.
    """
    conv, grid = conv_shape_of(config), grid_of(config)
    ours, theirs = "embedders.vision", "vision_model.embeddings"
    yield from same(f"{ours}.map.weight", f"{theirs}.patch_embedding.weight", conv)
    yield from same(f"{ours}.map.bias", f"{theirs}.patch_embedding.bias")
    table = (math.prod(grid), conv[0])
    yield from same(f"{ours}.position.table", f"{theirs}.position_embedding.weight", table)
    yield from body_names(config, core, pool)


def body_names(config: Mapping[str, Any], core: str, pool: str | None) -> Iterator[Name]:
    """What of `vision_names` stands above the embedder."""
    yield from tower_names(config, core, "vision_model.encoder.layers")
    yield from linear(f"{core}.norm", "vision_model.post_layernorm")
    if pool is not None:
        yield from _pool_names(config, pool, "vision_model.head")


def _pool_names(config: Mapping[str, Any], ours: str, theirs: str) -> Iterator[Name]:
    yield from same(f"{ours}.query", f"{theirs}.probe", (1, 1, config["hidden_size"]))
    for kind in ("weight", "bias"):
        yield from same(f"{ours}.qkv.{kind}", f"{theirs}.attention.in_proj_{kind}")
    yield from linear(f"{ours}.out", f"{theirs}.attention.out_proj")
    yield from linear(f"{ours}.norm", f"{theirs}.layernorm")
    yield from linear(f"{ours}.feedforward.up", f"{theirs}.mlp.fc1")
    yield from linear(f"{ours}.feedforward.down", f"{theirs}.mlp.fc2")


def _picture_tokenizer(folder: Path, config: Mapping[str, Any], chosen: bool) -> dict[str, Tokenizer]:
    return picture_tokenizer(
        folder,
        processor="SiglipImageProcessor",
        patch_size=conv_shape_of(config)[-1],
        channels=config["num_channels"],
        image_size=sides("image_size", config["image_size"]),
        n_class_tokens=0,
        chosen=chosen,
    )
