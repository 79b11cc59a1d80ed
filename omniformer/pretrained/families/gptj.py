"""GPT-J ([Wang and Komatsuzaki 2021](https://github.com/kingoflolz/mesh-transformer-jax))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.decoder import Decoder
from omniformer.pretrained.family import factory, layers, part
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node


class GPTJ(Decoder):
    """GPT-J as `GPTJForCausalLM` writes it.

    The files turn each feature of a head together with its neighbour, we with the one half of the turned features
    further: queries and keys stand in another order here, which changes no score.

    Arguments and errors as for `Decoder`.
    """

    architectures = ("GPTJForCausalLM", "GPTJModel", "GPTJForSequenceClassification")
    prefix = "transformer."
    table = "transformer.wte"
    output_bias = True
    ignored = ("lm_head.weight", "*.attn.bias", "*.attn.masked_bias", "*.embed_positions")
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 50400,
        "n_positions": 2048,
        "n_embd": 4096,
        "n_layer": 28,
        "n_head": 16,
        "rotary_dim": 64,
        "n_inner": None,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": False,
    }

    @property
    def core(self) -> Node:
        """Attention and feed-forward side by side behind one norm; a part of each head is turned."""
        config = self.config
        return part(
            "omniformer.core.transformer.Transformer",
            d_model=self.d_model,
            n_layers=config["n_layer"],
            n_heads=config["n_head"],
            attention=factory(
                "omniformer.core.attention.multihead.SelfAttention", bias=False, dropout=config["attn_pdrop"]
            ),
            feedforward=self.feedforward(config["n_inner"] or 4 * self.d_model, "activation_function"),
            norm=self.layer_norm(config["layer_norm_epsilon"]),
            block=factory("omniformer.core.block.ParallelBlock"),
            rotary=factory("omniformer.core.rotary.Rotary", rotated=self.rotated),
            dropout=config["resid_pdrop"],
        )

    @property
    def embedding(self) -> Node:
        """A dropout of its own."""
        return {"dropout": self.config["embd_pdrop"]}

    @property
    def d_model(self) -> int:
        """Width of the stream."""
        return self.config["n_embd"]

    @property
    def head_dim(self) -> int:
        """Features of a head."""
        return self.d_model // self.config["n_head"]

    @property
    def rotated(self) -> int:
        """Features of a head that are turned."""
        return self.config["rotary_dim"] or self.head_dim

    @property
    def max_seq_len(self) -> int:
        """The longest text of the training."""
        return self.config["n_positions"]

    def names_below(self) -> Iterator[Name]:
        """The part of the table of names below the head."""
        order = from_neighbours(self.config["n_head"], self.head_dim, self.rotated)
        n = self.d_model
        for ours, theirs in layers(self.config["n_layer"], "core.blocks", "transformer.h"):
            both = f"{ours}.both.branch"
            yield from linear(f"{ours}.both.norm", f"{theirs}.ln_1")
            for i, (name, rows) in enumerate((("q", order), ("k", order), ("v", None))):
                place = {"rows": (i * n, (i + 1) * n), "order": rows}
                yield Name(ours=f"{both}.attention.qkv.weight", theirs=f"{theirs}.attn.{name}_proj.weight", **place)
            yield from linear(f"{both}.attention.out", f"{theirs}.attn.out_proj", bias=False)
            yield from linear(f"{both}.feedforward.up", f"{theirs}.mlp.fc_in")
            yield from linear(f"{both}.feedforward.down", f"{theirs}.mlp.fc_out")
        yield from linear("core.norm", "transformer.ln_f")


def from_neighbours(n_heads: int, head_dim: int, rotated: int) -> tuple[int, ...]:
    """For each feature of files that turn neighbours together, which of ours it is: ours are turned with those half of
    the turned features further.

    Example:
        >>> from_neighbours(1, 6, 4)
        (0, 2, 1, 3, 4, 5)
    """
    head = [i // 2 + i % 2 * (rotated // 2) if i < rotated else i for i in range(head_dim)]
    return tuple(first + i for first in range(0, n_heads * head_dim, head_dim) for i in head)
