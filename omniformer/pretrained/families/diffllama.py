"""DiffLlama: LLaMA with differential attention ([Ye et al. 2024](https://arxiv.org/abs/2410.05258))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name
from omniformer.recipe import Node


class DiffLlama(Llama):
    """DiffLlama as `DiffLlamaForCausalLM` writes it.

    Arguments and errors as for `Llama`.
    """

    architectures = ("DiffLlamaForCausalLM", "DiffLlamaModel", "DiffLlamaForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "rms_norm_eps": 1e-5,
    }

    @property
    def attention(self) -> Node:
        """Maps that are taken from each other; the reference has no dropout of weights either."""
        self.need("attention_dropout", 0.0)
        kind = "omniformer.core.attention.differential.DifferentialAttention"
        return super().attention | factory(kind, eps=self.config["rms_norm_eps"])

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        yield from super().attention_names(ours, theirs)
        for i, name in enumerate(("q1", "k1", "q2", "k2")):
            yield Name(ours=f"{ours}.vectors", theirs=f"{theirs}.lambda_{name}", index=i)
