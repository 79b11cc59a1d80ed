"""ViT ([Dosovitskiy et al. 2020](https://arxiv.org/abs/2010.11929))."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.core.positions import Learned
from omniformer.model import OmniFormer
from omniformer.pretrained.family import Family, factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.any_size import AnySizeReference
from omniformer.pretrained.reference.patches import sides, square
from omniformer.pretrained.tokenizers.pictures import picture_tokenizer
from omniformer.recipe import Node


class ViT(Family):
    """ViT of all sizes, as `ViTForImageClassification` and `ViTModel` write them.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("ViTForImageClassification", "ViTModel")
    prefix = "vit."
    n_class_tokens: ClassVar[int] = 1
    processor: ClassVar[str] = "ViTImageProcessor"
    antialias: ClassVar[bool] = False
    """Whether the reference smooths positions that shrink."""
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-12,
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "qkv_bias": True,
        "pooler_output_size": None,
        "pooler_act": "tanh",
        "has_pooler": True,  # a key of ours: the reference asks its caller
    }

    @property
    def recipe(self) -> Node:
        """Pre-norm over a class token and patches, learned positions."""
        config = self.config
        return recipe_of(
            core=encoder(config, self.activation("hidden_act")),
            embedders={
                "vision": patch_embedder(
                    d_model=config["hidden_size"],
                    features=config["num_channels"] * self.patch_size**2,
                    sizes=self.grid,
                    n_class_tokens=self.n_class_tokens,
                    dropout=config["hidden_dropout_prob"],
                )
            },
            heads=self.heads,
        )

    @property
    def heads(self) -> dict[str, Node]:
        """A classifier of the class token; of the part below it, the map of the class token that belongs to it."""
        d_model = self.config["hidden_size"]
        if self.architecture == "ViTModel":
            if not self.config["has_pooler"]:
                return {}
            own = {"activation": self.activation("pooler_act")} if self.config["pooler_act"] != "tanh" else {}
            own |= {"d_out": size} if (size := self.config["pooler_output_size"]) not in (None, d_model) else {}
            return {"picture": part("omniformer.heads.VectorHead", d_model=d_model, pool=factory(_POOLER, **own))}
        return {"classification": classifier(d_model, self.n_classes, pool=factory("omniformer.heads.FirstToken"))}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        config, vision = self.config, "embedders.vision"
        yield from patch_names(vision, "vit.embeddings", self.conv_shape, self.grid, ("cls_token",))
        yield from encoder_names(config, "vit")
        if "picture" in self.heads:
            yield from linear("heads.picture.pool.map", "vit.pooler.dense")
        if "classification" in self.heads:
            yield from linear("heads.classification.classes", "classifier")

    def holding(self, tensors: Iterable[str]) -> Self:
        """Without the map of the class token where the file has none, as those of DINO."""
        if self.architecture != "ViTModel" or {"pooler.dense.weight", "vit.pooler.dense.weight"} & set(tensors):
            return self
        other = copy.copy(self)
        other.config = self.config | {"has_pooler": False}
        return other

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of its pictures."""
        return sides("image_size", self.config["image_size"])

    @property
    def patch_size(self) -> int:
        """Height and width of a patch."""
        return square("patch_size", self.config["patch_size"])

    @property
    def grid(self) -> list[int]:
        """Rows and columns of patches."""
        return [side // self.patch_size for side in self.image_size]

    @property
    def conv_shape(self) -> tuple[int, ...]:
        """The shape of the kernel that maps patches, in the files."""
        return (self.config["hidden_size"], self.config["num_channels"], self.patch_size, self.patch_size)

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size, to which the model's positions are stretched."""
        other = copy.copy(self)
        other.config = self.config | {"image_size": written(image_size)}
        other.chosen_size = True
        stretch(model, other.grid, antialias=self.antialias)
        return other

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Patches behind class tokens."""
        return picture_tokenizer(
            folder,
            processor=self.processor,
            patch_size=self.patch_size,
            channels=self.config["num_channels"],
            image_size=self.image_size,
            n_class_tokens=self.n_class_tokens,
            chosen=self.chosen_size,
        )

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values`, of any size with `interpolate_pos_encoding`, in; `logits`, or `last_hidden_state` and
        `pooler_output` out.
        """
        return AnySizeReference(
            model,
            self.head,
            image_size=self.image_size,
            patch_size=self.patch_size,
            n_class_tokens=self.n_class_tokens,
        )


_POOLER = "omniformer.heads.DenseFirstToken"


def encoder(config: Mapping[str, Any], activation: str) -> Node:
    """The encoder that ViT, DeiT and AST have in common: pre-norm, a norm at the end."""
    return part(
        "omniformer.core.transformer.Transformer",
        d_model=config["hidden_size"],
        n_layers=config["num_hidden_layers"],
        n_heads=config["num_attention_heads"],
        attention=factory(
            "omniformer.core.attention.multihead.SelfAttention",
            bias=config["qkv_bias"],
            out_bias=True,
            dropout=config["attention_probs_dropout_prob"],
        ),
        feedforward=factory(
            "omniformer.core.feedforward.FeedForward", d_ff=config["intermediate_size"], activation=activation
        ),
        norm=factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_eps"]),
        dropout=config["hidden_dropout_prob"],
    )


def patch_embedder(
    *,
    d_model: int,
    features: int,
    sizes: list[int],
    n_class_tokens: int,
    bias: bool = True,
    norm: Node | None = None,
    dropout: float = 0.0,
    hidden: Node | None = None,
) -> Node:
    """Class tokens before patches with learned positions, in rows and columns."""
    return part(
        "omniformer.embedders.ClassTokenEmbedder",
        d_model=d_model,
        n_class_tokens=n_class_tokens,
        norm=norm,
        dropout=dropout,
        embedder=part(
            "omniformer.embedders.VectorEmbedder",
            d_model=d_model,
            features=features,
            axes=2,
            bias=bias,
            position=factory("omniformer.core.positions.Learned", sizes=sizes),
            hidden=hidden,
        ),
    )


def classifier(d_model: int, n_classes: int, *, pool: Node, **options: Any) -> Node:
    """A linear map of pooled tokens to classes."""
    return part("omniformer.heads.ClassificationHead", d_model=d_model, n_classes=n_classes, pool=pool, **options)


def patch_names(
    ours: str,
    theirs: str,
    conv: tuple[int, ...],
    grid: list[int],
    class_tokens: tuple[str, ...],
    *,
    turned: bool = False,
) -> Iterator[Name]:
    """The table of names of class tokens, patches and their positions, which the files keep in one table.

    Args:
        ours: the embedder.
        theirs: their module.
        conv: the shape of their kernel.
        grid: our rows and columns.
        class_tokens: their names of the vectors.
        turned: whether our rows are their columns.
    """
    d_model, n = conv[0], len(class_tokens)
    table = (1, n + grid[0] * grid[1], d_model)
    for i, name in enumerate(class_tokens):
        yield Name(ours=f"{ours}.vectors", theirs=f"{theirs}.{name}", rows=(i, i + 1), shape=(1, 1, d_model))
    yield Name(ours=f"{ours}.positions", theirs=f"{theirs}.position_embeddings", their_rows=(0, n), shape=table)
    yield Name(
        ours=f"{ours}.embedder.position.table",
        theirs=f"{theirs}.position_embeddings",
        their_rows=(n, table[1]),
        axes=(1, 0, 2) if turned else None,
        shape=table,
    )
    yield Name(
        ours=f"{ours}.embedder.map.weight",
        theirs=f"{theirs}.patch_embeddings.projection.weight",
        view=conv,
        axes=(0, 1, 3, 2) if turned else None,
    )
    yield from same(f"{ours}.embedder.map.bias", f"{theirs}.patch_embeddings.projection.bias")


def encoder_names(config: Mapping[str, Any], prefix: str) -> Iterator[Name]:
    """The table of names of the encoder that ViT, DeiT and AST have in common."""
    d_model = config["hidden_size"]
    for ours, theirs in layers(config["num_hidden_layers"], "core.blocks", f"{prefix}.encoder.layer"):
        attention = f"{theirs}.attention.attention"
        rows = {f"{attention}.{name}": d_model for name in ("query", "key", "value")}
        yield from linear(f"{ours}.attention.norm", f"{theirs}.layernorm_before")
        yield from stacked(f"{ours}.attention.branch.qkv", rows, bias=config["qkv_bias"])
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attention.output.dense")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.layernorm_after")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.intermediate.dense")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.output.dense")
    yield from linear("core.norm", f"{prefix}.layernorm")


def stretch(model: OmniFormer, grid: list[int], *, antialias: bool = False) -> None:
    """Stretches the learned positions of patches to another grid, as the reference does with
    `interpolate_pos_encoding=True`.

    Args:
        model: changed in place.
        grid: rows and columns.
        antialias: whether positions are smoothed where they shrink.
    """
    embedder: Any = model.embedders["vision"]
    while hasattr(embedder, "embedder"):  # of patches, inside a tower and behind class tokens where there are any
        embedder = embedder.embedder
    position: Learned = embedder.position
    if list(position.sizes) != grid:
        embedder.position = position.resized(*grid, antialias=antialias)


def written(image_size: tuple[int, int]) -> int | list[int]:
    """Height and width as a configuration says them: one number where they are equal, which every version reads."""
    height, width = image_size
    return height if height == width else [height, width]
