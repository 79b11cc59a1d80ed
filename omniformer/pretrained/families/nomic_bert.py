"""NomicBERT ([Nussbaum et al. 2024](https://arxiv.org/abs/2402.01613)), which nomic-embed-text was made of."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from omniformer.pretrained.families.bert import BERT
from omniformer.pretrained.families.rotary import rotary_of
from omniformer.pretrained.family import factory, layers
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.recipe import Node

# The words of files that were published before the reference knew the family, for its own, which count where both are
# there: nomic-embed-text says n_positions=8192 beside the max_position_embeddings=2048 of its training.
_OLDER = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position_embeddings",
    "layer_norm_epsilon": "layer_norm_eps",
    "resid_pdrop": "hidden_dropout_prob",
    "attn_pdrop": "attention_probs_dropout_prob",
    "rotary_emb_base": "rope_theta",
}


class NomicBERT(BERT):
    """BERT with rotary positions and gated feed-forward layers, without offsets in its blocks, and with segments.

    Arguments and errors as for `BERT`.
    """

    architectures = tuple(
        f"NomicBert{kind}" for kind in ("Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")
    )
    prefix = "nomic_bert."
    defaults: ClassVar[dict[str, Any]] = BERT.defaults | {
        "vocab_size": 30528,
        "hidden_act": "silu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 2048,
    }
    only: ClassVar[dict[str, Any]] = {
        "activation_function": "swiglu",
        "prenorm": False,
        "parallel_block": False,
        "causal": False,
        "use_rms_norm": False,
        "qkv_proj_bias": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
    }
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size"}

    def __init__(self, config: Mapping[str, Any]) -> None:
        older = {_OLDER[key]: value for key, value in config.items() if key in _OLDER}
        super().__init__(older | {key: value for key, value in config.items() if key not in _OLDER})

    def in_memory(self, module: str) -> str:
        """Refuses: what is one map in the files is several there.

        Raises:
            ValueError: as said.
        """
        raise ValueError(
            f"PEFT knows the maps of {self.architecture} by other names than its files; keep its adapter with "
            "omniformer.adapters.save_adapter"
        )

    @property
    def heads(self) -> tuple[str, ...]:
        """No pooler where there is no task."""
        return () if self.kind == "Model" else super().heads

    @property
    def recipe(self) -> Node:
        """As BERT's, with what differs in a block, and without positions of the embedder."""
        recipe = super().recipe
        core, embedder = recipe["core"], recipe["embedders"]["text"]["node"]
        del embedder["position"]
        core["attention"]["bias"] = False
        core["rotary"] = rotary_of(self.config, base=1000.0)
        core["feedforward"] = factory(
            "omniformer.core.feedforward.GatedFeedForward", d_ff=self.key("intermediate_size"), activation=self.act
        )
        return recipe

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from same("embedders.text.table.weight", f"{self.prefix}embeddings.word_embeddings.weight")
        if self.key("type_vocab_size"):
            yield from same("embedders.text.segments.weight", f"{self.prefix}embeddings.token_type_embeddings.weight")
        yield from linear("embedders.text.norm", f"{self.prefix}emb_ln")
        for ours, theirs in layers(self.key("num_hidden_layers"), "core.blocks", f"{self.prefix}encoder.layers"):
            yield from self.layer_names(ours, theirs)
        for head in self.heads:
            yield from self.head_names(head, f"heads.{head}")

    def layer_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The part of the table that is about one layer."""
        d_ff = self.key("intermediate_size")
        gate, up = f"{theirs}.mlp.fc12", f"{theirs}.mlp.fc11"
        yield from linear(f"{ours}.attention.branch.qkv", f"{theirs}.attn.Wqkv", bias=False)
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attn.out_proj", bias=False)
        yield from linear(f"{ours}.attention.norm", f"{theirs}.norm1")
        yield from stacked(f"{ours}.feedforward.branch.gate_up", {gate: d_ff, up: d_ff}, bias=False)
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.mlp.fc2", bias=False)
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.norm2")

    def head_names(self, head: str, ours: str) -> Iterator[Name]:
        """The part of the table that is about one head."""
        for name in super().head_names(head, ours):
            # Only this family's norm of hidden words is spelled in small letters.
            yield replace(name, theirs=name.theirs.replace("transform.LayerNorm", "transform.layer_norm"))
