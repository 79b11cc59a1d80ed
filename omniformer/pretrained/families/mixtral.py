"""Mixtral ([Jiang et al. 2024](https://arxiv.org/abs/2401.04088))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.mistral import Mistral
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node


class Mixtral(Mistral):
    """Mixtral as `MixtralForCausalLM` writes it: Mistral with a mixture of experts in place of every feed-forward
    layer.

    The loss that keeps experts busy has the weight that the file gives. The reference adds up a token's choices where
    we take their share, and pools all layers before it multiplies where we take the mean of the layers' losses: the
    weight here is `num_experts_per_tok` times as large, and the losses agree where layers are equally uneven.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("MixtralForCausalLM", "MixtralModel", "MixtralForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Mistral.defaults | {
        "rms_norm_eps": 1e-5,
        "sliding_window": None,
        "num_experts_per_tok": 2,
        "num_local_experts": 8,
        "router_aux_loss_coef": 0.001,
        "router_jitter_noise": 0.0,
    }
    theta = 1_000_000.0

    @property
    def feedforward(self) -> Node:
        """Experts, each a gated feed-forward layer."""
        self.need("router_jitter_noise", 0.0)
        config = self.config
        return factory(
            "omniformer.core.moe.MixtureOfExperts",
            n_experts=config["num_local_experts"],
            top_k=config["num_experts_per_tok"],
            d_ff=config["intermediate_size"],
            activation=self.activation("hidden_act"),
            load_balance=config["router_aux_loss_coef"] * config["num_experts_per_tok"],
            router_z=0.0,
        )

    def feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The router, and of every expert gate, up and down, which the files call w1, w3 and w2."""
        yield from linear(f"{ours}.router", f"{theirs}.block_sparse_moe.gate", bias=False)
        sizes = self.config["num_local_experts"], self.config["intermediate_size"]
        yield from expert_names(ours, f"{theirs}.block_sparse_moe.experts", *sizes, ("w1", "w3", "w2"))


def expert_names(ours: str, theirs: str, n_experts: int, d_ff: int, words: tuple[str, str, str]) -> Iterator[Name]:
    """The tensors of experts that files name one by one, and our one tensor of all of them.

    Args:
        ours: the mixture.
        theirs: the experts.
        n_experts: how many.
        d_ff: width inside an expert.
        words: what files call gate, up and down.
    """
    gate, up, down = words
    for i in range(n_experts):
        yield Name(ours=f"{ours}.gate_up", theirs=f"{theirs}.{i}.{gate}.weight", index=i, rows=(0, d_ff))
        yield Name(ours=f"{ours}.gate_up", theirs=f"{theirs}.{i}.{up}.weight", index=i, rows=(d_ff, 2 * d_ff))
        yield Name(ours=f"{ours}.down", theirs=f"{theirs}.{i}.{down}.weight", index=i)
