"""OLMo, the first ([Groeneveld et al. 2024](https://arxiv.org/abs/2402.00838))."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name
from omniformer.recipe import Node


class OLMo(Llama):
    """LLaMA with norms that learn nothing.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: queries, keys and values are clipped, which the core does not do.
    """

    architectures = ("OlmoForCausalLM", "OlmoModel")
    defaults: ClassVar[Mapping[str, Any]] = Llama.defaults | {"vocab_size": 50304, "clip_qkv": None}

    @property
    def recipe(self) -> Node:
        """As LLaMA's, with layer norms that have neither gain nor offset."""
        self.need("clip_qkv", None)
        norm = factory("omniformer.core.norm.LayerNorm", gain=False)
        return super().recipe | {"core": super().recipe["core"] | {"norm": norm}}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        return (name for name in super().names() if "norm" not in name.ours)
