"""CLIP in files of the library open_clip ([Cherti et al. 2022](https://arxiv.org/abs/2212.07143)), by its own names."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from omniformer_tokenizers import ClassTokens, PatchTokenizer, Resampling, Tokenizer

from omniformer.model import OmniFormer
from omniformer.pretrained.families.clip import CLIP, conv_shape_of, grid_of
from omniformer.pretrained.families.vit import stretch, written
from omniformer.pretrained.family import layers
from omniformer.pretrained.files.checkpoint import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS
from omniformer.pretrained.names import Name, linear, same
from omniformer.pretrained.reference.patches import sides
from omniformer.pretrained.tokenizers.text import text_tokenizer

# What open_clip takes a key for that a file leaves out.
_VISION = {"layers": 12, "width": 768, "head_width": 64, "mlp_ratio": 4.0, "patch_size": 16, "image_size": 224}
_TEXT = {"layers": 12, "width": 512, "heads": 8, "mlp_ratio": 4.0, "context_length": 77, "vocab_size": 49408}
_WHOLE = {"embed_dim": 512, "quick_gelu": False, "custom_text": False, "vision_cfg": None, "text_cfg": None}
# How texts are cut stands in the files of the vocabulary.
_LET_THROUGH = {"hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode"}
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class OpenCLIP(CLIP):
    """Both towers, as open_clip writes them: `open_clip_config.json` with a `model_cfg`, and its weights.

    Args:
        config: the content of `open_clip_config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("open_clip",)
    config_file = OPEN_CLIP_CONFIG
    weights_file = OPEN_CLIP_WEIGHTS
    defaults: ClassVar[dict[str, Any]] = {}
    sizes: ClassVar[dict[str, str]] = {
        "vocab_size": "model_cfg.text_cfg.vocab_size",
        "max_seq_len": "model_cfg.text_cfg.context_length",
    }
    ignored = ("attn_mask", "*.attn_mask")

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.cfg = _known("model_cfg", self.config.get("model_cfg") or {}, _WHOLE)

    @property
    def text(self) -> dict[str, Any]:
        """The configuration of the text tower, in the words of `CLIPText`."""
        own = _known("text_cfg", self.cfg["text_cfg"] or {}, _TEXT)
        tower = self._tower(own) | {"num_attention_heads": own["heads"], "vocab_size": own["vocab_size"]}
        return tower | {"max_position_embeddings": own["context_length"], "eos_token_id": own["vocab_size"] - 1}

    @property
    def vision(self) -> dict[str, Any]:
        """The configuration of the image tower, in the words of `CLIPVision`."""
        own = _known("vision_cfg", self.cfg["vision_cfg"] or {}, _VISION)
        tower = self._tower(own) | {"num_attention_heads": own["width"] // own["head_width"], "num_channels": 3}
        return tower | {"patch_size": own["patch_size"], "image_size": own["image_size"]}

    def _tower(self, own: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "hidden_size": own["width"],
            "intermediate_size": int(own["width"] * own["mlp_ratio"]),
            "num_hidden_layers": own["layers"],
            "hidden_act": "quick_gelu" if self.cfg["quick_gelu"] else "gelu",
            "layer_norm_eps": 1e-5,
            "attention_dropout": 0.0,
        }

    @property
    def d_embedding(self) -> int:
        """Width of the common space."""
        return self.cfg["embed_dim"]

    @property
    def log_scale(self) -> float:
        """Where the scale begins: at one over 0.07."""
        return 2.6592

    def names(self) -> Iterator[Name]:
        """The table of names."""
        vision, place = self.vision, "" if not self.cfg["custom_text"] else "text."
        conv, grid = conv_shape_of(vision), grid_of(vision)
        ours, table = "embedders.vision", (1 + grid[0] * grid[1], conv[0])
        yield from same(f"{ours}.vectors", "visual.class_embedding", conv[:1])
        theirs = "visual.positional_embedding"
        yield Name(ours=f"{ours}.positions", theirs=theirs, their_rows=(0, 1), shape=table)
        yield Name(ours=f"{ours}.embedder.position.table", theirs=theirs, their_rows=(1, table[0]), shape=table)
        yield from same(f"{ours}.embedder.map.weight", "visual.conv1.weight", conv)
        yield from linear(f"{ours}.norm", "visual.ln_pre")
        yield from _tower_names(vision["num_hidden_layers"], "core.towers.0", "visual.")
        yield from linear("core.towers.0.norm", "visual.ln_post")
        yield from same("embedders.text.table.weight", f"{place}token_embedding.weight")
        yield from same("embedders.text.position.table", f"{place}positional_embedding")
        yield from _tower_names(self.text["num_hidden_layers"], "core.towers.1", place)
        yield from linear("core.towers.1.norm", f"{place}ln_final")
        yield Name(ours="heads.contrastive.maps.vision.weight", theirs="visual.proj", transposed=True)
        yield Name(ours="heads.contrastive.maps.text.weight", theirs=f"{place}text_projection", transposed=True)
        yield from same("heads.contrastive.log_scale", "logit_scale")

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size, to which the model's positions are stretched, smoothed
        where they shrink, as open_clip does.
        """
        other = copy.copy(self)
        vision = {**(self.cfg["vision_cfg"] or {}), "image_size": written(image_size)}
        other.config = self.config | {"model_cfg": self.config["model_cfg"] | {"vision_cfg": vision}}
        other.cfg = self.cfg | {"vision_cfg": vision}
        stretch(model, grid_of(other.vision), antialias=True)
        return other

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches behind a class token, and texts between their start and their end."""
        said, size = self.config.get("preprocess_cfg") or {}, sides("image_size", self.vision["image_size"])
        mode, kind = said.get("resize_mode", "shortest"), said.get("interpolation", "bicubic")
        if mode not in ("shortest", "squash") or kind not in ("bicubic", "bilinear"):
            raise ValueError(
                f"preprocess_cfg has resize_mode={mode!r} and interpolation={kind!r}; accepted: 'shortest' or "
                "'squash', 'bicubic' or 'bilinear'"
            )
        squares = mode == "shortest" and size[0] == size[1]
        resampling: dict[str, Any] = {"shortest_edge": size[0], "crop": size} if squares else {"size": size}
        patches = PatchTokenizer(
            patch_size=conv_shape_of(self.vision)[-1],
            mean=tuple(said.get("mean", _MEAN)),
            std=tuple(said.get("std", _STD)),
            remainder="crop",
            resize=Resampling(filter=kind, **resampling),
        )
        return {"vision": ClassTokens(tokenizer=patches)} | text_tokenizer(folder, self.text)


def _known(where: str, given: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the configuration, of which every key is known or says nothing.

    Raises:
        ValueError: one is not.
    """
    found = {key: value for key, value in given.items() if key not in _LET_THROUGH and value is not None}
    if unknown := sorted(key for key in set(found) - set(usual) if found[key] is not False):
        raise ValueError(f"{where} has {unknown[0]}={found[unknown[0]]!r}; accepted: {', '.join(usual)}")
    return {**usual, **found}


def _tower_names(n_layers: int, core: str, place: str) -> Iterator[Name]:
    for ours, theirs in layers(n_layers, f"{core}.blocks", f"{place}transformer.resblocks"):
        yield from linear(f"{ours}.attention.norm", f"{theirs}.ln_1")
        for kind in ("weight", "bias"):
            yield from same(f"{ours}.attention.branch.qkv.{kind}", f"{theirs}.attn.in_proj_{kind}")
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attn.out_proj")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.ln_2")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.mlp.c_fc")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.mlp.c_proj")
