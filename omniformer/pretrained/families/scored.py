"""Classifiers and scorers on top of a language model: a map without offsets that reads the last token."""

from collections.abc import Iterator
from typing import Any

from omniformer.pretrained.family import Family, factory, part
from omniformer.pretrained.names import Name, same
from omniformer.recipe import Node

CLASSIFIERS = {
    "single_label_classification": "ClassificationHead",
    "multi_label_classification": "MultiLabelHead",
    "regression": "RegressionHead",
}
"""The heads of the problems that the reference library names."""


class Scored(Family):
    """A family whose `...ForSequenceClassification` has such a map, `score`.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    @property
    def classifies(self) -> bool:
        """Whether the file is one of a classifier or scorer."""
        return self.architecture.endswith("ForSequenceClassification")

    @property
    def problem(self) -> str:
        """What a classifier's labels mean; a single one is a number, as in the reference."""
        named = self.need("problem_type", None, *CLASSIFIERS) if "problem_type" in self.config else None
        return named or ("regression" if self.n_classes == 1 else "single_label_classification")

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes; empty where it has none."""
        return super().labels if self.classifies and self.problem != "regression" else ()

    @property
    def n_classes(self) -> int:
        """Classes, or numbers of a regression."""
        return len(super().labels)

    def classifier(self, d_model: int) -> Node:
        """How its head is built."""
        sizes: dict[str, Any] = {"n_outputs" if self.problem == "regression" else "n_classes": self.n_classes}
        pool = factory("omniformer.heads.LastToken")
        return part(f"omniformer.heads.{CLASSIFIERS[self.problem]}", d_model=d_model, **sizes, pool=pool, bias=False)

    def classifier_names(self) -> Iterator[Name]:
        """The tensor of its head."""
        scores = "values" if self.problem == "regression" else "classes"
        yield from same(f"heads.classification.{scores}.weight", "score.weight")
