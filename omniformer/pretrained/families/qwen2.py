"""Qwen2 and Qwen2.5 ([Yang et al. 2024](https://arxiv.org/abs/2407.10671))."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.families.mistral import window
from omniformer.pretrained.names import Name, linear, stacked
from omniformer.recipe import Node


class Qwen2(Llama):
    """Qwen2 as `Qwen2ForCausalLM` writes it: LLaMA with offsets of queries, keys and values.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have, such as a window in some
            layers only.
    """

    architectures = ("Qwen2ForCausalLM", "Qwen2Model", "Qwen2ForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "use_sliding_window": False,
        "sliding_window": 4096,
        "max_window_layers": 28,
        "layer_types": None,
    }

    @property
    def attention(self) -> Node:
        """As LLaMA's, with offsets in front and none behind."""
        return super().attention | {"bias": True, "out_bias": False}

    @property
    def rule(self) -> Node:
        """Causal, or with one window for all layers."""
        return rule_of_layers(self.config)

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        yield from stacked(f"{ours}.qkv", self.qkv(theirs))
        yield from linear(f"{ours}.out", f"{theirs}.o_proj", bias=False)


def rule_of_layers(config: Mapping[str, Any]) -> Node:
    """The one rule of all layers; files say of each what it reads, old ones from which layer on there is a window.

    Raises:
        ValueError: layers differ.

    Example:
        >>> old = {"num_hidden_layers": 4, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}
        >>> rule_of_layers(old | {"layer_types": None})
        {'_target_': 'omniformer.core.rules.Window', 'left': 7, 'right': 0}
    """
    n_layers, size = config["num_hidden_layers"], config["sliding_window"] if config["use_sliding_window"] else None
    first = n_layers if size is None else config["max_window_layers"]
    kinds = config["layer_types"] or ["sliding_attention" if i >= first else "full_attention" for i in range(n_layers)]
    if set(kinds) == {"full_attention"}:
        return window(None)
    if set(kinds) == {"sliding_attention"} and size is not None:
        return window(size)
    raise ValueError(
        f"config.json has layer_types={kinds} with use_sliding_window={config['use_sliding_window']} and "
        f"sliding_window={config['sliding_window']}; accepted: full_attention in all layers, or sliding_attention in "
        "all of them with a window"
    )
