"""Qwen3, the mixtures of experts ([Yang et al. 2025](https://arxiv.org/abs/2505.09388))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.layer_types import kind, pattern_of
from omniformer.pretrained.families.mistral import window
from omniformer.pretrained.families.mixtral import expert_names
from omniformer.pretrained.families.qwen3 import Qwen3
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node


class Qwen3MoE(Qwen3):
    """Qwen3 as `Qwen3MoeForCausalLM` writes it: experts in the place of feed-forward layers, in all layers or in some.

    The loss that keeps experts busy has the weight that the file gives; what is said of Mixtral's counts here too.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("Qwen3MoeForCausalLM", "Qwen3MoeModel", "Qwen3MoeForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Qwen3.defaults | {
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 24,
        "num_key_value_heads": 4,
        "head_dim": None,
        "decoder_sparse_step": 1,
        "moe_intermediate_size": 768,
        "num_experts_per_tok": 8,
        "norm_topk_prob": False,
        "router_aux_loss_coef": 0.001,
        "mlp_only_layers": None,
    }

    @property
    def rule(self) -> Node:
        """Causal, or with one window for all layers."""
        return window(self.config["sliding_window"] if self.config["use_sliding_window"] else None)

    @property
    def stack(self) -> Node:
        """Positions; where only some layers have experts, which."""
        kinds = {"dense": kind(), "experts": kind(feedforward=self.experts)}
        pattern = pattern_of(["experts" if each else "dense" for each in self._sparse], kinds)
        return {"rotary": rotary_of(self.config, base=self.theta), **pattern}

    @property
    def experts(self) -> Node:
        """The mixture of a layer that has one."""
        config = self.config
        choice = "SoftmaxOfChosen" if config["norm_topk_prob"] else "ChosenOfSoftmax"
        return factory(
            "omniformer.core.moe.MixtureOfExperts",
            n_experts=self.n_experts,
            top_k=config["num_experts_per_tok"],
            d_ff=config["moe_intermediate_size"],
            activation=self.activation("hidden_act"),
            routing=factory(f"omniformer.core.routing.{choice}"),
            load_balance=config["router_aux_loss_coef"] * config["num_experts_per_tok"],
            router_z=0.0,
        )

    def feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The experts of a layer, or its one feed-forward layer."""
        if not self._sparse[int(theirs.rsplit(".", 1)[-1])]:
            yield from super().feedforward_names(ours, theirs)
            return
        yield from linear(f"{ours}.router", f"{theirs}.mlp.gate", bias=False)
        words = ("gate_proj", "up_proj", "down_proj")
        yield from expert_names(
            ours, f"{theirs}.mlp.experts", self.n_experts, self.config["moe_intermediate_size"], words
        )

    @property
    def n_experts(self) -> int:
        """Experts of a layer; the newest files call them local, as Mixtral's do."""
        return self.config.get("num_local_experts", self.config.get("num_experts", 128))

    @property
    def _sparse(self) -> list[bool]:
        """Whether each layer has experts."""
        config, dense = self.config, self.config["mlp_only_layers"] or ()
        layers = range(config["num_hidden_layers"])
        return [i not in dense and self.n_experts > 0 and not (i + 1) % config["decoder_sparse_step"] for i in layers]
