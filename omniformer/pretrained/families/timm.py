"""Models of the library timm ([Wightman 2019](https://github.com/huggingface/pytorch-image-models)) by their own names:
plain ViT ([Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929)), those of DeiT, DINO, DINOv2, MAE and CLIP in
the same shape, and the first EVA ([Fang et al. 2022](https://arxiv.org/abs/2211.07636)).
"""

import copy
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from omniformer_tokenizers import ClassTokens, PatchTokenizer, Resampling, Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.vit import classifier, patch_embedder, stretch
from omniformer.pretrained.family import Family, factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same
from omniformer.pretrained.reference.patches import PictureReference, sides, square
from omniformer.recipe import Node

# The architectures whose names are read, and what each of their sizes means; timm's files say the name alone.
_NAMED = re.compile(
    r"(?P<kind>vit|deit|eva)_(?P<size>tiny|small|base|large|huge|giant)_patch(?P<patch>\d+)"
    r"(?P<variant>_clip|_clip_quickgelu|_dinov2)?(_\d+)?"
)
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "small": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
    "huge": {"embed_dim": 1280, "depth": 32, "num_heads": 16},
}
_GIANT_EVA = {"embed_dim": 1408, "depth": 40, "num_heads": 16, "mlp_ratio": 6144 / 1408}
_VARIANTS: dict[str, dict[str, Any]] = {
    "_clip": {"pre_norm": True, "eps": 1e-5},
    "_clip_quickgelu": {"pre_norm": True, "eps": 1e-5, "activation": "quick_gelu"},
    "_dinov2": {"init_values": 1e-5},
}
# What timm takes an argument for that nobody gives; `eps`, `activation` and `key_offsets` are names of ours.
USUAL: dict[str, Any] = {
    "in_chans": 3,
    "num_classes": 1000,
    "global_pool": "token",
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "init_values": None,
    "pre_norm": False,
    "eps": 1e-6,
    "activation": "gelu",
    "key_offsets": True,
}
READ = {"img_size", "patch_size", "embed_dim", "depth", "num_heads", *USUAL} - {"eps", "activation", "key_offsets"}
_FILTERS = ("bilinear", "bicubic", "lanczos", "nearest")


class Timm(Family):
    """A classifier of pictures or what stands below it, as `timm.models.save_for_hf` writes it.

    Args:
        config: the content of `config.json`, which names the `architecture`.

    Raises:
        ValueError: an architecture that is not known, or an argument that changes the computation in a way the core
            does not have.
    """

    architectures = ("timm",)
    read: ClassVar[set[str]] = READ
    """Arguments that a file may give."""
    sizes: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        usual = USUAL | self.named(str(self.config.get("architecture")))
        self.data: dict[str, Any] = self.config.get("pretrained_cfg") or {}
        given = {"num_classes": self.config.get("num_classes"), "global_pool": self.config.get("global_pool")}
        given |= self.config.get("model_args") or {}
        given = {key: value for key, value in given.items() if value is not None}
        if unknown := sorted(set(given) - self.read):
            raise ValueError(
                f"config.json has model_args with {unknown[0]!r}; accepted: {', '.join(sorted(self.read))}"
            )
        self.args: dict[str, Any] = usual | given
        if self.args["global_pool"] not in ("token", "avg"):
            raise ValueError(f"config.json has global_pool={self.args['global_pool']!r}; accepted: 'token', 'avg'")

    @staticmethod
    def named(name: str) -> dict[str, Any]:
        """What the name of an architecture means.

        Raises:
            ValueError: it is none of those that are read.
        """
        found = _NAMED.fullmatch(name)
        size = None if found is None else _GIANT_EVA if found["size"] == "giant" else SIZES[found["size"]]
        eva = found is not None and found["kind"] == "eva"
        if found is None or size is None or eva != (size is _GIANT_EVA) or (eva and found["variant"]):
            raise ValueError(
                f"config.json has architecture={name!r}; of timm these are read: vit_SIZE_patchN_SIDE and deit_..., "
                f"also with _clip, _clip_quickgelu and _dinov2 behind the patch, SIZE one of {', '.join(SIZES)}; "
                "eva_giant_patch14_SIDE; and eva02_SIZE_patch14_SIDE"
            )
        own = {"key_offsets": False, "global_pool": "avg"} if eva else {}
        return size | _VARIANTS.get(found["variant"] or "", {}) | own | {"patch_size": int(found["patch"])}

    @property
    def recipe(self) -> Node:
        """Pre-norm over a class token and patches, learned positions."""
        args, norm = self.args, self.norm
        patches = patch_embedder(
            d_model=args["embed_dim"],
            features=args["in_chans"] * self.patch_size**2,
            sizes=self.grid,
            n_class_tokens=1,
            bias=not args["pre_norm"],
            norm=norm if args["pre_norm"] else None,
        )
        attention = "multihead.SelfAttention" if args["key_offsets"] else "key_offsets.SelfAttentionWithoutKeyOffset"
        offsets = {"bias": args["qkv_bias"], "out_bias": True} if args["key_offsets"] else {}
        gain = {"initial_gain": args["init_values"]} if args["init_values"] else None
        core = part(
            "omniformer.core.transformer.Transformer",
            d_model=args["embed_dim"],
            n_layers=args["depth"],
            n_heads=args["num_heads"],
            attention=factory(f"omniformer.core.attention.{attention}", **offsets),
            feedforward=self.feedforward,
            norm=norm,
            final_norm=args["global_pool"] == "token",
            **self.rotary,
            **({} if gain is None else {"connection": factory("omniformer.core.connection.LayerScale", **gain)}),
        )
        return recipe_of(core=core, embedders={"vision": patches}, heads=self.heads)

    @property
    def heads(self) -> dict[str, Node]:
        """A classifier of the class token, or of the mean of the patches and a norm; what it reads, without classes."""
        pool = factory("omniformer.heads.FirstToken")
        if self.args["global_pool"] == "avg":
            pool = factory("omniformer.heads.PatchMean", norm=self.norm)
        d_model = self.args["embed_dim"]
        if not self.args["num_classes"]:
            return {"picture": part("omniformer.heads.VectorHead", d_model=d_model, pool=pool)}
        return {"classification": classifier(d_model, self.args["num_classes"], pool=pool)}

    @property
    def feedforward(self) -> Node:
        """The two maps of a layer."""
        width = int(self.args["embed_dim"] * self.args["mlp_ratio"])
        return factory("omniformer.core.feedforward.FeedForward", d_ff=width, activation=self.args["activation"])

    @property
    def rotary(self) -> dict[str, Node]:
        """What turns queries and keys, as an option of the core; nothing here."""
        return {}

    @property
    def norm(self) -> Node:
        """How its norms are built."""
        return factory("omniformer.core.norm.LayerNorm", eps=self.args["eps"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes, made up where the file has none."""
        n = self.args["num_classes"]
        named = self.config.get("label_names") or self.data.get("label_names")
        return tuple(named) if named and len(named) == n else tuple(f"LABEL_{i}" for i in range(n))

    def names(self) -> Iterator[Name]:
        """The table of names."""
        d_model, vision = self.args["embed_dim"], "embedders.vision"
        n = math.prod(self.grid)
        yield from same(f"{vision}.vectors", "cls_token", (1, 1, d_model))
        table = (1, 1 + n, d_model)
        yield Name(ours=f"{vision}.positions", theirs="pos_embed", their_rows=(0, 1), shape=table)
        yield Name(ours=f"{vision}.embedder.position.table", theirs="pos_embed", their_rows=(1, 1 + n), shape=table)
        conv = (d_model, self.args["in_chans"], self.patch_size, self.patch_size)
        yield from same(f"{vision}.embedder.map.weight", "patch_embed.proj.weight", conv)
        if self.args["pre_norm"]:
            yield from linear(f"{vision}.norm", "norm_pre")
        else:
            yield from same(f"{vision}.embedder.map.bias", "patch_embed.proj.bias")
        for ours, theirs in layers(self.args["depth"], "core.blocks", "blocks"):
            yield from self.attention_names(f"{ours}.attention.branch", f"{theirs}.attn")
            yield from self.feedforward_names(f"{ours}.feedforward.branch", f"{theirs}.mlp")
            for number, branch in enumerate(("attention", "feedforward"), start=1):
                yield from linear(f"{ours}.{branch}.norm", f"{theirs}.norm{number}")
                if self.args["init_values"]:
                    yield from same(f"{ours}.{branch}.gain", f"{theirs}.ls{number}.gamma")
        mean = self.args["global_pool"] == "avg"
        (head,) = self.heads
        yield from linear(f"heads.{head}.pool.norm" if mean else "core.norm", "fc_norm" if mean else "norm")
        if head == "classification":
            yield from linear("heads.classification.classes", "head")

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of the attention of a layer."""
        qkv, d_model = f"{ours}.qkv", self.args["embed_dim"]
        yield from linear(qkv, f"{theirs}.qkv", bias=self.args["key_offsets"] and self.args["qkv_bias"])
        if not self.args["key_offsets"]:
            for i, name in enumerate("qv"):
                rows = (i * d_model, (i + 1) * d_model)
                yield Name(ours=f"{qkv}.bias", theirs=f"{theirs}.{name}_bias", rows=rows)
        yield from linear(f"{ours}.out", f"{theirs}.proj")

    def feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of the two maps of a layer."""
        yield from linear(f"{ours}.up", f"{theirs}.fc1")
        yield from linear(f"{ours}.down", f"{theirs}.fc2")

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of its pictures, as the file says, or its name."""
        named = re.search(r"_(\d+)$", str(self.config.get("architecture")))
        said = self.args.get("img_size") or (self.data.get("input_size") or [])[1:]
        return sides("img_size", said or (int(named[1]) if named else 224))

    @property
    def patch_size(self) -> int:
        """Height and width of a patch."""
        return square("patch_size", self.args["patch_size"])

    @property
    def grid(self) -> list[int]:
        """Rows and columns of patches."""
        return [side // self.patch_size for side in self.image_size]

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size, to which the model's positions are stretched, smoothed
        where they shrink, as timm does. Whole pictures are brought to that shape where it is no square.
        """
        other = copy.copy(self)
        other.data = self.data | {"input_size": [self.args["in_chans"], *image_size]}
        if image_size[0] != image_size[1]:
            other.data["crop_mode"] = "squash"
        other.args = self.args | {"img_size": list(image_size)}
        args = {**(self.config.get("model_args") or {}), "img_size": list(image_size)}
        other.config = self.config | {"model_args": args, "pretrained_cfg": other.data}
        stretch(model, other.grid, antialias=True)
        return other

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches behind a class token, of pictures as timm prepares them to measure a model."""
        if not {"mean", "std"} <= set(self.data):
            return {}
        patches = PatchTokenizer(
            patch_size=self.patch_size,
            channels=self.args["in_chans"],
            mean=tuple(self.data["mean"]),
            std=tuple(self.data["std"]),
            remainder="crop",
            resize=self._resampling,
        )
        return {"vision": ClassTokens(tokenizer=patches)}

    @property
    def _resampling(self) -> Resampling:
        """How pictures are brought to that size."""
        mode, size = self.data.get("crop_mode", "center"), self.image_size
        kind: Any = self.data.get("interpolation", "bicubic")
        if kind not in _FILTERS:
            raise ValueError(f"pretrained_cfg has interpolation={kind!r}; accepted: {', '.join(_FILTERS)}")
        height, width = (math.floor(side / self.data.get("crop_pct", 0.875)) for side in size)
        if mode == "squash":
            return Resampling(filter=kind, size=(height, width), crop=size)
        if mode != "center" or height != width:
            raise ValueError(
                f"pretrained_cfg has crop_mode={mode!r} for pictures of {size}; accepted: 'center' for squares, "
                "'squash'"
            )
        return Resampling(filter=kind, shortest_edge=height, crop=size)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values` in; `logits`, or `last_hidden_state` and `pooler_output` out."""
        return PictureReference(
            model, self.head, image_size=self.image_size, patch_size=self.patch_size, n_class_tokens=1
        )
