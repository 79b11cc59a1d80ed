"""BERT ([Devlin et al. 2018](https://arxiv.org/abs/1810.04805))."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from omniformer_tokenizers import Tokenizer
from torch import nn

from omniformer.model import OmniFormer
from omniformer.pretrained.families.classifying import Classifying
from omniformer.pretrained.family import factory, layers, part, recipe_of
from omniformer.pretrained.names import Name, linear, same, stacked
from omniformer.pretrained.reference.sequences import EncoderReference
from omniformer.pretrained.tokenizers.text import text_tokenizer
from omniformer.recipe import Node

# What is read of a class's name, and the heads that stand for it.
HEADS = {
    "Model": ("pooled",),
    "ForMaskedLM": ("masked_lm",),
    "ForPreTraining": ("masked_lm", "next_sentence"),
    "ForNextSentencePrediction": ("next_sentence",),
    "ForSequenceClassification": ("classification",),
    "ForTokenClassification": ("token_classification",),
    "ForQuestionAnswering": ("span_prediction",),
}


class BERT(Classifying):
    """BERT of all sizes: finding hidden words, classes of texts and of words, answers that stand in a text, or none of
    these.

    The head of a file without a task is called `pooled`: its pooler. Tensors of heads other than that which
    `architectures` names, such as the pooler beside a masked language model, are reported as unexpected.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    architectures = tuple(f"Bert{kind}" for kind in HEADS)
    prefix = "bert."
    defaults: ClassVar[dict[str, Any]] = {
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "classifier_dropout": None,
        "tie_word_embeddings": True,
        "problem_type": None,
    }
    ignored = ("cls.predictions.decoder.*", "cls.predictions.bias", "*.embeddings.position_ids")
    # The first published files say gamma and beta; the offset of the output has two names.
    aliases: ClassVar[dict[str, str]] = {
        "LayerNorm.weight": "LayerNorm.gamma",
        "LayerNorm.bias": "LayerNorm.beta",
        "predictions.bias": "predictions.decoder.bias",
        "predictions.decoder.bias": "predictions.bias",
    }
    only: ClassVar[dict[str, Any]] = {
        "position_embedding_type": "absolute",
        "chunk_size_feed_forward": 0,
        "is_decoder": False,
        "add_cross_attention": False,
    }
    """Keys of the configuration that may be left out, and have one value that the core knows."""
    sizes: ClassVar[dict[str, str]] = {"vocab_size": "vocab_size", "max_seq_len": "max_position_embeddings"}
    spelled: ClassVar[Mapping[str, str]] = {}
    """The family's own words for keys of BERT's configuration."""
    stack = "encoder.layer"
    """Where the layers are."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        for key, value in self.only.items():
            if key in config:
                self.need(key, value)

    @property
    def kind(self) -> str:
        """What the model is for: the reference's class without the name of the family."""
        return next(kind for kind in HEADS if self.architecture.endswith(kind))

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of its heads."""
        return HEADS[self.kind]

    def resized(self, **sizes: int) -> Self:
        if "max_seq_len" in sizes:
            sizes["max_seq_len"] += self.first
        return super().resized(**sizes)

    def key(self, name: str) -> Any:
        """A value of the configuration, by BERT's name for it."""
        return self.need(self.spelled.get(name, name))

    @property
    def act(self) -> str:
        """The activation of the layers."""
        return self.activation(self.spelled.get("hidden_act", "hidden_act"))

    @property
    def recipe(self) -> Node:
        """Post-norm, learned positions, a norm after the embedder, everybody sees everybody."""
        d_model, dropout = self.key("hidden_size"), self.key("hidden_dropout_prob")
        norm = factory("omniformer.core.norm.LayerNorm", eps=self.key("layer_norm_eps"))
        core = part(
            "omniformer.core.transformer.Transformer",
            d_model=d_model,
            n_layers=self.key("num_hidden_layers"),
            n_heads=self.key("num_attention_heads"),
            attention=factory(
                "omniformer.core.attention.multihead.SelfAttention", dropout=self.key("attention_probs_dropout_prob")
            ),
            feedforward=factory(
                "omniformer.core.feedforward.FeedForward", d_ff=self.key("intermediate_size"), activation=self.act
            ),
            norm=norm,
            connection=factory("omniformer.core.connection.PostNorm"),
            final_norm=False,
            dropout=dropout,
        )
        places = {"sizes": [self.key("max_position_embeddings")], "first": self.first}
        embedder = self.table | {
            "vocab_size": self.key("vocab_size"),
            "position": factory("omniformer.core.positions.Learned", **places),
            "segments": self.key("type_vocab_size"),
            "norm": norm,
            "dropout": dropout,
        }
        heads = {name: self.head_recipe(name) for name in self.heads}
        return recipe_of(core=core, embedders={"text": embedder}, heads=heads)

    @property
    def table(self) -> Node:
        """The kind of embedder, and its widths."""
        return part("omniformer.embedders.IdEmbedder", d_model=self.key("hidden_size"))

    def head_recipe(self, head: str) -> Node:
        """How to build a head.

        Raises:
            ValueError: `problem_type` is unknown, or a head that finds answers has not two scores for each token.
        """
        width = {"d_model": self.key("hidden_size")}
        pool, dropout = factory("omniformer.heads.DenseFirstToken"), self.classifier_dropout
        if head == "masked_lm":
            sizes = {"vocab_size": self.key("vocab_size"), "tied": self.key("tie_word_embeddings"), "bias": True}
            transform = factory("omniformer.heads.Transform", activation=self.act, eps=self.key("layer_norm_eps"))
            return part("omniformer.heads.NextTokenHead", **width, **sizes, transform=transform)
        if head == "next_sentence":
            return part("omniformer.heads.ClassificationHead", **width, n_classes=2, pool=pool)
        if head == "classification":
            return self.classifier(**width, pool=pool, dropout=dropout)
        if head == "token_classification":
            return part("omniformer.heads.TokenClassificationHead", **width, n_classes=self.n_labels, dropout=dropout)
        if head == "span_prediction":
            if self.n_labels != 2:
                raise ValueError(f"config.json has {self.n_labels} labels; {self.architecture} has 2: start and end")
            return part("omniformer.heads.SpanHead", **width)
        return part("omniformer.heads.VectorHead", **width, pool=pool)

    def names(self) -> Iterator[Name]:
        """The table of names."""
        tables = {"table.weight": "word_embeddings", "position.table": "position_embeddings"}
        if self.key("type_vocab_size"):
            tables["segments.weight"] = "token_type_embeddings"
        for ours, theirs in tables.items():
            yield from same(f"embedders.text.{ours}", f"{self.prefix}embeddings.{theirs}.weight")
        yield from linear("embedders.text.norm", f"{self.prefix}embeddings.LayerNorm")
        for ours, theirs in layers(self.key("num_hidden_layers"), "core.blocks", self.prefix + self.stack):
            yield from self.layer_names(ours, theirs)
        for head in self.heads:
            yield from self.head_names(head, f"heads.{head}")

    def layer_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The part of the table that is about one layer."""
        width = self.key("hidden_size")
        attention = {f"{theirs}.attention.self.{name}": width for name in ("query", "key", "value")}
        yield from stacked(f"{ours}.attention.branch.qkv", attention)
        yield from linear(f"{ours}.attention.branch.out", f"{theirs}.attention.output.dense")
        yield from linear(f"{ours}.attention.norm", f"{theirs}.attention.output.LayerNorm")
        yield from linear(f"{ours}.feedforward.branch.up", f"{theirs}.intermediate.dense")
        yield from linear(f"{ours}.feedforward.branch.down", f"{theirs}.output.dense")
        yield from linear(f"{ours}.feedforward.norm", f"{theirs}.output.LayerNorm")

    def head_names(self, head: str, ours: str) -> Iterator[Name]:
        """The part of the table that is about one head."""
        if head in ("pooled", "next_sentence", "classification"):
            yield from linear(f"{ours}.pool.map", f"{self.prefix}pooler.dense")
        if head == "masked_lm":
            yield from linear(f"{ours}.transform.map", "cls.predictions.transform.dense")
            yield from linear(f"{ours}.transform.norm", "cls.predictions.transform.LayerNorm")
            yield from self.output_names(ours, "cls.predictions")
        elif head == "next_sentence":
            yield from linear(f"{ours}.classes", "cls.seq_relationship")
        elif head == "classification":
            yield from linear(f"{ours}.{self.last_map}", "classifier")
        elif head == "token_classification":
            yield from linear(f"{ours}.classes", "classifier")
        elif head == "span_prediction":
            yield from linear(f"{ours}.ends", "qa_outputs")

    def output_names(self, ours: str, theirs: str) -> Iterator[Name]:
        """The scores of ids."""
        if self.key("tie_word_embeddings"):
            yield from same(f"{ours}.ids.bias", f"{theirs}.bias")
        else:
            yield from linear(f"{ours}.ids", f"{theirs}.decoder")

    @property
    def classifier_dropout(self) -> float:
        """Of what classifiers read."""
        own = self.key("classifier_dropout")
        return self.key("hidden_dropout_prob") if own is None else own

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes; empty where it has none."""
        if self.kind == "ForNextSentencePrediction":
            return ("next", "not next")
        return self.label_names if self.kind == "ForTokenClassification" else super().labels

    @property
    def padding(self) -> int | None:
        """The id that positions do not count; None where they count every place."""
        return None

    @property
    def first(self) -> int:
        """The row of the position of a first token."""
        return 0 if self.padding is None else self.padding + 1

    @property
    def max_seq_len(self) -> int:
        """The places of the learned positions."""
        return self.key("max_position_embeddings") - self.first

    def tokenizers(self, folder: Path) -> dict[str, Tokenizer]:
        """Pieces of words, with the tokens that open, part and close texts."""
        return text_tokenizer(folder, self.config)

    def reference(self, model: OmniFormer) -> nn.Module:
        """`input_ids` and `token_type_ids` in; `logits`, or what this kind of model returns, out."""
        read = {}
        if self.kind == "ForPreTraining":
            read = {"masked_lm": "prediction_logits", "next_sentence": "seq_relationship_logits"}
        return EncoderReference(model, {head: read.get(head, "logits") for head in self.heads}, padding=self.padding)
