"""BART ([Lewis et al. 2020](https://arxiv.org/abs/1910.13461))."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.classifying import Classifying
from omniformer.pretrained.family import factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.sequences import EncoderDecoderReference, RereadingReference
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node


class BART(Classifying):
    """BART of all sizes, as `BartForConditionalGeneration`, `BartForSequenceClassification` and `BartModel` write it.

    The output table is the input's, unless the file says otherwise: then what is read, what is written and the output
    have a table each. What is read is of modality source, what is written of modality text: they share one table, and
    have positions and norms of their own. A classifier reads one text, of modality text, with both halves
    (`Rereading`), and pools its last token, the `</s>` that closes it. Each id's offset (`final_logits_bias`) is kept
    as it is, as in the reference, which does not train it either. The reference takes no gradient from where padding's
    id is read; here it is an id like any other.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("BartForConditionalGeneration", "BartForSequenceClassification", "BartModel")
    prefix = "model."
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size", "max_seq_len": "max_position_embeddings"}
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 50265,
        "max_position_embeddings": 1024,
        "d_model": 1024,
        "encoder_layers": 12,
        "encoder_ffn_dim": 4096,
        "encoder_attention_heads": 16,
        "decoder_layers": 12,
        "decoder_ffn_dim": 4096,
        "decoder_attention_heads": 16,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "activation_function": "gelu",
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "classifier_dropout": 0.0,
    }
    ignored = ("model.*.version", "model.shared.weight")
    unnamed = 3

    needed: ClassVar[dict[str, Any]] = {
        "normalize_before": False,
        "normalize_embedding": True,
        "add_final_layer_norm": False,
        "static_position_embeddings": False,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
    }
    """Keys that must have this value where the file has them."""

    pre_norm: ClassVar[bool] = False
    """Whether norms stand before the branches, and a last one behind each stack."""

    kept_bias: ClassVar[bool] = True
    """Whether the files keep an offset of each id."""

    @property
    def recipe(self) -> Node:
        """Post-norm, one table of ids for both sides, positions for each."""
        if self.architecture == self.architectures[-1]:  # which has no output of its own
            self.need("tie_word_embeddings", True)
        for key, value in self.needed.items():
            if key in self.config:
                self.need(key, value)
        stacks = {
            "encoder": self._stack("encoder"),
            "decoder": self._stack("decoder", block=factory("omniformer.core.block.CrossBlock", cross=self._cross())),
        }
        if self.classifies:
            return self._classifier(stacks)
        core = part("omniformer.core.encoder_decoder.EncoderDecoder", **stacks)
        head = part(
            "omniformer.heads.NextTokenHead",
            d_model=self.config["d_model"],
            vocab_size=self.target_vocab_size,
            tied=self.tied,
            kept_bias=self.kept_bias,
        )
        return recipe_of(
            core=core,
            embedders={
                "source": self._embedder(self.config["vocab_size"]),
                "text": self._embedder(self.target_vocab_size),
            },
            heads={"seq2seq": head},
            rules={"seq2seq": part("omniformer.core.rules.Causal")},
            ties={"embedders.text.table.weight": "embedders.source.table.weight"} if self.one_table else None,
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        body = "core.pair" if self.classifies else "core"
        yield from self._tables()
        yield from self._embedder_names()
        for block, layer in layers(self.config["encoder_layers"], f"{body}.encoder.blocks", "model.encoder.layers"):
            yield from self._layer(block, layer)
        for block, layer in layers(self.config["decoder_layers"], f"{body}.decoder.blocks", "model.decoder.layers"):
            yield from self._layer(block, layer)
            theirs = f"{layer}.encoder_attn"
            kv = {f"{theirs}.k_proj": self.config["d_model"], f"{theirs}.v_proj": self.config["d_model"]}
            yield from linear(f"{block}.cross.branch.q", f"{theirs}.q_proj")
            yield from stacked(f"{block}.cross.branch.kv", kv)
            yield from linear(f"{block}.cross.branch.out", f"{theirs}.out_proj")
            yield from linear(f"{block}.cross.norm", f"{layer}.encoder_attn_layer_norm")
        if self.classifies:
            yield from linear("heads.classification.pool.map", "classification_head.dense")
            yield from linear(f"heads.classification.{self.last_map}", "classification_head.out_proj")
            return
        if self.pre_norm:
            for side in ("encoder", "decoder"):
                yield from linear(f"core.{side}.norm", f"model.{side}.layer_norm")
        if self.kept_bias:
            shape = (1, self.target_vocab_size)
            yield Name(ours="heads.seq2seq.kept_bias", theirs="final_logits_bias", shape=shape, absent=0.0)

    @property
    def target_vocab_size(self) -> int:
        """The number of ids of what is written."""
        return self.config["vocab_size"]

    @property
    def one_table(self) -> bool:
        """Whether what is read and what is written have one table."""
        return self.config["tie_word_embeddings"]

    @property
    def tied(self) -> bool:
        """Whether the output has the table of what is written."""
        return self.config["tie_word_embeddings"]

    @property
    def given(self) -> tuple[str, ...]:
        """What the encoder reads before something is written."""
        return () if self.classifies else ("source",)

    @property
    def max_seq_len(self) -> int:
        """The places of the positions."""
        return self.config["max_position_embeddings"]

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Those of what is read and of what is written: the same byte pairs between `<s>` and `</s>`, or Marian's two
        vocabularies.
        """
        return text_tokenizer(folder, self.config, modalities=(*self.given, "text"))

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids` and `decoder_input_ids` in, `logits` out; of a classifier `input_ids` alone."""
        if self.classifies:
            return RereadingReference(model, "classification", last=self.config["eos_token_id"])
        return EncoderDecoderReference(model, "seq2seq", source="source")

    def _embedder(self, vocab_size: int) -> Node:
        """A table, learned positions whose first two places belong to padding, and a norm."""
        config = self.config
        return part(
            "omniformer.embedders.IdEmbedder",
            d_model=config["d_model"],
            vocab_size=vocab_size,
            scale=self._scale(),
            position=factory(
                "omniformer.core.positions.Learned", sizes=[config["max_position_embeddings"] + 2], first=2
            ),
            norm=factory("omniformer.core.norm.LayerNorm"),
            dropout=config["dropout"],
        )

    def _classifier(self, stacks: dict[str, Node]) -> Node:
        """Both halves over one text, of which the last token is classified."""
        config = self.config
        tables = {"read": self._embedder(config["vocab_size"]), "written": self._embedder(config["vocab_size"])}
        dropout = config["classifier_dropout"]
        pool = factory("omniformer.heads.DenseLastToken", activation="tanh", dropout=dropout)
        head = self.classifier(config["d_model"], pool=pool, dropout=dropout)
        twice = part("omniformer.embedders.ReadTwice", **tables, start=config["decoder_start_token_id"])
        return recipe_of(
            core=part("omniformer.core.rereading.Rereading", **stacks),
            embedders={"text": twice},
            heads={"classification": head},
            rules={"classification": part("omniformer.core.rules.Full")},
            ties={f"{self._written}.table.weight": f"{self._read}.table.weight"} if self.one_table else None,
        )

    @property
    def _read(self) -> str:
        """The name of what embeds for the encoder."""
        return "embedders.text.read" if self.classifies else "embedders.source"

    @property
    def _written(self) -> str:
        """The name of what embeds for the decoder."""
        return "embedders.text.written" if self.classifies else "embedders.text"

    def _embedder_names(self) -> Iterator[Name]:
        for ours, theirs in ((self._read, "encoder"), (self._written, "decoder")):
            yield from same(f"{ours}.position.table", f"model.{theirs}.embed_positions.weight")
            yield from linear(f"{ours}.norm", f"model.{theirs}.layernorm_embedding")

    def _scale(self) -> float:
        return math.sqrt(self.config["d_model"]) if self.config["scale_embedding"] else 1.0

    def _stack(self, side: str, **others: Any) -> Node:
        """The encoder, or the decoder."""
        config = self.config
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=config["d_model"],
            n_layers=config[f"{side}_layers"],
            n_heads=config[f"{side}_attention_heads"],
            attention=factory("omniformer.core.attention.multihead.SelfAttention", dropout=config["attention_dropout"]),
            feedforward=factory(
                "omniformer.core.feedforward.FeedForward",
                d_ff=config[f"{side}_ffn_dim"],
                activation=self.activation("activation_function"),
                dropout=config["activation_dropout"],
            ),
            connection=factory(f"omniformer.core.connection.{'PreNorm' if self.pre_norm else 'PostNorm'}"),
            final_norm=self.pre_norm,
            dropout=config["dropout"],
            **others,
        )

    def _cross(self) -> Node:
        return factory("omniformer.core.attention.cross.CrossAttention", dropout=self.config["attention_dropout"])

    def _tables(self) -> Iterator[Name]:
        """The one table of ids, which files may repeat for every part that reads it; or a table for each part, which
        files of older versions of the reference have once where they are equal.
        """
        if not self.one_table:
            tables = {f"{self._read}.table": "model.encoder.embed_tokens"}
            tables |= {f"{self._written}.table": "model.decoder.embed_tokens"}
            tables |= {} if self.tied or self.classifies else {"heads.seq2seq.ids": "lm_head"}
            for ours, theirs in tables.items():
                yield Name(ours=f"{ours}.weight", theirs=f"{theirs}.weight", instead=("model.shared.weight",))
            return
        parts = [f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder")]
        yield from same(f"{self._read}.table.weight", "model.shared.weight", also=[*parts, "lm_head.weight"])

    def _layer(self, block: str, layer: str) -> Iterator[Name]:
        """What layers of encoder and decoder have in common."""
        qkv = {f"{layer}.self_attn.{name}_proj": self.config["d_model"] for name in "qkv"}
        yield from stacked(f"{block}.attention.branch.qkv", qkv)
        yield from linear(f"{block}.attention.branch.out", f"{layer}.self_attn.out_proj")
        yield from linear(f"{block}.attention.norm", f"{layer}.self_attn_layer_norm")
        yield from linear(f"{block}.feedforward.branch.up", f"{layer}.fc1")
        yield from linear(f"{block}.feedforward.branch.down", f"{layer}.fc2")
        yield from linear(f"{block}.feedforward.norm", f"{layer}.final_layer_norm")
