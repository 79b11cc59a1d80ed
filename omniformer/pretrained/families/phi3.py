"""Phi-3 ([Abdin et al. 2024](https://arxiv.org/abs/2404.14219)) and Phi-4
([Abdin et al. 2024b](https://arxiv.org/abs/2412.08905)), the models of text alone.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.mistral import Mistral
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node


class Phi3(Mistral):
    """Phi-3, Phi-3.5 and Phi-4 as `Phi3ForCausalLM` writes them: Mistral whose maps are stacked in the files as they
    are here, and that may turn a part of each head.

    Arguments and errors as for `Mistral`.
    """

    architectures = ("Phi3ForCausalLM", "Phi3Model", "Phi3ForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Mistral.defaults | {
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_key_value_heads": None,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "sliding_window": None,
        "resid_pdrop": 0.0,
    }

    @property
    def stack(self) -> Node:
        """As LLaMA's, with dropout, and positions that may turn a part of each head."""
        rotary = rotary_of(self.config, base=self.theta, head_dim=self.head_dim)
        return {"rotary": rotary, "dropout": self.config["resid_pdrop"]}

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        yield from linear(f"{ours}.qkv", f"{theirs}.qkv_proj", bias=False)
        yield from linear(f"{ours}.out", f"{theirs}.o_proj", bias=False)

    def feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of a feed-forward layer; theirs is the block."""
        yield from linear(f"{ours}.gate_up", f"{theirs}.mlp.gate_up_proj", bias=False)
        yield from linear(f"{ours}.down", f"{theirs}.mlp.down_proj", bias=False)
