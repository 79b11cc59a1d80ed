"""LLaMA 1 to 3 ([Touvron et al. 2023](https://arxiv.org/abs/2302.13971), [2023b](https://arxiv.org/abs/2307.09288),
[Grattafiori et al. 2024](https://arxiv.org/abs/2407.21783)), and what its relatives share with it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.pretrained.families.scored import Scored
from omniformer.pretrained.family import factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.sequences import CausalReference
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node


class Llama(Scored):
    """LLaMA of all sizes and ages, as `LlamaForCausalLM` writes them, without a head, or with a classifier or a
    scorer that reads the last token.

    A relative says with `attention`, `feedforward`, `norm`, `stack`, `scores` and `rule` what it does in another way,
    and with `attention_names`, `feedforward_names` and `norm_names` what its tensors are called.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("LlamaForCausalLM", "LlamaModel", "LlamaForSequenceClassification")
    prefix = "model."
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": None,
        "head_dim": None,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "problem_type": None,
    }
    ignored = ("lm_head.weight", "*.rotary_emb.inv_freq")
    theta: ClassVar[float] = 10_000.0
    """The base of the rotary positions where the file leaves it out."""

    @property
    def recipe(self) -> Node:
        """Pre-norm without offsets, rotary positions, a gated feed-forward layer."""
        config = self.config
        core = part(
            "omniformer.core.transformer.Transformer",
            d_model=config["hidden_size"],
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            n_kv_heads=self.n_kv_heads,
            attention=self.attention,
            feedforward=self.feedforward,
            norm=self.norm,
            **self.stack,
        )
        embedder = part(
            "omniformer.embedders.IdEmbedder", d_model=config["hidden_size"], vocab_size=config["vocab_size"]
        )
        name, head = self._head
        return recipe_of(core=core, embedders={"text": embedder}, heads={name: head}, rules={name: self.rule})

    @property
    def attention(self) -> Node:
        """The attention of a block."""
        return factory(
            "omniformer.core.attention.multihead.SelfAttention",
            head_dim=self.head_dim,
            bias=self.config["attention_bias"],
            dropout=self.config["attention_dropout"],
        )

    @property
    def feedforward(self) -> Node:
        """The feed-forward layer of a block."""
        return factory(
            "omniformer.core.feedforward.GatedFeedForward",
            d_ff=self.config["intermediate_size"],
            activation=self.activation("hidden_act"),
            bias=self.config["mlp_bias"],
        )

    @property
    def norm(self) -> Node:
        """The norms of the stream."""
        return factory("omniformer.core.norm.RMSNorm", eps=self.config["rms_norm_eps"])

    @property
    def stack(self) -> Node:
        """What else the core is told: of positions, of layers that differ, of how branches join the stream."""
        return {"rotary": rotary_of(self.config, base=self.theta)}

    @property
    def scores(self) -> Node:
        """What else the head of a language model is told."""
        return {}

    @property
    def rule(self) -> Node:
        """Who may attend to whom."""
        return part("omniformer.core.rules.Causal")

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from same("embedders.text.table.weight", "model.embed_tokens.weight")
        for ours, theirs in layers(self.config["num_hidden_layers"], "core.blocks", "model.layers"):
            yield from self.norm_names(ours, theirs)
            yield from self.attention_names(f"{ours}.attention.branch", f"{theirs}.self_attn")
            yield from self.feedforward_names(f"{ours}.feedforward.branch", theirs)
        yield from linear("core.norm", "model.norm", bias=False)
        if self.head == "classification":
            yield from self.classifier_names()
        if self.head == "causal_lm" and not self.config["tie_word_embeddings"]:
            yield from same("heads.causal_lm.ids.weight", "lm_head.weight")

    def norm_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The norms of a block."""
        yield from linear(f"{ours}.attention.norm", f"{theirs}.input_layernorm", bias=False)
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.post_attention_layernorm", bias=False)

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        bias = self.config["attention_bias"]
        yield from stacked(f"{ours}.qkv", self.qkv(theirs), bias=bias)
        yield from linear(f"{ours}.out", f"{theirs}.o_proj", bias=bias)

    def feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of a feed-forward layer; theirs is the block."""
        bias, d_ff = self.config["mlp_bias"], self.config["intermediate_size"]
        yield from stacked(
            f"{ours}.gate_up", {f"{theirs}.mlp.gate_proj": d_ff, f"{theirs}.mlp.up_proj": d_ff}, bias=bias
        )
        yield from linear(f"{ours}.down", f"{theirs}.mlp.down_proj", bias=bias)

    def qkv(self, theirs: str) -> dict[str, int]:
        """Queries, keys and values from top to bottom, each with its number of rows."""
        n_rows, n_kv_rows = self.config["num_attention_heads"] * self.head_dim, self.n_kv_heads * self.head_dim
        return {f"{theirs}.q_proj": n_rows, f"{theirs}.k_proj": n_kv_rows, f"{theirs}.v_proj": n_kv_rows}

    @property
    def n_kv_heads(self) -> int:
        """Key and value heads; old files have as many as query heads and say nothing."""
        return self.config["num_key_value_heads"] or self.config["num_attention_heads"]

    @property
    def head_dim(self) -> int:
        """Features of a head."""
        return self.config["head_dim"] or self.config["hidden_size"] // self.config["num_attention_heads"]

    @property
    def max_seq_len(self) -> int:
        """The longest text of the training; rotary positions themselves have no end."""
        return self.config["max_position_embeddings"]

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Byte pairs, of SentencePiece or of bytes."""
        return text_tokenizer(folder, self.config)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids` in, `logits` out."""
        return CausalReference(model, self.head)

    @property
    def _head(self) -> tuple[str, Node]:
        """The name of the head, and how to build it."""
        d_model = self.config["hidden_size"]
        if self.architecture.endswith("ForCausalLM"):
            tied = self.config["tie_word_embeddings"]
            sizes = {"d_model": d_model, "vocab_size": self.config["vocab_size"]}
            return "causal_lm", part("omniformer.heads.NextTokenHead", **sizes, tied=tied, **self.scores)
        if self.classifies:
            return "classification", self.classifier(d_model)
        return "features", part("omniformer.heads.FeatureHead")
