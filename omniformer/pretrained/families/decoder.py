"""What language models have in common that are no relatives of LLaMA: a table, a stack, a head."""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.scored import Scored
from omniformer.pretrained.family import factory, part, recipe_of
from omniformer.pretrained.names import Name, linear, same
from omniformer.pretrained.reference.sequences import CausalReference
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node


class Decoder(Scored):
    """A language model with its head, a classifier on top of one, or the part below the head, whose rule stays causal.

    A subclass says how its stack is built (`core`, `embedding`) and what its tensors are called (`table`,
    `names_below`).

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    ignored = ("lm_head.weight", "*.rotary_emb.inv_freq")
    table: ClassVar[str]
    """What the table of ids is called in the files."""
    output: ClassVar[tuple[str, ...]] = ("lm_head",)
    """What the map to scores is called there: as it is written, then as older files have it."""
    output_bias: ClassVar[bool] = False
    """Whether each id has an offset."""

    @property
    @abstractmethod
    def core(self) -> Node:
        """The stack."""

    @property
    def embedding(self) -> Node:
        """What the embedder is told beside its sizes."""
        return {}

    @abstractmethod
    def names_below(self) -> Iterator[Name]:
        """The part of the table of names below the head, without the table of ids."""

    @property
    def recipe(self) -> Node:
        """A table of ids, the stack, and scores of the next id or of classes."""
        sizes = {"d_model": self.d_model, "vocab_size": self.config["vocab_size"]}
        below = self.architecture.endswith("Model") and "LMHead" not in self.architecture
        name = "classification" if self.classifies else "features" if below else "causal_lm"
        heads = {
            "features": lambda: part("omniformer.heads.FeatureHead"),
            "classification": lambda: self.classifier(self.d_model),
            "causal_lm": lambda: part("omniformer.heads.NextTokenHead", **sizes, tied=self.tied, bias=self.output_bias),
        }
        return recipe_of(
            core=self.core,
            embedders={"text": part("omniformer.embedders.IdEmbedder", **sizes, **self.embedding)},
            heads={name: heads[name]()},
            rules={name: part("omniformer.core.rules.Causal")},
        )

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from same("embedders.text.table.weight", f"{self.table}.weight")
        yield from self.names_below()
        if self.classifies:
            yield from self.classifier_names()
        if self.head != "causal_lm":
            return
        name, *older = self.output
        kinds = ["weight"] * (not self.tied) + ["bias"] * self.output_bias
        for kind in kinds:
            others = tuple(f"{each}.{kind}" for each in older)
            yield Name(ours=f"heads.causal_lm.ids.{kind}", theirs=f"{name}.{kind}", instead=others)

    @property
    def tied(self) -> bool:
        """Whether the scores have the table of ids."""
        return self.config["tie_word_embeddings"]

    @property
    def d_model(self) -> int:
        """Width of the stream."""
        return self.config["hidden_size"]

    @property
    def max_seq_len(self) -> int | None:
        """The longest text of the training."""
        return self.config["max_position_embeddings"]

    def layer_norm(self, eps: float) -> Node:
        """The norm of the stream."""
        return factory("omniformer.core.norm.LayerNorm", eps=eps)

    def feedforward(self, d_ff: int, key: str, *, bias: bool = True, **options: Any) -> Node:
        """A feed-forward layer without a gate.

        Args:
            d_ff: width in between.
            key: of the activation in the configuration.
            bias: whether its maps have offsets.
            **options: others of `FeedForward`.
        """
        kind = "omniformer.core.feedforward.FeedForward"
        return factory(kind, d_ff=d_ff, activation=self.activation(key), bias=bias, **options)

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Byte pairs."""
        return text_tokenizer(folder, self.config)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids` in, `logits` out."""
        return CausalReference(model, self.head)


def megatron_names(ours: str, theirs: str, *, bias: bool = True) -> Iterator[Name]:
    """The feed-forward layer as Megatron calls its maps."""
    yield from linear(f"{ours}.up", f"{theirs}.dense_h_to_4h", bias=bias)
    yield from linear(f"{ours}.down", f"{theirs}.dense_4h_to_h", bias=bias)
