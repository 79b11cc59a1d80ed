"""Gemma 2 ([Gemma Team 2024](https://arxiv.org/abs/2408.00118))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.layer_types import kind, pattern_of, types_of, windowed
from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node


class Gemma2(Llama):
    """Gemma 2 as `Gemma2ForCausalLM` writes it: a window in every other layer, norms before and behind every branch,
    soft caps of attention's scores and of the logits.

    In bfloat16 the reference rounds the factor of the embeddings, `sqrt(hidden_size)`, which is exact here.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Gemma2ForCausalLM", "Gemma2Model", "Gemma2ForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
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
    def attention(self) -> Node:
        """As LLaMA's, with a scale of its own and a soft cap."""
        scale = self.config["query_pre_attn_scalar"] ** -0.5
        return super().attention | {"scale": scale, "score": _cap(self.config["attn_logit_softcapping"])}

    @property
    def feedforward(self) -> Node:
        """As LLaMA's; the activation has another key."""
        return super().feedforward | {"activation": self.activation("hidden_activation")}

    @property
    def norm(self) -> Node:
        """Gains are one more than what the files hold."""
        return factory("omniformer.core.norm.ZeroCenteredRMSNorm", eps=self.config["rms_norm_eps"])

    @property
    def stack(self) -> Node:
        """Norms on both sides of a branch; windows in the layers that have them."""
        return {"connection": factory("omniformer.core.connection.SandwichNorm"), **self.layers}

    @property
    def layers(self) -> Node:
        """Positions, and how layers differ."""
        n_layers = self.config["num_hidden_layers"]
        types = types_of(self.config, ["full_attention" if i % 2 else "sliding_attention" for i in range(n_layers)])
        near = kind(rule=windowed(self.config["sliding_window"]))
        pattern = pattern_of(types, {"sliding_attention": near, "full_attention": kind()})
        return {"rotary": rotary_of(self.config, base=self.theta), **pattern}

    @property
    def scores(self) -> Node:
        """A soft cap of the logits."""
        return {"score": _cap(self.config["final_logit_softcapping"])}

    def norm_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The norms of a block."""
        yield from linear(f"{ours}.attention.norm", f"{theirs}.input_layernorm", bias=False)
        yield from linear(f"{ours}.attention.norm_out", f"{theirs}.post_attention_layernorm", bias=False)
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.pre_feedforward_layernorm", bias=False)
        yield from linear(f"{ours}.feedforward.norm_out", f"{theirs}.post_feedforward_layernorm", bias=False)


def _cap(size: float | None) -> Node | None:
    return None if size is None else part("omniformer.core.scores.SoftCap", cap=size)
