"""ALBERT ([Lan et al. 2019](https://arxiv.org/abs/1909.11942))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.bert import BERT, HEADS
from omniformer.pretrained.families.electra import narrow_scores, narrow_table
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.recipe import Node


class ALBERT(BERT):
    """BERT whose layers share their weights, with a narrow table, and no next sentences.

    Arguments and errors as for `BERT`.
    """

    architectures = tuple(f"Albert{kind}" for kind, heads in HEADS.items() if "next_sentence" not in heads)
    prefix = "albert."
    defaults: ClassVar[dict[str, Any]] = BERT.defaults | {
        "vocab_size": 30000,
        "embedding_size": 128,
        "hidden_size": 4096,
        "num_hidden_groups": 1,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "inner_group_num": 1,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout_prob": 0.1,
    }
    ignored = ("predictions.decoder.*", "predictions.bias", "*.embeddings.position_ids")
    aliases: ClassVar[dict[str, str]] = {
        "predictions.bias": "predictions.decoder.bias",
        "predictions.decoder.bias": "predictions.bias",
    }
    spelled: ClassVar[dict[str, str]] = {"classifier_dropout": "classifier_dropout_prob"}

    @property
    def recipe(self) -> Node:
        """As BERT's, with layers that are the same layer again and again."""
        self.need("inner_group_num", 1)
        recipe = super().recipe
        recipe["core"] |= {
            "_target_": "omniformer.core.shared.SharedTransformer",
            "n_groups": self.config["num_hidden_groups"],
        }
        return recipe

    @property
    def table(self) -> Node:
        """The kind of embedder, and its widths."""
        return narrow_table(self)

    def head_recipe(self, head: str) -> Node:
        """How to build a head: one for hidden words is as wide as the table."""
        recipe = super().head_recipe(head)
        return narrow_scores(self, recipe, activation=self.act) if head == "masked_lm" else recipe

    def names(self) -> Iterator[Name]:
        """The table of names; layers that are one have their line once."""
        n_layers, n_groups = self.config["num_hidden_layers"], self.config["num_hidden_groups"]
        firsts = [next(i for i in range(n_layers) if i * n_groups // n_layers == group) for group in range(n_groups)]
        tables = {"table": "word_embeddings", "segments": "token_type_embeddings"}
        for ours, theirs in tables.items():
            yield from same(f"embedders.text.{ours}.weight", f"albert.embeddings.{theirs}.weight")
        yield from same("embedders.text.position.table", "albert.embeddings.position_embeddings.weight")
        yield from linear("embedders.text.norm", "albert.embeddings.LayerNorm")
        yield from linear("embedders.text.map", "albert.encoder.embedding_hidden_mapping_in")
        for group, layer in enumerate(firsts):
            theirs = f"albert.encoder.albert_layer_groups.{group}.albert_layers.0"
            yield from self.layer_names(f"core.blocks.{layer}", theirs)
        for head in self.heads:
            yield from self.head_names(head, f"heads.{head}")

    def layer_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The part of the table that is about one layer."""
        attention = {f"{theirs}.attention.{name}": self.config["hidden_size"] for name in ("query", "key", "value")}
        yield from stacked(f"{ours}.attention.branch.qkv", attention)
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attention.dense")
        yield from linear(f"{ours}.attention.norm", f"{theirs}.attention.LayerNorm")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.ffn")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.ffn_output")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.full_layer_layer_norm")

    def head_names(self, head: str, ours: str) -> Iterator[Name]:
        """The part of the table that is about one head."""
        if head == "masked_lm":
            yield from linear(f"{ours}.transform.map", "predictions.dense")
            yield from linear(f"{ours}.transform.norm", "predictions.LayerNorm")
            yield from self.output_names(ours, "predictions")
            return
        if head in ("pooled", "classification"):
            yield from linear(f"{ours}.pool.map", "albert.pooler")
        if head == "classification":
            yield from linear(f"{ours}.{self.last_map}", "classifier")
        elif head != "pooled":
            yield from super().head_names(head, ours)
