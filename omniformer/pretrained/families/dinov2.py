"""DINOv2 ([Oquab et al. 2023](https://arxiv.org/abs/2304.07193)): ViT that learned from pictures alone."""

from collections.abc import Iterator
from typing import Any, ClassVar

from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.vit import ViT, classifier, patch_embedder, patch_names
from omniformer.pretrained.family import factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.patches import MaskedPictureReference
from omniformer.recipe import Node


class DINOv2(ViT):
    """DINOv2 of all sizes, as `Dinov2Model` and `Dinov2ForImageClassification` write it.

    The published files hold positions for pictures of 518 x 518 beside a processor that makes 224 x 224 of them: the
    reference stretches the positions in every call, here they are stretched once, by `load(folder, image_size=(224,
    224))`.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Dinov2Model", "Dinov2ForImageClassification")
    prefix = "dinov2."
    processor: ClassVar[str] = "BitImageProcessor"
    n_registers: int = 0
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "mlp_ratio": 4,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-6,
        "image_size": 224,
        "patch_size": 14,
        "num_channels": 3,
        "qkv_bias": True,
        "layerscale_value": 1.0,
        "drop_path_rate": 0.0,
        "use_swiglu_ffn": False,
        "use_mask_token": True,
    }

    @property
    def recipe(self) -> Node:
        """Pre-norm with a learned gain of every branch, over a class token, registers and patches."""
        config = self.config
        self.need("drop_path_rate", 0.0)  # theirs is the same in all layers, ours grows from layer to layer
        registers = {"n_registers": self.n_registers} if self.n_registers else {}
        patches = patch_embedder(
            d_model=config["hidden_size"],
            features=config["num_channels"] * self.patch_size**2,
            sizes=self.grid,
            n_class_tokens=self.n_class_tokens,
            dropout=config["hidden_dropout_prob"],
            hidden=factory("omniformer.embedders.MaskToken") if config["use_mask_token"] else None,
        )
        return recipe_of(core=self.core, embedders={"vision": patches | registers}, heads=self.heads)

    @property
    def core(self) -> Node:
        """The encoder."""
        config = self.config
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
            feedforward=self.feedforward,
            norm=factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_eps"]),
            connection=factory("omniformer.core.connection.LayerScale", initial_gain=config["layerscale_value"]),
        )

    @property
    def feedforward(self) -> Node:
        """The plain layer; a gated one of two thirds of its width, a multiple of 8, in the largest model."""
        d_ff = int(self.config["hidden_size"] * self.config["mlp_ratio"])
        if self.config["use_swiglu_ffn"]:
            gated = (int(d_ff * 2 / 3) + 7) // 8 * 8
            return factory("omniformer.core.feedforward.GatedFeedForward", d_ff=gated, activation="silu", bias=True)
        activation = self.activation("hidden_act")
        return factory("omniformer.core.feedforward.FeedForward", d_ff=d_ff, activation=activation)

    @property
    def heads(self) -> dict[str, Node]:
        """The class token itself, or a classifier of it and of the mean of the patches."""
        d_model = self.config["hidden_size"]
        if self.architecture.endswith("Model"):
            return {"picture": part("omniformer.heads.VectorHead", d_model=d_model, pool=factory(_FIRST))}
        pool = factory("omniformer.heads.FirstAndMean", n_first=self.n_class_tokens)
        return {"classification": classifier(d_model, self.n_classes, pool=pool)}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        prefix, vision = self.prefix.removesuffix("."), "embedders.vision"
        yield from patch_names(vision, f"{prefix}.embeddings", self.conv_shape, self.grid, ("cls_token",))
        if self.config["use_mask_token"]:
            shape = (1, self.config["hidden_size"])
            yield from same(f"{vision}.embedder.hidden.vector", f"{prefix}.embeddings.mask_token", shape)
        for ours, theirs in layers(self.config["num_hidden_layers"], "core.blocks", f"{prefix}.encoder.layer"):
            yield from self._layer(ours, theirs)
        yield from linear("core.norm", f"{prefix}.layernorm")
        if "classification" in self.heads:
            yield from linear("heads.classification.classes", "classifier")

    def _layer(self, ours: str, theirs: str) -> Iterator[Name]:
        attention, d_model = f"{theirs}.attention.attention", self.config["hidden_size"]
        rows = {f"{attention}.{name}": d_model for name in ("query", "key", "value")}
        yield from stacked(f"{ours}.attention.branch.qkv", rows, bias=self.config["qkv_bias"])
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attention.output.dense")
        for number, branch in enumerate(("attention", "feedforward"), start=1):
            yield from linear(f"{ours}.{branch}.norm", f"{theirs}.norm{number}")
            yield from same(f"{ours}.{branch}.gain", f"{theirs}.layer_scale{number}.lambda1")
        gated = self.config["use_swiglu_ffn"]
        for mine, plain, other in (("gate_up" if gated else "up", "fc1", "weights_in"), ("down", "fc2", "weights_out")):
            yield from linear(f"{ours}.feedforward.branch.{mine}", f"{theirs}.mlp.{other if gated else plain}")

    def reference(self, model: OmniFormer) -> nn.Module:
        """`pixel_values`, and `bool_masked_pos` where there is a mask token, in; `logits`, or `last_hidden_state` and
        `pooler_output` out.
        """
        if not self.config["use_mask_token"]:
            return super().reference(model)
        return MaskedPictureReference(
            model,
            self.head,
            image_size=self.image_size,
            patch_size=self.patch_size,
            n_class_tokens=self.n_class_tokens,
        )


class DINOv2WithRegisters(DINOv2):
    """DINOv2 with registers ([Darcet et al. 2023](https://arxiv.org/abs/2309.16588)), as
    `Dinov2WithRegistersModel` and `Dinov2WithRegistersForImageClassification` write it.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Dinov2WithRegistersModel", "Dinov2WithRegistersForImageClassification")
    prefix = "dinov2_with_registers."
    antialias: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = DINOv2.defaults | {"patch_size": 16, "num_register_tokens": 4}

    @property
    def n_registers(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Vectors between the class token and the patches."""
        return self.config["num_register_tokens"]

    @property
    def n_class_tokens(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The class token and the registers."""
        return 1 + self.n_registers

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from super().names()
        yield Name(
            ours="embedders.vision.vectors",
            theirs=f"{self.prefix}embeddings.register_tokens",
            rows=(1, self.n_class_tokens),
            shape=(1, self.n_registers, self.config["hidden_size"]),
        )


_FIRST = "omniformer.heads.FirstToken"
