"""CLIP ([Radford et al. 2021](https://arxiv.org/abs/2103.00020)): pictures and texts in one space."""

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.vit import patch_embedder, stretch, written
from omniformer.pretrained.family import ACTIVATIONS, Family, factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.clip import CLIPReference, CLIPTextReference, CLIPVisionReference
from omniformer.pretrained.reference.patches import sides, square
from omniformer.pretrained.tokenizers.pictures import picture_tokenizer
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node

TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "eos_token_id": 49407,
}
VISION: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
}
CAUSAL = "omniformer.core.rules.Causal"


class CLIP(Family):
    """Both towers, as `CLIPModel` writes them.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("CLIPModel",)
    defaults: ClassVar[dict[str, Any]] = {"projection_dim": 512, "logit_scale_init_value": 2.6592}
    sizes: ClassVar[dict[str, str]] = {
        "vocab_size": "text_config.vocab_size",
        "max_seq_len": "text_config.max_position_embeddings",
    }
    ignored = ("*.embeddings.position_ids",)

    @property
    def text(self) -> dict[str, Any]:
        """The configuration of the text tower."""
        return part_of(self.config, "text_config", TEXT)

    @property
    def vision(self) -> dict[str, Any]:
        """The configuration of the image tower."""
        return part_of(self.config, "vision_config", VISION)

    @property
    def d_embedding(self) -> int:
        """Width of the common space."""
        return self.config["projection_dim"]

    @property
    def log_scale(self) -> float:
        """Where the scale begins, as a logarithm."""
        return self.config["logit_scale_init_value"]

    @property
    def recipe(self) -> Node:
        """Two towers, the one over texts causal, and a head that compares what they make of a sample."""
        text, vision = self.text, self.vision
        head = part(
            "omniformer.heads.ContrastiveHead",
            d_model={"vision": vision["hidden_size"], "text": text["hidden_size"]},
            modalities=["vision", "text"],
            d_embedding=self.d_embedding,
            pool={"vision": factory("omniformer.heads.FirstToken"), "text": factory("omniformer.heads.LastToken")},
            temperature=max(math.exp(-self.log_scale), 0.01),
        )
        return recipe_of(
            core=part(
                "omniformer.core.towers.Towers",
                towers=[tower(vision, "vision_config."), tower(text, "text_config.")],
                rules=[part("omniformer.core.rules.Full"), part(CAUSAL)],
            ),
            # In the order of the towers.
            embedders={"vision": _picture_embedder(vision), "text": text_embedder(text)},
            heads={"contrastive": head},
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from _vision_names(self.vision, "core.towers.0")
        yield from text_names(self.text, "core.towers.1")
        yield from same("heads.contrastive.maps.vision.weight", "visual_projection.weight")
        yield from same("heads.contrastive.maps.text.weight", "text_projection.weight")
        yield from same("heads.contrastive.log_scale", "logit_scale")

    @property
    def max_seq_len(self) -> int:
        """The places of the text tower's positions."""
        return self.text["max_position_embeddings"]

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size, to which the model's positions are stretched.

        The reference reads back a model of squares only: it has no CLIP of other shapes but by stretching in each call.
        """
        other = copy.copy(self)
        other.config = self.config | {"vision_config": self.vision | {"image_size": written(image_size)}}
        other.config.pop("vision_config_dict", None)
        other.chosen_size = True
        stretch(model, grid_of(other.vision))
        return other

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches behind a class token, and texts between their start and their end."""
        return _picture_tokenizer(folder, self.vision, self.chosen_size) | text_tokenizer(folder, self.text)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids`, `attention_mask` and `pixel_values` in; similarities and vectors out."""
        return CLIPReference(model, self.vision, self.text)


class CLIPVision(Family):
    """The image tower alone, as `CLIPVisionModelWithProjection` writes it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("CLIPVisionModelWithProjection",)
    defaults: ClassVar[dict[str, Any]] = VISION
    ignored = ("*.embeddings.position_ids",)

    @property
    def recipe(self) -> Node:
        """One tower, and the map of its class token into the common space."""
        return recipe_of(
            core=tower(self.config),
            embedders={"vision": _picture_embedder(self.config)},
            heads={"picture": _vector_head(self.config, "omniformer.heads.FirstToken")},
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from _vision_names(self.config, "core")
        yield from same("heads.picture.map.weight", "visual_projection.weight")

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size, to which the model's positions are stretched.

        The reference reads back a model of squares only: it has no CLIP of other shapes but by stretching in each call.
        """
        other = copy.copy(self)
        other.config = self.config | {"image_size": written(image_size)}
        other.chosen_size = True
        stretch(model, grid_of(other.config))
        return other

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches behind a class token."""
        return _picture_tokenizer(folder, self.config, self.chosen_size)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values` in; `image_embeds`, not yet of length one, and `last_hidden_state` out."""
        return CLIPVisionReference(model, self.config)


class CLIPText(Family):
    """The text tower alone, as `CLIPTextModelWithProjection` writes it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("CLIPTextModelWithProjection",)
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size", "max_seq_len": "max_position_embeddings"}
    defaults: ClassVar[dict[str, Any]] = TEXT
    ignored = ("*.embeddings.position_ids",)

    @property
    def recipe(self) -> Node:
        """One causal tower, and the map of its last token into the common space."""
        return recipe_of(
            core=tower(self.config),
            embedders={"text": text_embedder(self.config)},
            heads={"text": _vector_head(self.config, "omniformer.heads.LastToken")},
            rules={"text": part(CAUSAL)},
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from text_names(self.config, "core")
        yield from same("heads.text.map.weight", "text_projection.weight")

    @property
    def max_seq_len(self) -> int:
        """The places of the learned positions."""
        return self.config["max_position_embeddings"]

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Texts between their start and their end."""
        return text_tokenizer(folder, self.config)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids` and `attention_mask` in; `text_embeds`, not yet of length one, and `last_hidden_state` out."""
        return CLIPTextReference(model, self.config)


def part_of(config: Mapping[str, Any], key: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """One tower's part of a configuration; `..._config_dict` of older files wins where it is, defaults and all."""
    older = config.get(f"{key}_dict")
    return {**defaults, **(config.get(key) or {}), **({} if older is None else {**defaults, **older})}


def tower(config: Mapping[str, Any], where: str = "") -> Node:
    """A pre-norm encoder.

    Args:
        config: of the tower.
        where: what stands before its keys in messages.
    """
    name = config["hidden_act"]
    if name not in ACTIVATIONS:
        raise ValueError(f"config.json has {where}hidden_act={name!r}; accepted: {', '.join(ACTIVATIONS)}")
    return part(
        "omniformer.core.transformer.Transformer",
        d_model=config["hidden_size"],
        n_layers=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        attention=factory("omniformer.core.attention.multihead.SelfAttention", dropout=config["attention_dropout"]),
        feedforward=factory(
            "omniformer.core.feedforward.FeedForward", d_ff=config["intermediate_size"], activation=ACTIVATIONS[name]
        ),
        norm=factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_eps"]),
    )


def _picture_embedder(config: Mapping[str, Any]) -> Node:
    return patch_embedder(
        d_model=config["hidden_size"],
        features=math.prod(conv_shape_of(config)[1:]),
        sizes=grid_of(config),
        n_class_tokens=1,
        bias=False,
        norm=factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_eps"]),
    )


def text_embedder(config: Mapping[str, Any]) -> Node:
    """Ids with learned positions."""
    return part(
        "omniformer.embedders.IdEmbedder",
        d_model=config["hidden_size"],
        vocab_size=config["vocab_size"],
        position=factory("omniformer.core.positions.Learned", sizes=[config["max_position_embeddings"]]),
    )


def _vector_head(config: Mapping[str, Any], pool: str) -> Node:
    return part(
        "omniformer.heads.VectorHead",
        d_model=config["hidden_size"],
        d_embedding=config["projection_dim"],
        pool=factory(pool),
    )


def grid_of(config: Mapping[str, Any]) -> list[int]:
    """Rows and columns of patches."""
    return [side // conv_shape_of(config)[-1] for side in sides("image_size", config["image_size"])]


def conv_shape_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of the kernel that maps patches, in the files."""
    p = square("patch_size", config["patch_size"])
    return (config["hidden_size"], config["num_channels"], p, p)


def _vision_names(config: Mapping[str, Any], core: str) -> Iterator[Name]:
    ours, theirs = "embedders.vision", "vision_model.embeddings"
    conv, grid = conv_shape_of(config), grid_of(config)
    table = (1 + grid[0] * grid[1], conv[0])
    yield from same(f"{ours}.vectors", f"{theirs}.class_embedding", conv[:1])
    positions = f"{theirs}.position_embedding.weight"
    yield Name(ours=f"{ours}.positions", theirs=positions, their_rows=(0, 1), shape=table)
    yield Name(ours=f"{ours}.embedder.position.table", theirs=positions, their_rows=(1, table[0]), shape=table)
    yield from same(f"{ours}.embedder.map.weight", f"{theirs}.patch_embedding.weight", conv)
    yield from linear(f"{ours}.norm", "vision_model.pre_layrnorm")
    yield from tower_names(config, core, "vision_model.encoder.layers")
    yield from linear(f"{core}.norm", "vision_model.post_layernorm")


def text_names(config: Mapping[str, Any], core: str) -> Iterator[Name]:
    """The table of names of a tower of texts and what stands below it."""
    ours, theirs = "embedders.text", "text_model.embeddings"
    yield from same(f"{ours}.table.weight", f"{theirs}.token_embedding.weight")
    yield from same(f"{ours}.position.table", f"{theirs}.position_embedding.weight")
    yield from tower_names(config, core, "text_model.encoder.layers")
    yield from linear(f"{core}.norm", "text_model.final_layer_norm")


def tower_names(config: Mapping[str, Any], core: str, their_layers: str) -> Iterator[Name]:
    """The table of names of an encoder."""
    for ours, theirs in layers(config["num_hidden_layers"], f"{core}.blocks", their_layers):
        rows = {f"{theirs}.self_attn.{name}_proj": config["hidden_size"] for name in "qkv"}
        yield from linear(f"{ours}.attention.norm", f"{theirs}.layer_norm1")
        yield from stacked(f"{ours}.attention.branch.qkv", rows)
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.self_attn.out_proj")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.layer_norm2")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.mlp.fc1")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.mlp.fc2")


def _picture_tokenizer(folder: Path, config: Mapping[str, Any], chosen: bool) -> dict[str, Tokenizer]:
    return picture_tokenizer(
        folder,
        processor="CLIPImageProcessor",
        patch_size=conv_shape_of(config)[-1],
        channels=config["num_channels"],
        image_size=sides("image_size", config["image_size"]),
        chosen=chosen,
    )
