"""Idefics3 ([Laurençon et al. 2024](https://arxiv.org/abs/2408.12637)): a language model that reads large pictures tile
by tile among its words.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.clip import conv_shape_of, grid_of
from omniformer.pretrained.families.siglip import SigLIPVision
from omniformer.pretrained.family import Family, family_of, part, recipe_of
from omniformer.pretrained.names import Name, linear
from omniformer.pretrained.reference.patches import square
from omniformer.pretrained.reference.tiles_in_text import TilesInTextReference
from omniformer.pretrained.tokenizers.picture_tiles import picture_tile_tokenizer
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node

_TEXTS = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
_VISION: dict[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
}
# What the reference's processor writes around tiles.
_AROUND = "<fake_token_around_image>"
_TILES = {
    "tile": f"{_AROUND}<row_{{row}}_col_{{column}}><image>",
    "row_end": "\n",
    "whole": f"\n{_AROUND}<global-img><image>{_AROUND}",
    "alone": f"{_AROUND}<global-img><image>{_AROUND}",
}


class Idefics3(Family):
    """Idefics3 as `Idefics3ForConditionalGeneration` writes it: SigLIP's tower over tiles, pixel shuffle with one map,
    and a language model of another family.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Idefics3ForConditionalGeneration",)
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "text_config.vocab_size"}
    defaults: ClassVar[dict[str, Any]] = {"image_token_id": 128257, "scale_factor": 2, "tie_word_embeddings": False}
    ignored = ("*.rotary_emb.inv_freq", "lm_head.weight")
    processor: ClassVar[str] = "Idefics3ImageProcessor"
    """The image processor of the reference."""

    @property
    def text(self) -> Family:
        """The language model."""
        config = {"model_type": "llama", "rms_norm_eps": 1e-5, **(self.config.get("text_config") or {})}
        tied = self.config["tie_word_embeddings"] or config.get("tie_word_embeddings", False)
        if config["model_type"] not in _TEXTS:
            raise ValueError(f"text_config has model_type={config['model_type']!r}; accepted: {', '.join(_TEXTS)}")
        return family_of({**config, "architectures": None, "tie_word_embeddings": tied}, "text_config")

    @property
    def vision(self) -> SigLIPVision:
        """The tower."""
        config = {**_VISION, **(self.config.get("vision_config") or {})}
        return SigLIPVision({**config, "architectures": None, "vision_use_head": False})

    @property
    def recipe(self) -> Node:
        """The language model, whose words and pictures count alike as places, and the tower as an embedder."""
        text, vision = self.text.recipe, self.vision.recipe
        core, n, block = text["core"], self._n_patches, self.config["scale_factor"]
        if n % block:
            raise ValueError(f"config.json has scale_factor={block}, and tiles of {n} x {n} patches: blocks do not fit")
        pictures = part(
            "omniformer.embedders.MergingTowerEmbedder",
            d_model=core["d_model"],
            embedder=vision["embedders"]["vision"]["node"],
            tower=vision["core"],
            block=block,
            bias=False,
        )
        order = core["rotary"] | {"_target_": "omniformer.core.ordered_rotary.OrderedRotary"}
        return recipe_of(
            core=core | {"rotary": order},
            embedders={"text": text["embedders"]["text"]["node"], "vision": pictures},
            heads={name: each["node"] for name, each in text["heads"].items()},
            rules=text["rules"],
        )

    @property
    def _n_patches(self) -> int:
        """Rows of patches in a tile, and columns."""
        n = grid_of(self.vision.config)[0]
        square("image_size", self.vision.config["image_size"])
        # The reference finds positions by fractions of the side, which for some numbers are rounded to other rows.
        with torch.device("cpu"):
            share = (torch.arange(n, dtype=torch.float32) * (1.0 / torch.tensor(n))).clamp(max=1 - 1e-6)
            rows = torch.bucketize(share, torch.arange(1 / n, 1.0, 1 / n), right=True).tolist()
        if rows != list(range(n)):
            raise ValueError(
                f"vision_config has {n} patches a side, whose positions the reference rounds to wrong rows"
            )
        return n

    def names(self) -> Iterator[Name]:
        """The table of names: those of both models, in their places."""
        for name in self.text.names():
            inner = name.theirs.startswith("model.")
            yield replace(name, theirs=f"model.text_{name.theirs}" if inner else name.theirs)
        for name in self.vision.names():
            place, _, rest = name.ours.partition(".")
            ours = f"tower.{rest}" if place == "core" else f"embedder.{rest.removeprefix('vision.')}"
            yield replace(name, ours=f"embedders.vision.{ours}", theirs=f"model.{name.theirs}")
        yield from linear("embedders.vision.map", "model.connector.modality_projection.proj", bias=False)

    @property
    def max_seq_len(self) -> int | None:
        """The longest text of the language model's training, pictures included."""
        return self.text.max_seq_len

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """Refuses: pictures of any size are cut into tiles of one.

        Raises:
            ValueError: as said.
        """
        raise ValueError(
            f"image_size={image_size}: {self.architecture} reads pictures of any size in tiles of one; leave it out"
        )

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Texts with places for tiles, and blocks of the patches of tiles."""
        config = self.vision.config
        tiles = picture_tile_tokenizer(
            folder,
            processor=self.processor,
            patch_size=conv_shape_of(config)[-1],
            channels=config["num_channels"],
            image_size=square("image_size", config["image_size"]),
            block=self.config["scale_factor"],
        )
        held = {"vision": self.config["image_token_id"]}
        return text_tokenizer(folder, self.text.config, placeholders=held, tiles=_TILES) | tiles

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids`, `attention_mask` and `pixel_values` in, `logits` out."""
        config = self.vision.config
        side = square("image_size", config["image_size"])
        return TilesInTextReference(
            model,
            self.head or "",
            placeholder=self.config["image_token_id"],
            patch_size=conv_shape_of(config)[-1],
            image_size=(side, side),
            block=self.config["scale_factor"],
        )
