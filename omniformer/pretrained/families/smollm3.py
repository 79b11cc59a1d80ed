"""SmolLM3 ([Bakouch et al. 2025](https://huggingface.co/blog/smollm3))."""

from typing import Any, ClassVar

from omniformer.pretrained.families.layer_types import kind, pattern_of, types_of, windowed
from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.recipe import Node


class SmolLM3(Llama):
    """SmolLM3 as `SmolLM3ForCausalLM` writes it: LLaMA with every fourth layer without positions.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("SmolLM3ForCausalLM", "SmolLM3Model", "SmolLM3ForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
        "no_rope_layers": None,
        "no_rope_layer_interval": 4,
        "use_sliding_window": False,
        "sliding_window": None,
    }
    theta = 2_000_000.0

    @property
    def stack(self) -> Node:
        """Which layers have positions, and which a window: by default those that have no positions."""
        turned, windows = self._turned, self.config["use_sliding_window"] and self.config["sliding_window"] is not None
        default = ["sliding_attention" if windows and not each else "full_attention" for each in turned]
        types = types_of(self.config, default)
        if not windows and "sliding_attention" in types:
            raise ValueError(
                f"config.json has layer_types={types} and use_sliding_window=False; set it, and the window"
            )
        names = [f"{'' if each else 'unrotated_'}{name}" for each, name in zip(turned, types, strict=True)]
        kinds = {"full_attention": kind(), "unrotated_full_attention": kind(rotary=None)}
        if windows:
            rule = windowed(self.config["sliding_window"])
            kinds |= {"sliding_attention": kind(rule=rule), "unrotated_sliding_attention": kind(rule=rule, rotary=None)}
        rotary = {"rotary": rotary_of(self.config, base=self.theta)} if any(turned) else {}
        return {**rotary, **pattern_of(names, kinds)}

    @property
    def _turned(self) -> list[bool]:
        """Whether each layer has rotary positions, which the key calls "no rope" all the same."""
        n_layers, every = self.config["num_hidden_layers"], self.config["no_rope_layer_interval"]
        said = self.config["no_rope_layers"] or [(i + 1) % every for i in range(n_layers)]
        if len(said) < n_layers:
            raise ValueError(f"config.json has {len(said)} no_rope_layers for num_hidden_layers={n_layers}; give all")
        return [bool(each) for each in said[:n_layers]]
