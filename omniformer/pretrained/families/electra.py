"""ELECTRA ([Clark et al. 2020](https://arxiv.org/abs/2003.10555))."""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.bert import BERT
from omniformer.pretrained.family import factory, part
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node

_KINDS = ("Model", "ForPreTraining", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")


class ELECTRA(BERT):
    """BERT that tells replaced words (`ElectraForPreTraining`, the discriminator), finds hidden ones (`ForMaskedLM`,
    the generator), or is trained further, without a pooler and with a table that may be narrower than the layers.

    Arguments and errors as for `BERT`.
    """

    architectures = tuple(f"Electra{kind}" for kind in (*_KINDS, "ForQuestionAnswering"))
    prefix = "electra."
    defaults: ClassVar[dict[str, Any]] = BERT.defaults | {
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    }
    ignored = ("generator_lm_head.weight", "*.embeddings.position_ids")

    @property
    def heads(self) -> tuple[str, ...]:
        """No pooler where there is no task, and no next sentences."""
        return {"Model": (), "ForPreTraining": ("replaced",)}.get(self.kind, super().heads)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes; empty where it has none."""
        return ("original", "replaced") if self.kind == "ForPreTraining" else super().labels

    @property
    def narrow(self) -> bool:
        """Whether the table is of another width than the layers."""
        return self.config["embedding_size"] != self.config["hidden_size"]

    @property
    def table(self) -> Node:
        """The kind of embedder, and its widths."""
        return narrow_table(self) if self.narrow else super().table

    def head_recipe(self, head: str) -> Node:
        """How to build a head: that of the generator is as wide as the table, a classifier has a map of the first token
        of its own.
        """
        if head == "replaced":
            return part("omniformer.heads.ReplacedHead", d_model=self.config["hidden_size"], activation=self.act)
        recipe = super().head_recipe(head)
        if head == "masked_lm":
            return narrow_scores(self, recipe, activation="gelu")
        if head == "classification":
            pool = factory("omniformer.heads.DenseFirstToken", activation="gelu", dropout=self.classifier_dropout)
            return recipe | {"pool": pool}
        return recipe

    def names(self) -> Iterator[Name]:
        """The table of names."""
        yield from super().names()
        if self.narrow:
            yield from linear("embedders.text.map", "electra.embeddings_project")

    def head_names(self, head: str, ours: str) -> Iterator[Name]:
        """The part of the table that is about one head."""
        if head == "replaced":
            yield from linear(f"{ours}.map", "discriminator_predictions.dense")
            yield from linear(f"{ours}.score", "discriminator_predictions.dense_prediction")
        elif head == "masked_lm":
            yield from linear(f"{ours}.transform.map", "generator_predictions.dense")
            yield from linear(f"{ours}.transform.norm", "generator_predictions.LayerNorm")
            kinds = ["bias"] if self.config["tie_word_embeddings"] else ["weight", "bias"]
            for kind in kinds:
                yield Name(ours=f"{ours}.ids.{kind}", theirs=f"generator_lm_head.{kind}")
        elif head == "classification":
            yield from linear(f"{ours}.pool.map", "classifier.dense")
            yield from linear(f"{ours}.{self.last_map}", "classifier.out_proj")
        else:
            yield from super().head_names(head, ours)


def narrow_table(family: BERT) -> Node:
    """An embedder whose table is narrower than the layers."""
    sizes = {"d_model": family.config["hidden_size"], "d_table": family.config["embedding_size"]}
    return part("omniformer.embedders.NarrowIdEmbedder", **sizes)


def narrow_scores(family: BERT, recipe: Node, *, activation: str) -> Node:
    """The head for hidden words of a model whose table may be narrower than its layers."""
    width = {"d_in": family.config["hidden_size"], "eps": family.config["layer_norm_eps"]}
    transform = factory("omniformer.heads.Transform", activation=activation, **width)
    return recipe | {"d_model": family.config["embedding_size"], "transform": transform}
