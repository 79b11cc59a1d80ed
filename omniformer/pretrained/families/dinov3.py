"""DINOv3 ([Siméoni et al. 2025](https://arxiv.org/abs/2508.10104)): ViT whose patches know where in their picture
they lie, whatever its size.
"""

import copy
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.vit import ViT, written
from omniformer.pretrained.family import factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.patches import MaskedPictureReference
from omniformer.recipe import Node


class DINOv3(ViT):
    """DINOv3 of all sizes, as `DINOv3ViTModel` writes it.

    In training the reference moves and scales the places of patches at random (`pos_embed_rescale` and its like); here
    they stay where they are.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("DINOv3ViTModel",)
    prefix = ""
    processor: ClassVar[str] = "DINOv3ViTImageProcessor"
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "hidden_act": "gelu",
        "attention_dropout": 0.0,
        "layer_norm_eps": 1e-5,
        "rope_theta": 100.0,
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "query_bias": True,
        "key_bias": False,
        "value_bias": True,
        "proj_bias": True,
        "mlp_bias": True,
        "layerscale_value": 1.0,
        "drop_path_rate": 0.0,
        "use_gated_mlp": False,
        "num_register_tokens": 0,
    }

    @property
    def n_class_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The class token and the registers, none of which stands anywhere."""
        return 1 + self.config["num_register_tokens"]

    @property
    def recipe(self) -> Node:
        """Pre-norm with a learned gain of every branch; queries and keys of patches are turned by their places."""
        config = self.config
        self.need("drop_path_rate", 0.0)  # theirs is the same in all layers, ours grows from layer to layer
        d_model = config["hidden_size"]
        patches = part(
            "omniformer.embedders.VectorEmbedder",
            d_model=d_model,
            features=config["num_channels"] * self.patch_size**2,
            axes=2,
            hidden=factory("omniformer.embedders.MaskToken"),
        )
        class_tokens = {"n_class_tokens": self.n_class_tokens, "n_registers": self.n_class_tokens}
        embedder = part("omniformer.embedders.ClassTokenEmbedder", d_model=d_model, embedder=patches, **class_tokens)
        head = part("omniformer.heads.VectorHead", d_model=d_model, pool=factory("omniformer.heads.FirstToken"))
        return recipe_of(core=self.core, embedders={"vision": embedder}, heads={"picture": head})

    @property
    def core(self) -> Node:
        """The encoder."""
        config = self.config
        rotary = factory(
            "omniformer.core.centred_rotary.CentredRotary", base=config["rope_theta"], n_first=self.n_class_tokens
        )
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=config["hidden_size"],
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            attention=self.attention,
            feedforward=self.feedforward,
            norm=factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_eps"]),
            connection=factory("omniformer.core.connection.LayerScale", initial_gain=config["layerscale_value"]),
            rotary=rotary,
        )

    @property
    def offsets(self) -> tuple[str, ...]:
        """Which of queries, keys and values have offsets."""
        found = tuple(name for name in ("query", "key", "value") if self.config[f"{name}_bias"])
        if found not in ((), ("query", "value"), ("query", "key", "value")):
            raise ValueError(
                f"config.json gives offsets to {' and '.join(found)} alone (query_bias, key_bias, value_bias); "
                "accepted: to all, to none, to query and value"
            )
        return found

    @property
    def attention(self) -> Node:
        """With or without offsets, by default without those of the keys."""
        options = {"out_bias": self.config["proj_bias"], "dropout": self.config["attention_dropout"]}
        if len(self.offsets) == 2:
            return factory("omniformer.core.attention.key_offsets.SelfAttentionWithoutKeyOffset", **options)
        bias = bool(self.offsets)
        return factory("omniformer.core.attention.multihead.SelfAttention", bias=bias, **options)

    @property
    def feedforward(self) -> Node:
        """The plain layer, or a gated one in the largest models."""
        kind = "GatedFeedForward" if self.config["use_gated_mlp"] else "FeedForward"
        return factory(
            f"omniformer.core.feedforward.{kind}",
            d_ff=self.config["intermediate_size"],
            activation=self.activation("hidden_act"),
            bias=self.config["mlp_bias"],
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        vision, theirs, d_model = "embedders.vision", "embeddings", self.config["hidden_size"]
        n = self.n_class_tokens
        yield Name(ours=f"{vision}.vectors", theirs=f"{theirs}.cls_token", rows=(0, 1), shape=(1, 1, d_model))
        yield Name(ours=f"{vision}.vectors", theirs=f"{theirs}.register_tokens", rows=(1, n), shape=(1, n - 1, d_model))
        yield from same(f"{vision}.embedder.hidden.vector", f"{theirs}.mask_token", (1, 1, d_model))
        yield from same(f"{vision}.embedder.map.weight", f"{theirs}.patch_embeddings.weight", self.conv_shape)
        yield from same(f"{vision}.embedder.map.bias", f"{theirs}.patch_embeddings.bias")
        for block, layer in layers(self.config["num_hidden_layers"], "core.blocks", "layer"):
            yield from self._layer(block, layer)
        yield from linear("core.norm", "norm")

    def _layer(self, block: str, layer: str) -> Iterator[Name]:
        config, attention, d_model = self.config, f"{block}.attention.branch", self.config["hidden_size"]
        stack = {f"{layer}.attention.{letter}_proj": d_model for letter in "qkv"}
        yield from stacked(f"{attention}.qkv", stack, bias=False)
        for i, name in enumerate(self.offsets):
            rows = (i * d_model, (i + 1) * d_model)
            yield Name(ours=f"{attention}.qkv.bias", theirs=f"{layer}.attention.{name[0]}_proj.bias", rows=rows)
        yield from linear(f"{attention}.out", f"{layer}.attention.o_proj", bias=config["proj_bias"])
        for number, branch in enumerate(("attention", "feedforward"), start=1):
            yield from linear(f"{block}.{branch}.norm", f"{layer}.norm{number}")
            yield from same(f"{block}.{branch}.gain", f"{layer}.layer_scale{number}.lambda1")
        feedforward, bias = f"{block}.feedforward.branch", config["mlp_bias"]
        if config["use_gated_mlp"]:
            rows = {f"{layer}.mlp.{name}_proj": config["intermediate_size"] for name in ("gate", "up")}
            yield from stacked(f"{feedforward}.gate_up", rows, bias=bias)
        else:
            yield from linear(f"{feedforward}.up", f"{layer}.mlp.up_proj", bias=bias)
        yield from linear(f"{feedforward}.down", f"{layer}.mlp.down_proj", bias=bias)

    def at_size(self, model: OmniFormer, image_size: tuple[int, int]) -> Self:
        """The family of the model for pictures of another size; nothing is stretched, since places are shares."""
        other = copy.copy(self)
        other.config = self.config | {"image_size": written(image_size)}
        other.chosen_size = True
        return other

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values` and `bool_masked_pos` in; `last_hidden_state` and `pooler_output` out."""
        return MaskedPictureReference(
            model,
            self.head,
            image_size=self.image_size,
            patch_size=self.patch_size,
            n_class_tokens=self.n_class_tokens,
        )
