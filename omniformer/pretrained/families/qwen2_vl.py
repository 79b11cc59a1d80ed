"""Qwen2-VL ([Wang et al. 2024](https://arxiv.org/abs/2409.12191)): a language model that reads pictures of any size
among its words.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.qwen2 import Qwen2
from omniformer.pretrained.family import ACTIVATIONS, Family, factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same
from omniformer.pretrained.reference.grids_in_text import GridsInTextReference
from omniformer.pretrained.reference.patches import square
from omniformer.pretrained.tokenizers.picture_blocks import picture_block_tokenizer
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node

# What the reference takes for the language model where its configuration is silent.
_TEXT: dict[str, Any] = {
    "vocab_size": 152064,
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "max_window_layers": 80,
    "rope_theta": 1_000_000.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
}
# What older files say of it beside the pictures, in no section of its own.
_FLAT = {*Qwen2.defaults, *_TEXT, "rope_scaling", "rope_parameters", "pad_token_id", "initializer_range", "use_cache"}
_FLAT -= {"tie_word_embeddings", "problem_type"}


class Qwen2VL(Family):
    """Qwen2-VL as `Qwen2VLForConditionalGeneration` writes it: a tower over all patches of a picture, a merger of
    blocks of them, and Qwen2 with M-RoPE.

    Args:
        config: the content of `config.json`; of older files, which name the language model's sizes beside the
            pictures', these are put in a section of their own, as newer ones have it.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Qwen2VLForConditionalGeneration",)
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "text_config.vocab_size"}
    defaults: ClassVar[dict[str, Any]] = {"image_token_id": 151655, "tie_word_embeddings": False}
    ignored = ("*.rotary_emb.inv_freq", "*.rotary_pos_emb.inv_freq", "lm_head.weight")
    published: ClassVar[dict[str, Any]] = {
        "depth": 32,
        "embed_dim": 1280,
        "hidden_size": 3584,
        "hidden_act": "quick_gelu",
        "mlp_ratio": 4,
        "num_heads": 16,
        "in_channels": 3,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    """What the reference takes for the tower where its configuration is silent."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        if not config.get("text_config"):
            own = {key: config[key] for key in _FLAT if key in config}
            config = {key: value for key, value in config.items() if key not in own} | {"text_config": own}
        super().__init__(config)

    @property
    def text(self) -> Qwen2:
        """The language model."""
        config = {**_TEXT, **self.config["text_config"]}
        tied = self.config["tie_word_embeddings"] or config.get("tie_word_embeddings", False)
        own = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": tied}
        return Qwen2({**config, **own, **_plain(config)})

    @property
    def vision(self) -> dict[str, Any]:
        """What is said of the tower."""
        return {**self.published, **(self.config.get("vision_config") or {})}

    @property
    def recipe(self) -> Node:
        """The language model, and the tower with its merger as an embedder."""
        text, vision = self.text.recipe, self.vision
        core, width = text["core"], self.width
        wanted = self.merged_width
        if wanted != core["d_model"]:
            raise ValueError(
                f"the tower gives vectors of {wanted} numbers, text_config has hidden_size={core['d_model']}"
            )
        own = {"_target_": "omniformer.core.multimodal_rotary.MultimodalRotary", "sections": self._sections}
        patches = part(
            "omniformer.embedders.VectorEmbedder",
            d_model=width,
            features=math.prod(self.conv_shape[1:]),
            axes=2,
            bias=False,
        )
        base = (vision.get("rope_parameters") or {}).get("rope_theta", 10_000.0)
        tower = part(
            "omniformer.core.transformer.Transformer",
            d_model=width,
            n_layers=vision["depth"],
            n_heads=vision["num_heads"],
            attention=factory("omniformer.core.attention.multihead.SelfAttention"),
            rotary=factory("omniformer.core.rotary.Rotary", n_axes=2, base=base),
            **self.tower,
        )
        block = vision["spatial_merge_size"]
        pictures = part(
            "omniformer.embedders.MergingTowerEmbedder",
            d_model=core["d_model"],
            embedder=patches,
            tower=tower,
            block=block,
            hidden=width * block**2,
            **self.windows,
        )
        return recipe_of(
            core=core | {"rotary": core["rotary"] | own},
            embedders={"text": text["embedders"]["text"]["node"], "vision": pictures},
            heads={name: each["node"] for name, each in text["heads"].items()},
            rules=text["rules"],
        )

    @property
    def width(self) -> int:
        """Of the tower."""
        return self.vision["embed_dim"]

    @property
    def merged_width(self) -> int:
        """Of what the merger gives."""
        return self.vision["hidden_size"]

    @property
    def tower(self) -> Node:
        """What the tower's layers are made of."""
        d_ff = int(self.width * self.vision["mlp_ratio"])
        return {
            "feedforward": factory(
                "omniformer.core.feedforward.FeedForward", d_ff=d_ff, activation=self.activation_of_tower
            ),
            "norm": factory("omniformer.core.norm.LayerNorm", eps=1e-6),
        }

    @property
    def windows(self) -> Node:
        """What the merger is told of windows; nothing where all patches see each other."""
        return {}

    @property
    def activation_of_tower(self) -> str:
        """One of our activations."""
        name = self.vision["hidden_act"]
        if name not in ACTIVATIONS:
            raise ValueError(f"vision_config has hidden_act={name!r}; accepted: {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[name]

    @property
    def conv_shape(self) -> tuple[int, ...]:
        """The shape of the kernel that maps patches, in the files."""
        vision = self.vision
        p, frames = square("patch_size", vision["patch_size"]), vision["temporal_patch_size"]
        return (self.width, vision["in_channels"], frames, p, p)

    def names(self) -> Iterator[Name]:
        """The table of names: those of both models."""
        for name in self.text.names():
            later = () if name.theirs.startswith("lm_head") else (f"model.language_{name.theirs}",)
            yield replace(name, instead=later)
        for name in self._visual_names("embedders.vision", "visual"):
            yield replace(name, instead=(f"model.{name.theirs}",))

    def _visual_names(self, ours: str, theirs: str) -> Iterator[Name]:
        yield from same(f"{ours}.embedder.map.weight", f"{theirs}.patch_embed.proj.weight", self.conv_shape)
        for block, other in layers(self.vision["depth"], f"{ours}.tower.blocks", f"{theirs}.blocks"):
            yield from linear(f"{block}.attention.branch.qkv", f"{other}.attn.qkv")
            yield from linear(f"{block}.attention.branch.out", f"{other}.attn.proj")
            yield from self.tower_names(block, other)
        yield from self.norm_names(f"{ours}.tower.norm", f"{theirs}.merger.ln_q")
        yield from linear(f"{ours}.map", f"{theirs}.merger.mlp.0")
        yield from linear(f"{ours}.second", f"{theirs}.merger.mlp.2")

    def tower_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The norms and the feed-forward layer of a block of the tower."""
        yield from self.norm_names(f"{ours}.attention.norm", f"{theirs}.norm1")
        yield from self.norm_names(f"{ours}.feedforward.norm", f"{theirs}.norm2")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.mlp.fc1")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.mlp.fc2")

    def norm_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """A norm of the tower."""
        yield from linear(ours, theirs)

    def in_memory(self, module: str) -> str:
        """Tower and language model are parts of one there; the scores stand beside it."""
        if module == "lm_head":
            return module
        return f"model.language_{module}" if module.startswith("model.") else f"model.{module}"

    @property
    def max_seq_len(self) -> int | None:
        """The longest text of the language model's training, pictures included."""
        return self.text.max_seq_len

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """Refuses: pictures of any size are read as they come.

        Raises:
            ValueError: as said.
        """
        raise ValueError(
            f"image_size={image_size}: {self.architecture} reads pictures of any size, within the bounds of its "
            "processor; leave it out"
        )

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Texts with places for pictures, and blocks of patches."""
        vision, text = self.vision, self.text.config
        blocks = picture_block_tokenizer(
            folder,
            patch_size=square("patch_size", vision["patch_size"]),
            channels=vision["in_channels"],
            block=vision["spatial_merge_size"],
            frames=vision["temporal_patch_size"],
        )
        return text_tokenizer(folder, text, placeholders={"vision": self.config["image_token_id"]}) | blocks

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids`, `attention_mask`, `pixel_values` and `image_grid_thw` in, `logits` out."""
        block, placeholder = self.vision["spatial_merge_size"], self.config["image_token_id"]
        return GridsInTextReference(model, self.head or "", placeholder=placeholder, block=block)

    @property
    def _sections(self) -> list[int]:
        config = self.config["text_config"]
        given = {**(config.get("rope_parameters") or {}), **(config.get("rope_scaling") or {})}
        sections = given.get("mrope_section", [16, 24, 24])
        if len(sections) != 3:
            raise ValueError(f"config.json has mrope_section={sections}; accepted: time, height and width")
        return list(sections)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of rotary positions, without M-RoPE, which is no scaling."""
    found = {}
    for key in ("rope_scaling", "rope_parameters"):
        given = dict(config.get(key) or {})
        given.pop("mrope_section", None)
        for name in ("type", "rope_type"):
            if given.get(name) == "mrope":
                given[name] = "default"
        found[key] = given or None
    return found
