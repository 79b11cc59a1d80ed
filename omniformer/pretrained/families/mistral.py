"""Mistral ([Jiang et al. 2023](https://arxiv.org/abs/2310.06825))."""

from typing import Any, ClassVar

from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.family import part
from omniformer.recipe import Node


class Mistral(Llama):
    """Mistral as `MistralForCausalLM` writes it: LLaMA with fewer key heads than query heads and, in the first version,
    a sliding window.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("MistralForCausalLM", "MistralModel", "MistralForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {
        "intermediate_size": 14336,
        "num_key_value_heads": 8,
        "max_position_embeddings": 4096 * 32,
        "sliding_window": 4096,
    }

    @property
    def rule(self) -> Node:
        """A token and the `sliding_window - 1` before it, or all before it where there is no window."""
        return window(self.config["sliding_window"])


def window(size: int | None) -> Node:
    """The rule of a sliding window that counts the token itself; causal without one.

    Example:
        >>> window(4)
        {'_target_': 'omniformer.core.rules.Window', 'left': 3, 'right': 0}
    """
    if size is None:
        return part("omniformer.core.rules.Causal")
    if size < 1:
        raise ValueError(f"config.json has sliding_window={size}; accepted: 1 and above, or null for no window")
    return part("omniformer.core.rules.Window", left=size - 1, right=0)
