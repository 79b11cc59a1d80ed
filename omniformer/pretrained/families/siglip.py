"""SigLIP ([Zhai et al. 2023](https://arxiv.org/abs/2303.15343)): the tower of pictures."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.clip import CLIPVision, conv_shape_of, grid_of, tower, tower_names
from omniformer.pretrained.family import factory, part, recipe_of
from omniformer.pretrained.names import Name, linear, same
from omniformer.pretrained.reference.patches import PictureReference, sides
from omniformer.pretrained.tokenizers.pictures import picture_tokenizer
from omniformer.recipe import Node


class SigLIPVision(CLIPVision):
    """The image tower alone, as `SiglipVisionModel` writes it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("SiglipVisionModel",)
    prefix = "vision_model."
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 224,
        "patch_size": 16,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "attention_dropout": 0.0,
        "vision_use_head": True,
    }

    @property
    def recipe(self) -> Node:
        """One tower over patches alone, and a query that collects from them."""
        config = self.config
        core = tower(config)
        patches = part(
            "omniformer.embedders.VectorEmbedder",
            d_model=config["hidden_size"],
            features=math.prod(conv_shape_of(config)[1:]),
            axes=2,
            position=factory("omniformer.core.positions.Learned", sizes=grid_of(config)),
        )
        pool = factory(
            "omniformer.heads.MultiheadAttentionPool",
            n_heads=config["num_attention_heads"],
            feedforward=core["feedforward"],
            norm=core["norm"],
        )
        head = part("omniformer.heads.VectorHead", d_model=config["hidden_size"], pool=pool)
        heads = {"picture": head} if config["vision_use_head"] else {}
        return recipe_of(core=core, embedders={"vision": patches}, heads=heads)

    def names(self) -> Iterator[Name]:
        """The table of names."""
        conv, grid = conv_shape_of(self.config), grid_of(self.config)
        ours, theirs = "embedders.vision", "vision_model.embeddings"
        yield from same(f"{ours}.map.weight", f"{theirs}.patch_embedding.weight", conv)
        yield from same(f"{ours}.map.bias", f"{theirs}.patch_embedding.bias")
        table = (math.prod(grid), conv[0])
        yield from same(f"{ours}.position.table", f"{theirs}.position_embedding.weight", table)
        yield from tower_names(self.config, "core", "vision_model.encoder.layers")
        yield from linear("core.norm", "vision_model.post_layernorm")
        if self.config["vision_use_head"]:
            yield from self._pool_names("heads.picture.pool", "vision_model.head")

    def _pool_names(self, ours: str, theirs: str) -> Iterator[Name]:
        yield from same(f"{ours}.query", f"{theirs}.probe", (1, 1, self.config["hidden_size"]))
        for kind in ("weight", "bias"):
            yield from same(f"{ours}.qkv.{kind}", f"{theirs}.attention.in_proj_{kind}")
        yield from linear(f"{ours}.out", f"{theirs}.attention.out_proj")
        yield from linear(f"{ours}.norm", f"{theirs}.layernorm")
        yield from linear(f"{ours}.feedforward.up", f"{theirs}.mlp.fc1")
        yield from linear(f"{ours}.feedforward.down", f"{theirs}.mlp.fc2")

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches, and nothing before them."""
        return picture_tokenizer(
            folder,
            processor="SiglipImageProcessor",
            patch_size=conv_shape_of(self.config)[-1],
            channels=self.config["num_channels"],
            image_size=sides("image_size", self.config["image_size"]),
            n_class_tokens=0,
            chosen=self.chosen_size,
        )

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values` in; `last_hidden_state` and `pooler_output` out."""
        return PictureReference(
            model,
            self.head,
            image_size=sides("image_size", self.config["image_size"]),
            patch_size=conv_shape_of(self.config)[-1],
            n_class_tokens=0,
        )
