"""wav2vec 2.0 ([Baevski et al. 2020](https://arxiv.org/abs/2006.11477)): speech from raw waves."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer, Wav2Vec2Tokenizer
from torch import nn

from omniformer.embedders.waves import heard
from omniformer.model import OmniFormer
from omniformer.pretrained.family import Family, factory, layers, part, recipe_of
from omniformer.pretrained.files.processors import settings_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.waves import WaveReference
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node

# What the reference takes a key of the processor's settings for where it is left out.
PROCESSOR: dict[str, Any] = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "padding_value": 0.0,
    "sampling_rate": 16000,
    "do_normalize": True,
}


class Wav2Vec2(Family):
    """wav2vec 2.0 of all sizes: writing down what is said (CTC), classes of sounds, or neither.

    Files of `Wav2Vec2ForPreTraining` are read as the part below: what quantizes sounds while it is learned is reported
    as unexpected. In training the reference may skip layers (`layerdrop`); here all take part. It may also hide
    stretches of frames (`apply_spec_augment`), which is the data's to do here. In a padded batch the reference's base
    models let padding into the norm of their first convolution; here each sound is as it is by itself.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Wav2Vec2Model", "Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC", "Wav2Vec2ForSequenceClassification")
    prefix = "wav2vec2."
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 32,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout": 0.1,
        "activation_dropout": 0.1,
        "attention_dropout": 0.1,
        "feat_proj_dropout": 0.0,
        "final_dropout": 0.1,
        "layer_norm_eps": 1e-5,
        "feat_extract_norm": "group",
        "feat_extract_activation": "gelu",
        "conv_dim": [512] * 7,
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_bias": False,
        "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 16,
        "do_stable_layer_norm": False,
        "mask_time_prob": 0.05,
        "mask_feature_prob": 0.0,
        "use_weighted_layer_sum": False,
        "classifier_proj_size": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    # Files from before 2023 name what the kernels of positions are made of in another way.
    aliases: ClassVar[dict[str, str]] = {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }
    only: ClassVar[dict[str, Any]] = {
        "feat_extract_activation": "gelu",
        "use_weighted_layer_sum": False,
        "add_adapter": False,
        "adapter_attn_dim": None,
    }
    """Keys of the configuration that have one value that the core knows, where they are there."""
    attention = "omniformer.core.attention.multihead.SelfAttention"
    """The attention of a layer."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        if self.architecture.endswith("ForPreTraining"):
            self.architecture = self.architectures[0]
            self.config["architectures"] = [self.architecture]
        for key, value in self.only.items():
            if key in self.config:
                self.need(key, value)
        self.need("feat_extract_norm", "group", "layer")

    @property
    def recipe(self) -> Node:
        """Convolutions over waves, positions of convolutions, and an encoder: post-norm in base models, pre-norm in
        large ones.
        """
        config, before = self.config, self.config["do_stable_layer_norm"]
        norm = factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_eps"])
        kind = "PreNorm" if before else "PostNorm"
        core = part(
            "omniformer.core.transformer.Transformer",
            d_model=config["hidden_size"],
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            attention=factory(self.attention, dropout=config["attention_dropout"]),
            feedforward=factory(
                "omniformer.core.feedforward.FeedForward",
                d_ff=config["intermediate_size"],
                activation=self.activation("hidden_act"),
                dropout=config["activation_dropout"],
            ),
            norm=norm,
            connection=factory(f"omniformer.core.connection.{kind}"),
            final_norm=before,
            dropout=config["hidden_dropout"],
            **self.shared,
        )
        places = {"kernel": config["num_conv_pos_embeddings"], "groups": config["num_conv_pos_embedding_groups"]}
        stem = part(
            "omniformer.embedders.WaveStem",
            d_model=config["hidden_size"],
            features=sum(self.heard) - 1,
            channels=list(config["conv_dim"]),
            kernels=list(config["conv_kernel"]),
            strides=list(config["conv_stride"]),
            norms="first" if config["feat_extract_norm"] == "group" else "all",
            bias=config["conv_bias"],
            map_norm=norm if self.norms_features else None,
            map_dropout=config["feat_proj_dropout"],
            hidden=factory("omniformer.embedders.MaskToken", init_std=0.02) if self.hides else None,
            position=factory("omniformer.embedders.ConvPositions", **places),
            norm=None if before else norm,
            dropout=config["hidden_dropout"],
        )
        return recipe_of(core=core, embedders={"audio": stem}, heads=self._heads)

    @property
    def _heads(self) -> dict[str, Node]:
        config, width = self.config, {"d_model": self.config["hidden_size"]}
        if self.writes:
            sizes = {"vocab_size": config["vocab_size"], "blank": config["pad_token_id"]}
            return {"ctc": part("omniformer.heads.CTCHead", **width, **sizes, dropout=config["final_dropout"])}
        if self.classifies:
            pool = factory("omniformer.heads.DenseMeanPool", d_out=config["classifier_proj_size"])
            head = part("omniformer.heads.ClassificationHead", **width, n_classes=self.n_classes, pool=pool)
            return {"classification": head}
        return {}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from self._stem_names("embedders.audio")
        theirs = f"{self.prefix}encoder"
        yield from linear(
            "core.norm" if self.config["do_stable_layer_norm"] else "embedders.audio.norm", f"{theirs}.layer_norm"
        )
        for block, layer in layers(self.config["num_hidden_layers"], "core.blocks", f"{theirs}.layers"):
            yield from self.layer_names(block, layer)
        if self.writes:
            yield from linear("heads.ctc.ids", "lm_head")
        if self.classifies:
            yield from linear("heads.classification.pool.map", "projector")
            yield from linear("heads.classification.classes", "classifier")

    def layer_names(self, block: str, layer: str) -> Iterator[Name]:
        """The part of the table that is about one layer."""
        width = self.config["hidden_size"]
        maps = {f"{layer}.attention.{name}_proj": width for name in "qkv"}
        yield from stacked(f"{block}.attention.branch.qkv", maps)
        yield from linear(f"{block}.attention.branch.out", f"{layer}.attention.out_proj")
        yield from linear(f"{block}.attention.norm", f"{layer}.layer_norm")
        yield from linear(f"{block}.feedforward.branch.up", f"{layer}.feed_forward.intermediate_dense")
        yield from linear(f"{block}.feedforward.branch.down", f"{layer}.feed_forward.output_dense")
        yield from linear(f"{block}.feedforward.norm", f"{layer}.final_layer_norm")

    def _stem_names(self, ours: str) -> Iterator[Name]:
        config, prefix = self.config, self.prefix
        steps = layers(len(config["conv_dim"]), f"{ours}.steps", f"{prefix}feature_extractor.conv_layers")
        for i, (step, theirs) in enumerate(steps):
            yield from linear(f"{step}.conv", f"{theirs}.conv", bias=config["conv_bias"])
            if i == 0 or config["feat_extract_norm"] == "layer":
                yield from linear(f"{step}.norm", f"{theirs}.layer_norm")
        if self.norms_features:
            yield from linear(f"{ours}.map_norm", f"{prefix}feature_projection.layer_norm")
        yield from linear(f"{ours}.map", f"{prefix}feature_projection.projection")
        if self.hides:
            yield from same(f"{ours}.hidden.vector", f"{prefix}masked_spec_embed")
        conv = f"{prefix}encoder.pos_conv_embed.conv"
        sizes = (1, 1, config["num_conv_pos_embeddings"])
        yield from same(f"{ours}.position.size", f"{conv}.parametrizations.weight.original0", sizes)
        yield from same(f"{ours}.position.direction", f"{conv}.parametrizations.weight.original1")
        yield from same(f"{ours}.position.bias", f"{conv}.bias")

    @property
    def shared(self) -> Node:
        """What all layers share."""
        return {}

    @property
    def writes(self) -> bool:
        """Whether it writes down what is said."""
        return self.architecture.endswith("ForCTC")

    @property
    def classifies(self) -> bool:
        """Whether it tells classes of sounds."""
        return self.architecture.endswith("ForSequenceClassification")

    @property
    def hides(self) -> bool:
        """Whether there is a vector for hidden frames: the reference has one where it might need it."""
        return self.config["mask_time_prob"] > 0 or self.config["mask_feature_prob"] > 0

    @property
    def norms_features(self) -> bool:
        """Whether there is a norm between the convolutions and the map."""
        return True

    @property
    def heard(self) -> tuple[int, int]:
        """Samples that a frame hears, and from one frame to the next."""
        return heard(*(self.config[key] for key in ("conv_dim", "conv_kernel", "conv_stride")))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes; those in files of models without are made up."""
        return super().labels if self.classifies else ()

    @property
    def given(self) -> tuple[str, ...]:
        """What it reads before it writes."""
        return ("audio",) if self.writes else ()

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Waves as frames hear them, and the letters that it writes.

        Raises:
            ValueError: a file is damaged, of another kind, or has the vocabulary of another model; names the file.
        """
        texts = text_tokenizer(folder, self.config) if self.writes else {}
        described = settings_of(folder, "feature_extractor")
        return texts if described is None else {"audio": self._waves(*described), **texts}

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_values` and `attention_mask` in, `logits` out."""
        return WaveReference(model, self.head, heard=self.heard)

    def _waves(self, path: Path, described: dict[str, Any]) -> Wav2Vec2Tokenizer:
        settings = PROCESSOR | described
        for key in ("feature_extractor_type", "feature_size", "padding_value"):
            if settings[key] != PROCESSOR[key]:
                raise ValueError(f"{path}: {key}={settings[key]!r}; accepted: {PROCESSOR[key]!r}")
        window, stride = self.heard
        normalize, rate = bool(settings["do_normalize"]), settings["sampling_rate"]
        return Wav2Vec2Tokenizer(sample_rate=rate, window=window, stride=stride, normalize=normalize)
