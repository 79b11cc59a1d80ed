"""LLaVA ([Liu et al. 2023](https://arxiv.org/abs/2304.08485)): a language model that reads pictures among its words."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.clip import CLIPVision, conv_shape_of, grid_of
from omniformer.pretrained.families.siglip import SigLIPVision
from omniformer.pretrained.families.vit import stretch, written
from omniformer.pretrained.family import Family, family_of, part, recipe_of
from omniformer.pretrained.names import Name, linear
from omniformer.pretrained.reference.patches import sides
from omniformer.pretrained.reference.pictures_in_text import PicturesInTextReference
from omniformer.pretrained.tokenizers.pictures import picture_tokenizer
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node

# Of the towers: how many class tokens they have, and how `vision_feature_select_strategy` says that none of them is
# read; their image processors.
_TOWERS: dict[str, tuple[type[CLIPVision], int, str, str]] = {
    "clip_vision_model": (CLIPVision, 1, "default", "CLIPImageProcessor"),
    "siglip_vision_model": (SigLIPVision, 0, "full", "SiglipImageProcessor"),
}


class LLaVA(Family):
    """LLaVA of llava-hf, as `LlavaForConditionalGeneration` writes it: a tower of CLIP or SigLIP, two maps, and a
    language model of another family.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("LlavaForConditionalGeneration",)
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "text_config.vocab_size"}
    defaults: ClassVar[dict[str, Any]] = {
        "image_token_index": 32000,
        "projector_hidden_act": "gelu",
        "vision_feature_select_strategy": "default",
        "vision_feature_layer": -2,
        "multimodal_projector_bias": True,
        "tie_word_embeddings": False,
    }
    ignored = ("*.embeddings.position_ids", "*.rotary_emb.inv_freq", "language_model.lm_head.weight")
    texts: ClassVar[tuple[str, ...]] = ("llama", "mistral", "qwen2", "qwen3")
    """The `model_type`s of its language models, the usual one first."""

    @property
    def text_config(self) -> dict[str, Any]:
        """What the configuration says of the language model."""
        return self.config.get("text_config") or {}

    @property
    def vision_config(self) -> dict[str, Any]:
        """What the configuration says of the tower."""
        return self.config.get("vision_config") or _PUBLISHED

    @property
    def text(self) -> Family:
        """The language model."""
        config = {"model_type": self.texts[0], **self.text_config}
        tied = self.config["tie_word_embeddings"] or config.get("tie_word_embeddings", False)
        if config["model_type"] not in self.texts:
            raise ValueError(f"text_config has model_type={config['model_type']!r}; accepted: {', '.join(self.texts)}")
        return family_of({**config, "architectures": None, "tie_word_embeddings": tied}, "text_config")

    @property
    def vision(self) -> CLIPVision:
        """The tower."""
        config = {"model_type": "clip_vision_model", **self.vision_config}
        kind = config["model_type"]
        if kind not in _TOWERS:
            raise ValueError(f"vision_config has model_type={kind!r}; accepted: {', '.join(_TOWERS)}")
        family, _, strategy, _ = _TOWERS[kind]
        self.need("vision_feature_select_strategy", strategy)
        if config.get("vision_use_head", kind == "siglip_vision_model"):
            raise ValueError("vision_config has vision_use_head=true, and nobody reads that head; accepted: false")
        return family({**config, "architectures": None})

    @property
    def recipe(self) -> Node:
        """The language model, whose words and pictures count alike as places, and the tower as an embedder."""
        text, vision = self.text.recipe, self.vision
        core = text["core"]
        order = core["rotary"] | {"_target_": "omniformer.core.ordered_rotary.OrderedRotary"}
        pictures = part(
            "omniformer.embedders.TowerEmbedder",
            d_model=core["d_model"],
            embedder=vision.recipe["embedders"]["vision"]["node"],
            tower=vision.recipe["core"],
            n_class_tokens=self._n_class_tokens,
            **self.projector,
        )
        return recipe_of(
            core=core | {"rotary": order},
            embedders={"text": text["embedders"]["text"]["node"], "vision": pictures},
            heads={name: each["node"] for name, each in text["heads"].items()},
            rules=dict.fromkeys(text["rules"], self.rule),
        )

    @property
    def projector(self) -> Node:
        """What of the tower is read, and the maps of it to the width of the language model."""
        return {
            "read": self._n_blocks(self.vision.config["num_hidden_layers"]),
            "activation": self.activation("projector_hidden_act"),
            "bias": self.config["multimodal_projector_bias"],
        }

    @property
    def rule(self) -> Node:
        """Who may attend to whom: as in the language model."""
        return next(iter(self.text.recipe["rules"].values()))

    def _n_blocks(self, n_layers: int) -> int:
        """How many blocks of the tower are read through: `vision_feature_layer` counts its input as the first layer."""
        layer = self.config["vision_feature_layer"]
        n = layer % (n_layers + 1) if isinstance(layer, int) and -n_layers <= layer <= n_layers else 0
        if not n:
            raise ValueError(f"config.json has vision_feature_layer={layer!r}; accepted: one layer of {n_layers}")
        return n

    @property
    def _n_class_tokens(self) -> int:
        return _TOWERS[self.vision.config["model_type"]][1]

    def names(self) -> Iterator[Name]:
        """The table of names: those of both models, in their places."""
        for name in self.text.names():
            yield replace(name, theirs=f"language_model.{name.theirs}")
        for name in self.vision.names():
            place, _, rest = name.ours.partition(".")
            if place == "heads":
                continue
            ours = f"tower.{rest}" if place == "core" else f"embedder.{rest.removeprefix('vision.')}"
            # Older files have a level more, as the tower has by itself.
            theirs, older = (
                f"vision_tower.{each}" for each in (name.theirs.removeprefix("vision_model."), name.theirs)
            )
            yield replace(name, ours=f"embedders.vision.{ours}", theirs=theirs, instead=(older,))
        yield from self.projector_names()

    def projector_names(self) -> Iterator[Name]:
        """The table of names of the maps."""
        bias = self.config["multimodal_projector_bias"]
        for ours, theirs in (("map", "linear_1"), ("second", "linear_2")):
            yield from linear(f"embedders.vision.{ours}", f"multi_modal_projector.{theirs}", bias=bias)

    def in_memory(self, module: str) -> str:
        """Both models, and the maps between them, are parts of one there; the scores stand beside it."""
        if module == "language_model.lm_head":
            return "lm_head"
        return f"model.{module.replace('language_model.model.', 'language_model.')}"

    @property
    def max_seq_len(self) -> int | None:
        """The longest text of the language model's training, pictures included."""
        return self.text.max_seq_len

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size, to which the tower's positions are stretched."""
        other = copy.copy(self)
        vision = {**self.vision_config, "image_size": written(image_size)}
        grid = grid_of(self.vision.config | vision)
        other.config = self.config | {"vision_config": vision, "image_seq_length": math.prod(grid)}
        other.chosen_size = True
        stretch(model, grid)
        return other

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Texts with places for pictures, and patches."""
        config = self.vision.config
        pictures = picture_tokenizer(
            folder,
            processor=_TOWERS[config["model_type"]][3],
            patch_size=conv_shape_of(config)[-1],
            channels=config["num_channels"],
            image_size=sides("image_size", config["image_size"]),
            n_class_tokens=0,
            chosen=self.chosen_size,
        )
        return (
            text_tokenizer(folder, self.text.config, placeholders={"vision": self.config["image_token_index"]})
            | pictures
        )

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids`, `attention_mask` and `pixel_values` in, `logits` out."""
        config = self.vision.config
        return PicturesInTextReference(
            model,
            self.head or "",
            placeholder=self.config["image_token_index"],
            patch_size=conv_shape_of(config)[-1],
            image_size=sides("image_size", config["image_size"]),
        )


# What the reference takes for the tower where its configuration is silent.
_PUBLISHED = {
    "intermediate_size": 4096,
    "hidden_size": 1024,
    "patch_size": 14,
    "image_size": 336,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
