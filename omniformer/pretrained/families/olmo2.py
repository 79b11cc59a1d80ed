"""OLMo 2 ([OLMo et al. 2024](https://arxiv.org/abs/2501.00656))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node


class OLMo2(Llama):
    """OLMo 2 as `Olmo2ForCausalLM` writes it: LLaMA that normalises what its branches add, and all queries and all keys
    of a token together.

    Arguments and errors as for `Llama`.
    """

    architectures = ("Olmo2ForCausalLM", "Olmo2Model", "Olmo2ForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {"vocab_size": 50304, "rms_norm_eps": 1e-5}

    @property
    def attention(self) -> Node:
        """As LLaMA's, with norms over all heads."""
        whole = "omniformer.core.attention.whole_norm.WholeNormAttention"
        return super().attention | factory(whole, whole_norm=self.norm)

    @property
    def stack(self) -> Node:
        """As LLaMA's, with norms behind the branches."""
        return super().stack | {"connection": factory("omniformer.core.connection.BranchNorm")}

    def norm_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The norms of a block."""
        yield from linear(f"{ours}.attention.norm", f"{theirs}.post_attention_layernorm", bias=False)
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.post_feedforward_layernorm", bias=False)

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        yield from super().attention_names(ours, theirs)
        yield from linear(f"{ours}.q_norm.norm", f"{theirs}.q_norm", bias=False)
        yield from linear(f"{ours}.k_norm.norm", f"{theirs}.k_norm", bias=False)
