"""MPNet ([Song et al. 2020](https://arxiv.org/abs/2004.09297)), which all-mpnet-base-v2 was made of."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.bert import HEADS
from omniformer.pretrained.families.roberta import RoBERTa
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.recipe import Node


class MPNet(RoBERTa):
    """RoBERTa without segments, with buckets of distances that all layers share.

    Arguments and errors as for `BERT`.
    """

    architectures = tuple(f"MPNet{kind}" for kind, heads in HEADS.items() if "next_sentence" not in heads)
    prefix = "mpnet."
    defaults: ClassVar[dict[str, Any]] = RoBERTa.defaults | {
        "vocab_size": 30527,
        "relative_attention_num_buckets": 32,
    }

    def key(self, name: str) -> Any:
        """A value of the configuration, by BERT's name for it."""
        fixed = {"type_vocab_size": 0, "classifier_dropout": None}
        return fixed[name] if name in fixed else super().key(name)

    @property
    def padding(self) -> int:
        """The id that positions do not count: 1, whatever the file says, as in the reference."""
        return 1

    @property
    def recipe(self) -> Node:
        """As RoBERTa's, with scores by distance; the reference looks them up in 32 buckets, whatever the file says."""
        self.need("relative_attention_num_buckets", 32)
        recipe = super().recipe
        recipe["core"]["pair_bias"] = factory("omniformer.core.biases.T5Buckets", n_buckets=32, max_distance=128)
        return recipe

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from super().names()
        yield from same("core.pair_bias.table", "mpnet.encoder.relative_attention_bias.weight")

    def layer_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The part of the table that is about one layer."""
        attention = {f"{theirs}.attention.attn.{name}": self.config["hidden_size"] for name in "qkv"}
        yield from stacked(f"{ours}.attention.branch.qkv", attention)
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attention.attn.o")
        yield from linear(f"{ours}.attention.norm", f"{theirs}.attention.LayerNorm")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.intermediate.dense")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.output.dense")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.output.LayerNorm")
