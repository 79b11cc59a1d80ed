"""Qwen3, the dense models ([Yang et al. 2025](https://arxiv.org/abs/2505.09388))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.families.qwen2 import Qwen2, rule_of, windows_of
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node


class Qwen3(Llama):
    """Qwen3 as `Qwen3ForCausalLM` writes it: queries and keys of each head are normalised, and no offsets.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Qwen3ForCausalLM", "Qwen3Model", "Qwen3ForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Qwen2.defaults | {"head_dim": 128}

    @property
    def attention(self) -> Node:
        """As LLaMA's, with norms of queries and keys."""
        norm = factory("omniformer.core.norm.RMSNorm", eps=self.config["rms_norm_eps"])
        return super().attention | {"qk_norm": norm}

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
        yield from super().attention_names(ours, theirs)
        yield from linear(f"{ours}.q_norm", f"{theirs}.q_norm", bias=False)
        yield from linear(f"{ours}.k_norm", f"{theirs}.k_norm", bias=False)
