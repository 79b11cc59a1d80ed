"""StarCoder2 ([Lozhkov et al. 2024](https://arxiv.org/abs/2402.19173))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.mistral import Mistral
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear, stacked
from omniformer.recipe import Node


class StarCoder2(Mistral):
    """StarCoder2 as `Starcoder2ForCausalLM` writes it: Mistral with means in its norms, offsets, and no gates.

    Arguments and errors as for `Mistral`.
    """

    architectures = ("Starcoder2ForCausalLM", "Starcoder2Model", "Starcoder2ForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Mistral.defaults | {
        "vocab_size": 49152,
        "hidden_size": 3072,
        "intermediate_size": 12288,
        "num_hidden_layers": 30,
        "num_attention_heads": 24,
        "num_key_value_heads": 2,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 4096,
        "norm_epsilon": 1e-5,
        "sliding_window": None,
        "residual_dropout": 0.0,
        "embedding_dropout": 0.0,
        "use_bias": True,
        "tie_word_embeddings": True,
    }

    @property
    def recipe(self) -> Node:
        """As LLaMA's, with a dropout of the embedder's own."""
        recipe = super().recipe
        recipe["embedders"]["text"]["node"]["dropout"] = self.config["embedding_dropout"]
        return recipe

    @property
    def norm(self) -> Node:
        """Norms with means and offsets."""
        return factory("omniformer.core.norm.LayerNorm", eps=self.config["norm_epsilon"])

    @property
    def stack(self) -> Node:
        """As LLaMA's, with dropout."""
        return super().stack | {"dropout": self.config["residual_dropout"]}

    @property
    def attention(self) -> Node:
        """As LLaMA's, with offsets."""
        return super().attention | {"bias": self.config["use_bias"]}

    @property
    def feedforward(self) -> Node:
        """Two maps without a gate."""
        return factory(
            "omniformer.core.feedforward.FeedForward",
            d_ff=self.config["intermediate_size"],
            activation=self.activation("hidden_act"),
            bias=self.config["use_bias"],
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from super().names()
        yield Name(ours="core.norm.bias", theirs="model.norm.bias")

    def norm_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The norms of a block."""
        yield from linear(f"{ours}.attention.norm", f"{theirs}.input_layernorm")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.post_attention_layernorm")

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        bias = self.config["use_bias"]
        yield from stacked(f"{ours}.qkv", self.qkv(theirs), bias=bias)
        yield from linear(f"{ours}.out", f"{theirs}.o_proj", bias=bias)

    def feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of a feed-forward layer; theirs is the block."""
        bias = self.config["use_bias"]
        yield from linear(f"{ours}.up", f"{theirs}.mlp.c_fc", bias=bias)
        yield from linear(f"{ours}.down", f"{theirs}.mlp.c_proj", bias=bias)
