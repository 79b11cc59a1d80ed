"""Mamba-2 ([Dao and Gu 2024](https://arxiv.org/abs/2405.21060)) and Codestral Mamba."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.decoder import Decoder
from omniformer.pretrained.family import factory, layers, part
from omniformer.pretrained.names import Name, linear, same
from omniformer.recipe import Node


class Mamba2(Decoder):
    """Mamba-2 of all sizes, as `Mamba2ForCausalLM` writes it.

    Arguments and errors as for `Decoder`.
    """

    architectures = ("Mamba2ForCausalLM", "Mamba2Model")
    prefix = "backbone."
    table = "backbone.embeddings"
    ignored = ("lm_head.weight",)
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 32768,
        "hidden_size": 4096,
        "num_hidden_layers": 64,
        "num_heads": 128,
        "head_dim": 64,
        "state_size": 128,
        "n_groups": 8,
        "expand": 2,
        "conv_kernel": 4,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "layer_norm_epsilon": 1e-5,
        "time_step_limit": [0.0, math.inf],
        "tie_word_embeddings": False,
    }

    @property
    def core(self) -> Node:
        """Layers of one mixer each, behind a norm; the order of tokens is their position."""
        self.need("hidden_act", "silu")
        config = self.config
        if config["num_heads"] * config["head_dim"] != config["expand"] * self.d_model:
            raise ValueError(
                f"config.json has num_heads={config['num_heads']} of head_dim={config['head_dim']}; together they must "
                f"be expand={config['expand']} times hidden_size={self.d_model} wide"
            )
        least, most = (_number(each) for each in config["time_step_limit"])
        mixer = factory(
            "omniformer.core.attention.mamba2.Mamba2",
            head_dim=config["head_dim"],
            state_size=config["state_size"],
            n_groups=config["n_groups"],
            kernel=config["conv_kernel"],
            bias=config["use_bias"],
            conv_bias=config["use_conv_bias"],
            least_step=least,
            most_step=None if math.isinf(most) else most,
            eps=config["layer_norm_epsilon"],
        )
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=self.d_model,
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_heads"],
            attention=mixer,
            norm=factory("omniformer.core.norm.RMSNorm", eps=config["layer_norm_epsilon"]),
            block=factory("omniformer.core.block.MixerBlock"),
        )

    @property
    def max_seq_len(self) -> int | None:
        """None: a state has room for any length."""
        return None

    def names_below(self) -> Iterator[Name]:
        """The part of the table of names below the head."""
        config = self.config
        features = config["num_heads"] * config["head_dim"] + 2 * config["n_groups"] * config["state_size"]
        for ours, theirs in layers(config["num_hidden_layers"], "core.blocks", "backbone.layers"):
            branch, mixer = f"{ours}.attention.branch", f"{theirs}.mixer"
            yield from linear(f"{ours}.attention.norm", f"{theirs}.norm", bias=False)
            yield from linear(f"{branch}.maps", f"{mixer}.in_proj", bias=config["use_bias"])
            yield Name(
                ours=f"{branch}.conv.weight",
                theirs=f"{mixer}.conv1d.weight",
                view=(config["conv_kernel"], features, 1),
                axes=(1, 2, 0),
            )
            if config["use_conv_bias"]:
                yield from same(f"{branch}.conv.bias", f"{mixer}.conv1d.bias")
            for own, other in {"log_rate": "A_log", "step_bias": "dt_bias", "skip": "D"}.items():
                yield from same(f"{branch}.{own}", f"{mixer}.{other}")
            yield from linear(f"{branch}.norm", f"{mixer}.norm", bias=False)
            yield from linear(f"{branch}.out", f"{mixer}.out_proj", bias=config["use_bias"])
        yield from linear("core.norm", "backbone.norm_f", bias=False)


def _number(written: Any) -> float:
    """A number as the reference writes it: JSON knows none without end."""
    return float(written["__float__"] if isinstance(written, dict) else written)
