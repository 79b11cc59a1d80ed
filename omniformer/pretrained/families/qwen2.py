"""Qwen2 and Qwen2.5 ([Yang et al. 2024](https://arxiv.org/abs/2407.10671))."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from omniformer.pretrained.families.layer_types import kind, pattern_of, types_of, windowed
from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.families.mistral import window
from omniformer.pretrained.names import Name, linear, stacked
from omniformer.recipe import Node


class Qwen2(Llama):
    """Qwen2 as `Qwen2ForCausalLM` writes it: LLaMA with offsets of queries, keys and values.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
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
        return rule_of(self.config)

    @property
    def stack(self) -> Node:
        """As LLaMA's; with windows in some layers, which layers these are."""
        return super().stack | windows_of(self.config)

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        yield from stacked(f"{ours}.qkv", self.qkv(theirs))
        yield from linear(f"{ours}.out", f"{theirs}.o_proj", bias=False)


def rule_of(config: Mapping[str, Any]) -> Node:
    """The rule of the whole stack: with a window where all layers have it.

    Raises:
        ValueError: as for `windows_of`.

    Example:
        >>> rule_of({"num_hidden_layers": 4, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0})
        {'_target_': 'omniformer.core.rules.Window', 'left': 7, 'right': 0}
    """
    everywhere = set(_types(config)) == {"sliding_attention"}
    return window(config["sliding_window"] if everywhere else None)


def windows_of(config: Mapping[str, Any]) -> Node:
    """How layers differ, where some have a window and others none; nothing where all are alike.

    Files say of each layer what it reads, old ones from which layer on there is a window.

    Raises:
        ValueError: a layer reads otherwise, or there is no window for those that should have one.
    """
    types = _types(config)
    if len(set(types)) == 1:
        return {}
    near = kind(rule=windowed(config["sliding_window"]))
    return pattern_of(types, {"full_attention": kind(), "sliding_attention": near})


def _types(config: Mapping[str, Any]) -> list[str]:
    n_layers, size = config["num_hidden_layers"], config["sliding_window"] if config["use_sliding_window"] else None
    first = n_layers if size is None else config["max_window_layers"]
    types = types_of(config, ["sliding_attention" if i >= first else "full_attention" for i in range(n_layers)])
    if not {"full_attention", "sliding_attention"}.issuperset(types) or (size is None and "sliding_attention" in types):
        raise ValueError(
            f"config.json has layer_types={types} with use_sliding_window={config['use_sliding_window']} and "
            f"sliding_window={config['sliding_window']}; accepted: full_attention, and with a window sliding_attention"
        )
    return types
