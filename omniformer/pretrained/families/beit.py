"""BEiT ([Bao et al. 2021](https://arxiv.org/abs/2106.08254)): ViT with numbers for the offsets between patches."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.vit import ViT, classifier, patch_embedder, patch_names, stretch, written
from omniformer.pretrained.family import factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same
from omniformer.pretrained.reference.patches import MaskedPictureReference, PictureReference
from omniformer.recipe import Node

_TABLE = "relative_position_bias.relative_position_bias_table"


class BEiT(ViT):
    """BEiT and BEiT v2 of all sizes, as `BeitForImageClassification` and `BeitModel` write them.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("BeitForImageClassification", "BeitModel")
    prefix = "beit."
    processor: ClassVar[str] = "BeitImageProcessor"
    defaults: ClassVar[dict[str, Any]] = ViT.defaults | {
        "use_mask_token": False,
        "use_absolute_position_embeddings": False,
        "use_relative_position_bias": False,
        "use_shared_relative_position_bias": False,
        "layer_scale_init_value": 0.1,
        "drop_path_rate": 0.1,
        "use_mean_pooling": True,
    }
    ignored = ("*.relative_position_index",)

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        tables = self.config["use_relative_position_bias"] or self.config["use_shared_relative_position_bias"]
        if tables and self.grid[0] != self.grid[1]:
            raise ValueError(
                f"config.json has image_size={self.config['image_size']!r} and offsets between patches, of which the "
                "reference mixes up the axes; accepted: equal sides, and other shapes by load(folder, image_size=...)"
            )

    @property
    def recipe(self) -> Node:
        """Pre-norm over a class token and patches; what depends on their offsets stands in the attention."""
        return recipe_of(core=self.core, embedders={"vision": self._patches}, heads=self.heads)

    @property
    def core(self) -> Node:
        """The encoder, with a table of offsets in each layer, or one for all."""
        config = self.config
        table = factory("omniformer.core.biases.ClassRelativeTable", max_distances=[side - 1 for side in self.grid])
        own = {"pair_bias": table} if config["use_relative_position_bias"] else {}
        shared = {"pair_bias": table} if config["use_shared_relative_position_bias"] else {}
        if gain := config["layer_scale_init_value"]:
            shared["connection"] = factory("omniformer.core.connection.LayerScale", initial_gain=gain)
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=config["hidden_size"],
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            attention=factory(
                "omniformer.core.attention.key_offsets.SelfAttentionWithoutKeyOffset",
                dropout=config["attention_probs_dropout_prob"],
                **own,
            ),
            feedforward=factory(
                "omniformer.core.feedforward.FeedForward",
                d_ff=config["intermediate_size"],
                activation=self.activation("hidden_act"),
            ),
            norm=self._norm,
            final_norm=not config["use_mean_pooling"],
            dropout=config["hidden_dropout_prob"],
            stochastic_depth=config["drop_path_rate"],
            **shared,
        )

    @property
    def _patches(self) -> Node:
        config = self.config
        patches = patch_embedder(
            d_model=config["hidden_size"],
            features=config["num_channels"] * self.patch_size**2,
            sizes=self.grid,
            n_class_tokens=self.n_class_tokens,
            dropout=config["hidden_dropout_prob"],
            hidden=factory("omniformer.embedders.MaskToken") if config["use_mask_token"] else None,
        )
        if not config["use_absolute_position_embeddings"]:
            patches["n_registers"] = self.n_class_tokens  # class tokens without a place
            patches["embedder"]["position"] = None
        return patches

    @property
    def _norm(self) -> Node:
        return factory("omniformer.core.norm.LayerNorm", eps=self.config["layer_norm_eps"])

    @property
    def heads(self) -> dict[str, Node]:
        """The mean of the patches, normalised, or the class token; and a classifier of it."""
        d_model, pool = self.config["hidden_size"], factory("omniformer.heads.FirstToken")
        if self.config["use_mean_pooling"]:
            pool = factory("omniformer.heads.PatchMean", n_first=self.n_class_tokens, norm=self._norm)
        if self.architecture == "BeitForImageClassification":
            return {"classification": classifier(d_model, self.n_classes, pool=pool)}
        if not self.config["has_pooler"]:
            return {}
        return {"picture": part("omniformer.heads.VectorHead", d_model=d_model, pool=pool)}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        config, vision = self.config, "embedders.vision"
        for name in patch_names(vision, "beit.embeddings", self.conv_shape, self.grid, ("cls_token",)):
            if config["use_absolute_position_embeddings"] or not name.theirs.endswith("position_embeddings"):
                yield name
        if config["use_mask_token"]:
            shape = (1, 1, config["hidden_size"])
            yield from same(f"{vision}.embedder.hidden.vector", "beit.embeddings.mask_token", shape)
        for ours, theirs in layers(config["num_hidden_layers"], "core.blocks", "beit.encoder.layer"):
            yield from self._layer(ours, theirs)
        if config["use_shared_relative_position_bias"]:
            yield from self._table("core.pair_bias", f"beit.encoder.{_TABLE}")
        if not config["use_mean_pooling"]:
            yield from linear("core.norm", "beit.layernorm")
        for head in self.heads:
            if config["use_mean_pooling"]:
                yield from linear(f"heads.{head}.pool.norm", "beit.pooler.layernorm")
            if head == "classification":
                yield from linear("heads.classification.classes", "classifier")

    def _layer(self, ours: str, theirs: str) -> Iterator[Name]:
        attention, n = f"{theirs}.attention.attention", self.config["hidden_size"]
        for i, name in enumerate(("query", "key", "value")):
            yield Name(
                ours=f"{ours}.attention.branch.qkv.weight", theirs=f"{attention}.{name}.weight", rows=(i * n, i * n + n)
            )
        for i, name in enumerate(("query", "value")):
            yield Name(
                ours=f"{ours}.attention.branch.qkv.bias", theirs=f"{attention}.{name}.bias", rows=(i * n, i * n + n)
            )
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attention.output.dense")
        yield from linear(f"{ours}.attention.norm", f"{theirs}.layernorm_before")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.layernorm_after")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.intermediate.dense")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.output.dense")
        if self.config["use_relative_position_bias"]:
            yield from self._table(f"{ours}.attention.branch.pair_bias", f"{attention}.{_TABLE}")
        if self.config["layer_scale_init_value"]:
            yield from same(f"{ours}.attention.gain", f"{theirs}.lambda_1")
            yield from same(f"{ours}.feedforward.gain", f"{theirs}.lambda_2")

    def _table(self, ours: str, theirs: str) -> Iterator[Name]:
        """Offsets row by row, and behind them what concerns the class token."""
        rows, columns = self.grid
        n = (2 * rows - 1) * (2 * columns - 1)
        shape = (n + 3, self.config["num_attention_heads"])
        yield Name(ours=f"{ours}.table", theirs=theirs, their_rows=(0, n), shape=shape)
        yield Name(ours=f"{ours}.class_table", theirs=theirs, their_rows=(n, n + 3), shape=shape)

    def holding(self, tensors: Iterable[str]) -> Self:
        """Without the norm of the mean where the file has none."""
        if not self.config["use_mean_pooling"]:
            return self
        if self.architecture != "BeitModel" or {"pooler.layernorm.weight", "beit.pooler.layernorm.weight"} & set(
            tensors
        ):
            return self
        other = copy.copy(self)
        other.config = self.config | {"has_pooler": False}
        return other

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size, to which positions and offsets are stretched.

        The reference reads back a model of squares only, where it has a table of offsets.
        """
        other = copy.copy(self)
        other.config = self.config | {"image_size": written(image_size)}
        other.chosen_size = True
        if self.config["use_absolute_position_embeddings"]:
            stretch(model, other.grid)
        core: Any = model.core
        for holder in (core, *(block.attention.branch for block in core.blocks)):
            if holder.pair_bias is not None:
                holder.pair_bias = holder.pair_bias.resized(*(side - 1 for side in other.grid))
        return other

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values`, and `bool_masked_pos` where there is a mask token, in; `logits`, or `last_hidden_state` and
        `pooler_output` out.
        """
        kind = MaskedPictureReference if self.config["use_mask_token"] else PictureReference
        return kind(
            model,
            self.head,
            image_size=self.image_size,
            patch_size=self.patch_size,
            n_class_tokens=self.n_class_tokens,
        )
