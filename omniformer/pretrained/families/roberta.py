"""RoBERTa ([Liu et al. 2019](https://arxiv.org/abs/1907.11692)), and XLM-R, which is RoBERTa in a hundred languages
([Conneau et al. 2019](https://arxiv.org/abs/1911.02116)).
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from omniformer.pretrained.families.bert import BERT, HEADS
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, linear
from omniformer.recipe import Node

_KINDS = [kind for kind, heads in HEADS.items() if "next_sentence" not in heads]


class RoBERTa(BERT):
    """BERT whose positions begin behind that of padding, with heads of its own, and no next sentences.

    Arguments and errors as for `BERT`.
    """

    architectures = tuple(f"Roberta{kind}" for kind in _KINDS)
    prefix = "roberta."
    defaults: ClassVar[dict[str, Any]] = {**BERT.defaults, "vocab_size": 50265, "pad_token_id": 1}
    ignored = ("lm_head.decoder.*", "lm_head.bias", "*.embeddings.position_ids")
    aliases: ClassVar[dict[str, str]] = {
        "LayerNorm.weight": "LayerNorm.gamma",
        "LayerNorm.bias": "LayerNorm.beta",
        "lm_head.bias": "lm_head.decoder.bias",
        "lm_head.decoder.bias": "lm_head.bias",
    }

    def head_recipe(self, head: str) -> Node:
        """How to build a head: one for hidden words always has the same activation, one for classes of texts a map of
        the first token of its own.
        """
        recipe = super().head_recipe(head)
        if head == "masked_lm":
            recipe["transform"]["activation"] = "gelu"
        elif head == "classification":
            recipe["pool"] = factory("omniformer.heads.DenseFirstToken", dropout=self.classifier_dropout)
        return recipe

    def head_names(self, head: str, ours: str) -> Iterator[Name]:
        """The part of the table that is about one head."""
        if head == "masked_lm":
            yield from linear(f"{ours}.transform.map", "lm_head.dense")
            yield from linear(f"{ours}.transform.norm", "lm_head.layer_norm")
            yield from self.output_names(ours, "lm_head")
        elif head == "classification":
            yield from linear(f"{ours}.pool.map", "classifier.dense")
            yield from linear(f"{ours}.{self.last_map}", "classifier.out_proj")
        else:
            yield from super().head_names(head, ours)

    @property
    def padding(self) -> int:
        """The id that positions do not count, which is also the row of its position.

        Raises:
            ValueError: there is none.
        """
        if not isinstance(padding := self.need("pad_token_id"), int):
            raise ValueError(f"config.json has pad_token_id={padding!r}; positions begin behind it: give a number")
        return padding


class XLMRoBERTa(RoBERTa):
    """RoBERTa under another name.

    Arguments and errors as for `BERT`.
    """

    architectures = tuple(f"XLMRoberta{kind}" for kind in _KINDS)
    # As the reference has it; the published ones have 250002 ids.
    defaults: ClassVar[dict[str, Any]] = {**RoBERTa.defaults, "vocab_size": 30522}


class CamemBERT(RoBERTa):
    """RoBERTa in French ([Martin et al. 2019](https://arxiv.org/abs/1911.03894)), under another name.

    Arguments and errors as for `BERT`.
    """

    architectures = tuple(f"Camembert{kind}" for kind in _KINDS)
    # As the reference has it; the published ones have 32005 ids.
    defaults: ClassVar[dict[str, Any]] = {**RoBERTa.defaults, "vocab_size": 30522}
