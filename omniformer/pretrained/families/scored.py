"""Classifiers and scorers on top of a language model: a map without offsets that reads the last token."""

from collections.abc import Iterator
from typing import Any

from omniformer.pretrained.families.classifying import Classifying
from omniformer.pretrained.family import factory
from omniformer.pretrained.names import Name, same
from omniformer.recipe import Node


class Scored(Classifying):
    """A family whose `...ForSequenceClassification` has such a map, `score`.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    def classifier(self, d_model: int, **options: Any) -> Node:
        """How its head is built."""
        return super().classifier(d_model, pool=factory("omniformer.heads.LastToken"), bias=False, **options)

    def classifier_names(self) -> Iterator[Name]:
        """The tensor of its head."""
        yield from same(f"heads.classification.{self.last_map}.weight", "score.weight")
