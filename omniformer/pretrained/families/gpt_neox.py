"""GPT-NeoX ([Black et al. 2022](https://arxiv.org/abs/2204.06745)) and Pythia
([Biderman et al. 2023](https://arxiv.org/abs/2304.01373)).
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.decoder import Decoder, megatron_names
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.pretrained.family import factory, layers, part
from omniformer.pretrained.names import Name, by_group, linear, ordered
from omniformer.recipe import Node


class GPTNeoX(Decoder):
    """GPT-NeoX and Pythia of all sizes, as `GPTNeoXForCausalLM` writes them.

    Arguments and errors as for `Decoder`.
    """

    architectures = ("GPTNeoXForCausalLM", "GPTNeoXModel", "GPTNeoXForSequenceClassification")
    prefix = "gpt_neox."
    table = "gpt_neox.embed_in"
    output = ("embed_out", "lm_head")
    ignored = ("embed_out.weight", "lm_head.weight", "*.attention.bias", "*.masked_bias", "*.rotary_emb.inv_freq")
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 50432,
        "hidden_size": 6144,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "intermediate_size": 24576,
        "hidden_act": "gelu",
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "max_position_embeddings": 2048,
        "layer_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "use_parallel_residual": True,
        "attention_bias": True,
    }

    @property
    def core(self) -> Node:
        """Attention and feed-forward side by side, each behind its norm; a part of each head is turned."""
        config = self.config
        block = "ParallelNormsBlock" if config["use_parallel_residual"] else "Block"
        attention = {"bias": config["attention_bias"], "dropout": config["attention_dropout"]}
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=self.d_model,
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            attention=factory("omniformer.core.attention.multihead.SelfAttention", **attention),
            feedforward=self.feedforward(config["intermediate_size"], "hidden_act"),
            norm=self.layer_norm(config["layer_norm_eps"]),
            block=factory(f"omniformer.core.block.{block}"),
            rotary=rotary_of(self._rotary, head_dim=self.head_dim),
            dropout=config["hidden_dropout"],
        )

    @property
    def embedding(self) -> Node:
        """Dropout as elsewhere."""
        return {"dropout": self.config["hidden_dropout"]}

    @property
    def head_dim(self) -> int:
        """Features of a head."""
        return self.d_model // self.config["num_attention_heads"]

    @property
    def _rotary(self) -> Node:
        """The configuration with the words that others have for base and share."""
        own = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}
        old = {name: self.config[key] for name, key in own.items() if key in self.config}
        return {"partial_rotary_factor": 0.25} | self.config | old

    def names_below(self) -> Iterator[Name]:
        """The part of the table of names below the head; queries, keys and values stand head by head."""
        config, n_heads = self.config, self.config["num_attention_heads"]
        order = by_group(n_heads, 1, 1, 1, head_dim=self.head_dim)
        for ours, theirs in layers(config["num_hidden_layers"], "core.blocks", "gpt_neox.layers"):
            branch, bias = f"{theirs}.attention", config["attention_bias"]
            yield from linear(f"{ours}.attention.norm", f"{theirs}.input_layernorm")
            yield from ordered(f"{ours}.attention.branch.qkv", f"{branch}.query_key_value", order, bias=bias)
            yield from linear(f"{ours}.attention.branch.out", f"{branch}.dense", bias=bias)
            yield from linear(f"{ours}.feedforward.norm", f"{theirs}.post_attention_layernorm")
            yield from megatron_names(f"{ours}.feedforward.branch", f"{theirs}.mlp")
        yield from linear("core.norm", "gpt_neox.final_layer_norm")
