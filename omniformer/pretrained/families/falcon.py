"""Falcon ([Almazrouei et al. 2023](https://arxiv.org/abs/2311.16867))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.decoder import Decoder, megatron_names
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.pretrained.family import factory, layers, part
from omniformer.pretrained.names import Name, by_group, linear, ordered
from omniformer.recipe import Node


class Falcon(Decoder):
    """Falcon of all sizes with rotary positions, as `FalconForCausalLM` writes them.

    Those with ALiBi are refused: the reference rounds every distance to bfloat16 there, whatever the weights.

    Arguments and errors as for `Decoder`.
    """

    architectures = ("FalconForCausalLM", "FalconModel", "FalconForSequenceClassification")
    prefix = "transformer."
    table = "transformer.word_embeddings"
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 65024,
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "num_ln_in_parallel_attn": None,
        "layer_norm_epsilon": 1e-5,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "num_kv_heads": None,
        "alibi": False,
        "new_decoder_architecture": False,
        "multi_query": True,
        "parallel_attn": True,
        "bias": False,
        "max_position_embeddings": 2048,
        "ffn_hidden_size": None,
        "activation": "gelu",
        "tie_word_embeddings": True,
    }

    @property
    def core(self) -> Node:
        """Side by side behind one norm or two, or one after the other; few key heads."""
        config = self.config
        self.need("alibi", False)
        # Where the reference drops weights of attention, it drops features of the stream too, in some kinds of layers.
        self.need("attention_dropout", 0.0)
        if config["new_decoder_architecture"]:
            self.need("parallel_attn", True)
        bias = config["bias"]
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=self.d_model,
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            n_kv_heads=self.n_kv_heads,
            attention=factory("omniformer.core.attention.multihead.SelfAttention", bias=bias),
            feedforward=self.feedforward(config["ffn_hidden_size"] or 4 * self.d_model, "activation", bias=bias),
            norm=self.layer_norm(config["layer_norm_epsilon"]),
            block=factory(f"omniformer.core.block.{self.block}"),
            rotary=rotary_of(config),
            dropout=config["hidden_dropout"],
        )

    @property
    def block(self) -> str:
        """How attention and feed-forward stand to each other."""
        if not self.config["parallel_attn"]:
            return "Block"
        norms = self.config["num_ln_in_parallel_attn"] or (2 if self.config["new_decoder_architecture"] else 1)
        return "ParallelNormsBlock" if norms == 2 else "ParallelBlock"

    @property
    def n_kv_heads(self) -> int:
        """Key and value heads."""
        n_heads = self.config["num_attention_heads"]
        if self.config["new_decoder_architecture"]:
            return self.config["num_kv_heads"] or n_heads
        return 1 if self.config["multi_query"] else n_heads

    def names_below(self) -> Iterator[Name]:
        """The part of the table of names below the head; queries, keys and values stand in groups that share keys."""
        config, bias, n_heads = self.config, self.config["bias"], self.config["num_attention_heads"]
        order = by_group(self.n_kv_heads, n_heads // self.n_kv_heads, 1, 1, head_dim=self.d_model // n_heads)
        norms = ("ln_attn", "ln_mlp") if self.block == "ParallelNormsBlock" else ("input_layernorm", None)
        if self.block == "Block":
            norms = ("input_layernorm", "post_attention_layernorm")
        for ours, theirs in layers(config["num_hidden_layers"], "core.blocks", "transformer.h"):
            one = self.block == "ParallelBlock"
            attention = f"{ours}.both.branch.attention" if one else f"{ours}.attention.branch"
            feedforward = f"{ours}.both.branch.feedforward" if one else f"{ours}.feedforward.branch"
            for part_of, norm in zip(["both"] if one else ["attention", "feedforward"], norms, strict=False):
                yield from linear(f"{ours}.{part_of}.norm", f"{theirs}.{norm}")
            branch = f"{theirs}.self_attention"
            yield from ordered(f"{attention}.qkv", f"{branch}.query_key_value", order, bias=bias)
            yield from linear(f"{attention}.out", f"{branch}.dense", bias=bias)
            yield from megatron_names(feedforward, f"{theirs}.mlp", bias=bias)
        yield from linear("core.norm", "transformer.ln_f")
