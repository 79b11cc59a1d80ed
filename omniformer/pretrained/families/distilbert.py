"""DistilBERT ([Sanh et al. 2019](https://arxiv.org/abs/1910.01108))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.bert import BERT, HEADS
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.recipe import Node


class DistilBERT(BERT):
    """BERT without segments, without a pooler and without next sentences, in words of its own.

    Arguments and errors as for `BERT`.
    """

    architectures = tuple(f"DistilBert{kind}" for kind, heads in HEADS.items() if "next_sentence" not in heads)
    prefix = "distilbert."
    stack = "transformer.layer"
    spelled: ClassVar[dict[str, str]] = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }
    # Whether positions began as sines (sinusoidal_pos_embds) is of the past: files hold their table.
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "dim": 768,
        "n_layers": 6,
        "n_heads": 12,
        "hidden_dim": 3072,
        "activation": "gelu",
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "tie_word_embeddings": True,
        "problem_type": None,
    }
    ignored = ("vocab_projector.weight", "*.embeddings.position_ids")

    def key(self, name: str) -> Any:
        """A value of the configuration, by BERT's name for it."""
        fixed = {"type_vocab_size": 0, "layer_norm_eps": 1e-12, "classifier_dropout": None}
        return fixed[name] if name in fixed else super().key(name)

    @property
    def heads(self) -> tuple[str, ...]:
        """No pooler where there is no task."""
        return () if self.kind == "Model" else super().heads

    def head_recipe(self, head: str) -> Node:
        """How to build a head: those that read whole texts and those that find answers have a dropout of their own."""
        recipe = super().head_recipe(head)
        if head == "classification":
            pool = factory("omniformer.heads.DenseFirstToken", activation="relu")
            return {**recipe, "pool": pool, "dropout": self.config["seq_classif_dropout"]}
        return {**recipe, "dropout": self.config["qa_dropout"]} if head == "span_prediction" else recipe

    def layer_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The part of the table that is about one layer."""
        attention = {f"{theirs}.attention.{name}_lin": self.config["dim"] for name in ("q", "k", "v")}
        yield from stacked(f"{ours}.attention.branch.qkv", attention)
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attention.out_lin")
        yield from linear(f"{ours}.attention.norm", f"{theirs}.sa_layer_norm")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.ffn.lin1")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.ffn.lin2")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.output_layer_norm")

    def head_names(self, head: str, ours: str) -> Iterator[Name]:
        """The part of the table that is about one head."""
        if head == "masked_lm":
            yield from linear(f"{ours}.transform.map", "vocab_transform")
            yield from linear(f"{ours}.transform.norm", "vocab_layer_norm")
            yield from same(f"{ours}.ids.bias", "vocab_projector.bias")
            if not self.config["tie_word_embeddings"]:
                yield from same(f"{ours}.ids.weight", "vocab_projector.weight")
        elif head == "classification":
            yield from linear(f"{ours}.pool.map", "pre_classifier")
            yield from linear(f"{ours}.{self.last_map}", "classifier")
        else:
            yield from super().head_names(head, ours)
