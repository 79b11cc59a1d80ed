"""GPT-2 ([Radford et al. 2019](https://openai.com/research/better-language-models))."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.family import Family, factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, transposed
from omniformer.pretrained.reference.sequences import CausalReference
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node


class GPT2(Family):
    """GPT-2 of all sizes, as `GPT2LMHeadModel` writes them.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = ("GPT2LMHeadModel", "GPT2Model")
    prefix = "transformer."
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": None,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    }
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size", "max_seq_len": "n_positions"}
    ignored = ("lm_head.weight", "*.attn.bias", "*.attn.masked_bias")

    @property
    def recipe(self) -> Node:
        """Pre-norm, learned positions, output tied to the table."""
        config = self.config
        self.need("add_cross_attention", False)
        sizes = {"d_model": config["n_embd"], "vocab_size": config["vocab_size"]}
        core = part(
            "omniformer.core.transformer.Transformer",
            d_model=config["n_embd"],
            n_layers=config["n_layer"],
            n_heads=config["n_head"],
            attention=self.attention(0),
            feedforward=factory(
                "omniformer.core.feedforward.FeedForward",
                d_ff=config["n_inner"] or 4 * config["n_embd"],
                activation=self.activation("activation_function"),
            ),
            norm=factory("omniformer.core.norm.LayerNorm", eps=config["layer_norm_epsilon"]),
            dropout=config["resid_pdrop"],
            **self.kinds,
        )
        embedder = part(
            "omniformer.embedders.IdEmbedder",
            **sizes,
            position=factory("omniformer.core.positions.Learned", sizes=[config["n_positions"]]),
            dropout=config["embd_pdrop"],
        )
        head = part("omniformer.heads.NextTokenHead", **sizes, tied=config["tie_word_embeddings"])
        return recipe_of(
            core=core,
            embedders={"text": embedder},
            heads={"causal_lm": head},
            rules={"causal_lm": part("omniformer.core.rules.Causal")},
        )

    def attention(self, layer: int) -> Node:
        """The attention of a layer, whose scores may be divided by the number of the layer, from 1 on."""
        scale = (self.config["n_embd"] // self.config["n_head"]) ** -0.5 if self.config["scale_attn_weights"] else 1.0
        own = {"scale": scale / (layer + 1)} if layer or not self.config["scale_attn_weights"] else {}
        attention = "omniformer.core.attention.multihead.SelfAttention"
        return factory(attention, dropout=self.config["attn_pdrop"], **own)

    @property
    def kinds(self) -> Node:
        """What the layers have of their own; nothing where they are alike."""
        if not self.config["scale_attn_by_inverse_layer_idx"]:
            return {}
        kind = "omniformer.core.layer_kinds.LayerKind"
        each = {f"layer {i}": part(kind, attention=self.attention(i)) for i in range(self.config["n_layer"])}
        return {"pattern": list(each), "kinds": each}

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from same("embedders.text.table.weight", "transformer.wte.weight")
        yield from same("embedders.text.position.table", "transformer.wpe.weight")
        for ours, theirs in layers(self.config["n_layer"], "core.blocks", "transformer.h"):
            yield from linear(f"{ours}.attention.norm", f"{theirs}.ln_1")
            yield from transposed(f"{ours}.attention.branch.qkv", f"{theirs}.attn.c_attn")
            yield from transposed(f"{ours}.attention.branch.out", f"{theirs}.attn.c_proj")
            yield from linear(f"{ours}.feedforward.norm", f"{theirs}.ln_2")
            yield from transposed(f"{ours}.feedforward.branch.up", f"{theirs}.mlp.c_fc")
            yield from transposed(f"{ours}.feedforward.branch.down", f"{theirs}.mlp.c_proj")
        yield from linear("core.norm", "transformer.ln_f")
        if not self.config["tie_word_embeddings"]:
            yield from same("heads.causal_lm.ids.weight", "lm_head.weight")

    @property
    def max_seq_len(self) -> int:
        """The places of the learned positions."""
        return self.config["n_positions"]

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Byte-level byte pairs."""
        return text_tokenizer(folder, self.config)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids` in, `logits` out."""
        return CausalReference(model, "causal_lm")
