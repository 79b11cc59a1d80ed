"""Granite 3, the dense models ([IBM 2024](https://github.com/ibm-granite/granite-3.0-language-models))."""

from typing import Any, ClassVar

from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.family import factory
from omniformer.recipe import Node


class Granite(Llama):
    """Granite as `GraniteForCausalLM` writes it: LLaMA with four fixed factors: of the table's vectors, of the scores
    of attention, of what each branch adds, and of the logits.

    Arguments and errors as for `Llama`.
    """

    architectures = ("GraniteForCausalLM", "GraniteModel")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {
        "embedding_multiplier": 1.0,
        "logits_scaling": 1.0,
        "residual_multiplier": 1.0,
        "attention_multiplier": 1.0,
    }

    @property
    def recipe(self) -> Node:
        """As LLaMA's, with a factor of the table's vectors."""
        recipe = super().recipe
        recipe["embedders"]["text"]["node"]["scale"] = self.config["embedding_multiplier"]
        return recipe

    @property
    def attention(self) -> Node:
        """As LLaMA's, with a factor in the place of the root of the width."""
        return super().attention | {"scale": self.config["attention_multiplier"]}

    @property
    def stack(self) -> Node:
        """As LLaMA's, with a factor of what is added."""
        scale = self.config["residual_multiplier"]
        return super().stack | {"connection": factory("omniformer.core.connection.ScaledBranch", scale=scale)}

    @property
    def scores(self) -> Node:
        """A factor of the logits."""
        return {"scale": 1 / self.config["logits_scaling"]}
