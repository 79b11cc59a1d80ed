"""Gemma ([Gemma Team 2024](https://arxiv.org/abs/2403.08295))."""

from typing import Any, ClassVar

from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.family import factory
from omniformer.recipe import Node


class Gemma(Llama):
    """The first Gemma as `GemmaForCausalLM` writes it: LLaMA with longer embeddings, gains that are one more than what
    the files hold, and a tanh for GELU, whatever old files call it.

    In bfloat16 the reference rounds the factor of the embeddings, `sqrt(hidden_size)`, which is exact here.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("GemmaForCausalLM", "GemmaModel", "GemmaForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "use_bidirectional_attention": None,
    }

    @property
    def recipe(self) -> Node:
        """As LLaMA's, with embeddings made longer."""
        self.need("use_bidirectional_attention", None, False)
        recipe = super().recipe
        recipe["embedders"]["text"]["node"]["scale"] = self.config["hidden_size"] ** 0.5
        return recipe

    @property
    def feedforward(self) -> Node:
        """As LLaMA's."""
        plain = super().feedforward
        return plain | {"activation": "gelu_tanh"} if self.config["hidden_act"] == "gelu" else plain

    @property
    def norm(self) -> Node:
        """Gains are one more than what the files hold."""
        return factory("omniformer.core.norm.ZeroCenteredRMSNorm", eps=self.config["rms_norm_eps"])
