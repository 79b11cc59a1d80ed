"""BLOOM ([Scao et al. 2022](https://arxiv.org/abs/2211.05100))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.decoder import Decoder, megatron_names
from omniformer.pretrained.family import factory, layers, part
from omniformer.pretrained.names import Name, by_group, linear, ordered
from omniformer.recipe import Node


class BLOOM(Decoder):
    """BLOOM of all sizes, as `BloomForCausalLM` writes them: distances as additive scores, no end of positions.

    Arguments and errors as for `Decoder`.
    """

    architectures = ("BloomForCausalLM", "BloomModel", "BloomForSequenceClassification")
    prefix = "transformer."
    table = "transformer.word_embeddings"
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 250880,
        "hidden_size": 64,
        "n_layer": 2,
        "n_head": 8,
        "layer_norm_epsilon": 1e-5,
        "apply_residual_connection_post_layernorm": False,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
    }
    # Early files have other words for the sizes.
    spelled: ClassVar[dict[str, str]] = {
        "n_embed": "hidden_size",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
    }

    def __init__(self, config: dict[str, Any]) -> None:
        old = {ours: config[theirs] for theirs, ours in self.spelled.items() if theirs in config}
        super().__init__({**config, **old})

    @property
    def core(self) -> Node:
        """Pre-norm, ALiBi."""
        config = self.config
        self.need("apply_residual_connection_post_layernorm", False)
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=self.d_model,
            n_layers=config["n_layer"],
            n_heads=config["n_head"],
            attention=factory("omniformer.core.attention.multihead.SelfAttention", dropout=config["attention_dropout"]),
            feedforward=factory(
                "omniformer.core.feedforward.FeedForward", d_ff=4 * self.d_model, activation="gelu_tanh"
            ),
            norm=self.layer_norm(config["layer_norm_epsilon"]),
            pair_bias=factory("omniformer.core.biases.ALiBi"),
            dropout=config["hidden_dropout"],
        )

    @property
    def embedding(self) -> Node:
        """A norm behind the table."""
        return {"norm": self.layer_norm(self.config["layer_norm_epsilon"])}

    @property
    def max_seq_len(self) -> None:
        """None: distances have no end."""

    def names_below(self) -> Iterator[Name]:
        """The part of the table of names below the head; queries, keys and values stand head by head."""
        n_heads = self.config["n_head"]
        order = by_group(n_heads, 1, 1, 1, head_dim=self.d_model // n_heads)
        yield from linear("embedders.text.norm", "transformer.word_embeddings_layernorm")
        for ours, theirs in layers(self.config["n_layer"], "core.blocks", "transformer.h"):
            branch = f"{theirs}.self_attention"
            yield from linear(f"{ours}.attention.norm", f"{theirs}.input_layernorm")
            yield from ordered(f"{ours}.attention.branch.qkv", f"{branch}.query_key_value", order)
            yield from linear(f"{ours}.attention.branch.out", f"{branch}.dense")
            yield from linear(f"{ours}.feedforward.norm", f"{theirs}.post_attention_layernorm")
            yield from megatron_names(f"{ours}.feedforward.branch", f"{theirs}.mlp")
        yield from linear("core.norm", "transformer.ln_f")
