"""OLMo 3 ([Team OLMo 2025](https://arxiv.org/abs/2512.13961))."""

from typing import Any, ClassVar

from omniformer.pretrained.families.layer_types import kind, pattern_of, types_of, windowed
from omniformer.pretrained.families.olmo2 import OLMo2
from omniformer.pretrained.families.rotary import rotary_of_layers
from omniformer.pretrained.family import factory
from omniformer.recipe import Node

_BASES = {"sliding_attention": ("rope_theta", 500_000.0), "full_attention": ("rope_theta", 500_000.0)}


class OLMo3(OLMo2):
    """OLMo 3 as `Olmo3ForCausalLM` writes it: OLMo 2 with a window in three layers of four. Longer contexts than in
    training are read by the layers without one.

    Arguments and errors as for `Llama`.
    """

    architectures = ("Olmo3ForCausalLM", "Olmo3Model", "Olmo3ForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = OLMo2.defaults | {"sliding_window": 4096}

    @property
    def stack(self) -> Node:
        """As OLMo 2's, with kinds of layers that have positions of their own."""
        n_layers, rotary = self.config["num_hidden_layers"], rotary_of_layers(self.config, _BASES)
        default = ["sliding_attention" if (i + 1) % 4 else "full_attention" for i in range(n_layers)]
        near = kind(rule=windowed(self.config["sliding_window"]), rotary=rotary["sliding_attention"])
        far = kind(rotary=rotary["full_attention"])
        pattern = pattern_of(types_of(self.config, default), {"sliding_attention": near, "full_attention": far})
        return {"connection": factory("omniformer.core.connection.BranchNorm"), **pattern}
