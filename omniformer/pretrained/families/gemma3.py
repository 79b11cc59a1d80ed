"""Gemma 3, the models of text ([Gemma Team 2025](https://arxiv.org/abs/2503.19786))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.gemma2 import Gemma2
from omniformer.pretrained.families.layer_types import kind, pattern_of, types_of, windowed
from omniformer.pretrained.families.rotary import rotary_of_layers
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node

_BASES = {"sliding_attention": ("rope_local_base_freq", 10_000.0), "full_attention": ("rope_theta", 1_000_000.0)}


class Gemma3(Gemma2):
    """Gemma 3 as `Gemma3ForCausalLM` writes it: five layers with a window to one without, each kind with rotary
    positions of its own; norms of queries and keys in the place of soft caps.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Gemma3ForCausalLM", "Gemma3TextModel", "Gemma3TextForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Gemma2.defaults | {
        "vocab_size": 262_208,
        "max_position_embeddings": 131_072,
        "final_logit_softcapping": None,
        "attn_logit_softcapping": None,
        "sliding_window_pattern": 6,
        "use_bidirectional_attention": False,
    }

    @property
    def attention(self) -> Node:
        """As Gemma 2's, with norms of queries and keys; a soft cap, which no file asks for, is refused."""
        self.need("attn_logit_softcapping", None)
        return super().attention | {"qk_norm": self.norm}

    @property
    def layers(self) -> Node:
        """A window and short wavelengths in most layers, neither in the others."""
        period, n_layers = self.config["sliding_window_pattern"], self.config["num_hidden_layers"]
        default = ["sliding_attention" if (i + 1) % period else "full_attention" for i in range(n_layers)]
        rotary = rotary_of_layers(self.config, _BASES)
        near = kind(rule=windowed(self.config["sliding_window"]), rotary=rotary["sliding_attention"])
        far = kind(rotary=rotary["full_attention"])
        return pattern_of(types_of(self.config, default), {"sliding_attention": near, "full_attention": far})

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        yield from super().attention_names(ours, theirs)
        yield from linear(f"{ours}.q_norm", f"{theirs}.q_norm", bias=False)
        yield from linear(f"{ours}.k_norm", f"{theirs}.k_norm", bias=False)
