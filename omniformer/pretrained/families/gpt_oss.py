"""gpt-oss ([OpenAI 2025](https://arxiv.org/abs/2508.10925))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.layer_types import kind, pattern_of, types_of, windowed
from omniformer.pretrained.families.llama import Llama
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.files.checkpoint import Checkpoint
from omniformer.pretrained.files.mxfp4 import Mxfp4Checkpoint
from omniformer.pretrained.names import Name, linear, same
from omniformer.recipe import Node


class GptOss(Llama):
    """gpt-oss as `GptOssForCausalLM` writes it, or as it is published, in MXFP4, which is read into bfloat16. Every
    other layer has a window, every head a learned sink, and experts have offsets and a clamped gate.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("GptOssForCausalLM", "GptOssModel", "GptOssForSequenceClassification")
    defaults: ClassVar[dict[str, Any]] = Llama.defaults | {
        "vocab_size": 201088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "attention_bias": True,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 32.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
        "sliding_window": 128,
        "num_experts_per_tok": 4,
        "swiglu_alpha": 1.702,
        "swiglu_limit": 7.0,
        "router_aux_loss_coef": 0.001,
    }
    theta = 150_000.0
    packings: ClassVar[dict[str, type[Checkpoint]]] = {"mxfp4": Mxfp4Checkpoint}

    @property
    def attention(self) -> Node:
        """As LLaMA's, with sinks."""
        return super().attention | {"_target_": "omniformer.core.attention.sinks.SinkAttention"}

    @property
    def feedforward(self) -> Node:
        """Experts, whose activation is fixed whatever `hidden_act` says."""
        config = self.config
        gate = part("omniformer.core.moe.ClampedSwiGLU", alpha=config["swiglu_alpha"], limit=config["swiglu_limit"])
        return factory(
            "omniformer.core.moe.MixtureOfExperts",
            n_experts=self.n_experts,
            top_k=config["num_experts_per_tok"],
            d_ff=config["intermediate_size"],
            gate=gate,
            bias=True,
            load_balance=config["router_aux_loss_coef"] * config["num_experts_per_tok"],
            router_z=0.0,
        )

    @property
    def stack(self) -> Node:
        """Positions, and a window in the layers that have one."""
        n_layers = self.config["num_hidden_layers"]
        types = types_of(self.config, ["full_attention" if i % 2 else "sliding_attention" for i in range(n_layers)])
        near = kind(rule=windowed(self.config["sliding_window"]))
        pattern = pattern_of(types, {"sliding_attention": near, "full_attention": kind()})
        return {"rotary": rotary_of(self.config, base=self.theta), **pattern}

    def attention_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The tensors of an attention layer."""
        yield from super().attention_names(ours, theirs)
        yield from same(f"{ours}.sink", f"{theirs}.sinks")

    def feedforward_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The router and the experts: all of them are one tensor, `[in, out]`, gate and up by turns."""
        n, width, d_ff, theirs = (
            self.n_experts,
            self.config["hidden_size"],
            self.config["intermediate_size"],
            f"{theirs}.mlp",
        )
        yield from linear(f"{ours}.router", f"{theirs}.router")
        yield Name(
            ours=f"{ours}.gate_up",
            theirs=f"{theirs}.experts.gate_up_proj",
            view=(n, 2, d_ff, width),
            axes=(0, 3, 2, 1),
            their_rows=(0, n * width),
            shape=(n, width, 2 * d_ff),
        )
        yield Name(
            ours=f"{ours}.gate_up_bias",
            theirs=f"{theirs}.experts.gate_up_proj_bias",
            view=(n, 2, d_ff),
            axes=(0, 2, 1),
            their_rows=(0, n),
            shape=(n, 2 * d_ff),
        )
        yield Name(ours=f"{ours}.down", theirs=f"{theirs}.experts.down_proj", axes=(0, 2, 1))
        yield from same(f"{ours}.down_bias", f"{theirs}.experts.down_proj_bias")

    @property
    def n_experts(self) -> int:
        """Experts of a layer."""
        return self.config.get("num_local_experts", self.config.get("num_experts", 128))
