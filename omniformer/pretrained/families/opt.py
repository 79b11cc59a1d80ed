"""OPT ([Zhang et al. 2022](https://arxiv.org/abs/2205.01068))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.decoder import Decoder
from omniformer.pretrained.family import factory, layers, part
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.recipe import Node


class OPT(Decoder):
    """OPT of all sizes but 350m, whose table has another width than its stream, as `OPTForCausalLM` writes them.

    Arguments and errors as for `Decoder`.
    """

    architectures = ("OPTForCausalLM", "OPTModel", "OPTForSequenceClassification")
    prefix = "model."
    table = "model.decoder.embed_tokens"
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size", "max_seq_len": "max_position_embeddings"}
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 50272,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "ffn_dim": 3072,
        "max_position_embeddings": 2048,
        "do_layer_norm_before": True,
        "_remove_final_layer_norm": False,
        "word_embed_proj_dim": None,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "num_attention_heads": 12,
        "activation_function": "relu",
        "layerdrop": 0.0,
        "enable_bias": True,
        "layer_norm_elementwise_affine": True,
        "tie_word_embeddings": True,
    }

    @property
    def core(self) -> Node:
        """Pre-norm, or post-norm without a last norm."""
        config = self.config
        self.need("layerdrop", 0.0)
        self.need("word_embed_proj_dim", None, self.d_model)
        learned = config["layer_norm_elementwise_affine"]
        connection = "PreNorm" if config["do_layer_norm_before"] else "PostNorm"
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=self.d_model,
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            attention=factory(
                "omniformer.core.attention.multihead.SelfAttention",
                bias=config["enable_bias"],
                dropout=config["attention_dropout"],
            ),
            feedforward=self.feedforward(config["ffn_dim"], "activation_function", bias=config["enable_bias"]),
            norm=factory("omniformer.core.norm.LayerNorm", gain=learned, bias=learned),
            connection=factory(f"omniformer.core.connection.{connection}"),
            final_norm=self.final_norm,
            dropout=config["dropout"],
        )

    @property
    def embedding(self) -> Node:
        """Learned positions, whose first two places nobody reads."""
        return {
            "position": factory(
                "omniformer.core.positions.Learned", sizes=[self.config["max_position_embeddings"] + 2], first=2
            )
        }

    @property
    def final_norm(self) -> bool:
        """Whether the output of the stack is normalised."""
        return self.config["do_layer_norm_before"] and not self.config["_remove_final_layer_norm"]

    def names_below(self) -> Iterator[Name]:
        """The part of the table of names below the head."""
        config, bias = self.config, self.config["enable_bias"]
        learned = config["layer_norm_elementwise_affine"]
        yield from same("embedders.text.position.table", "model.decoder.embed_positions.weight")
        for ours, theirs in layers(config["num_hidden_layers"], "core.blocks", "model.decoder.layers"):
            qkv = {f"{theirs}.self_attn.{name}_proj": self.d_model for name in "qkv"}
            yield from stacked(f"{ours}.attention.branch.qkv", qkv, bias=bias)
            yield from linear(f"{ours}.attention.branch.out", f"{theirs}.self_attn.out_proj", bias=bias)
            yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.fc1", bias=bias)
            yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.fc2", bias=bias)
            if learned:
                yield from linear(f"{ours}.attention.norm", f"{theirs}.self_attn_layer_norm")
                yield from linear(f"{ours}.feedforward.norm", f"{theirs}.final_layer_norm")
        if learned and self.final_norm:
            yield from linear("core.norm", "model.decoder.final_layer_norm")
