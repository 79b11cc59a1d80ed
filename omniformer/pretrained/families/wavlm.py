"""WavLM ([Chen et al. 2021](https://arxiv.org/abs/2110.13900)): wav2vec 2.0 with gated relative positions."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.wav2vec2 import Wav2Vec2
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear, same
from omniformer.recipe import Node


class WavLM(Wav2Vec2):
    """WavLM of all sizes: writing down what is said (CTC), classes of sounds, or neither.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("WavLMModel", "WavLMForCTC", "WavLMForSequenceClassification")
    prefix = "wavlm."
    defaults: ClassVar[dict[str, Any]] = Wav2Vec2.defaults | {"num_buckets": 320, "max_bucket_distance": 800}
    attention = "omniformer.core.attention.gated_positions.GatedPositionAttention"

    @property
    def shared(self) -> Node:
        """The scores of distances."""
        sizes = {"n_buckets": self.config["num_buckets"], "max_distance": self.config["max_bucket_distance"]}
        return {"pair_bias": factory("omniformer.core.biases.T5Buckets", **sizes)}

    def names(self) -> Iterator[Name]:
        """The table of names: the first layer of the files holds the scores of distances."""
        yield from super().names()
        yield from same("core.pair_bias.table", f"{self.prefix}encoder.layers.0.attention.rel_attn_embed.weight")

    def layer_names(self, block: str, layer: str) -> Iterator[Name]:
        """The part of the table that is about one layer."""
        yield from super().layer_names(block, layer)
        ours, theirs = f"{block}.attention.branch", f"{layer}.attention"
        yield from linear(f"{ours}.gates", f"{theirs}.gru_rel_pos_linear")
        shape = (1, self.config["num_attention_heads"], 1, 1)
        yield from same(f"{ours}.strength", f"{theirs}.gru_rel_pos_const", shape)
