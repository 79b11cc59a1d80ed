"""What the labels of a classifier of texts mean, and the head that they ask for."""

from typing import Any, ClassVar

from omniformer.pretrained.family import Family, part
from omniformer.recipe import Node

_HEADS = {
    "single_label_classification": "ClassificationHead",
    "multi_label_classification": "MultiLabelHead",
    "regression": "RegressionHead",
}
"""The heads of the problems that the reference library names."""


class Classifying(Family):
    """A family that has a `...ForSequenceClassification`.

    Args:
        config: the content of `config.json`.

    Raises:
        ValueError: an option that changes the computation in a way the core does not have.
    """

    unnamed: ClassVar[int] = 2
    """How many labels there are where a file names none, which the reference does not write then."""

    @property
    def classifies(self) -> bool:
        """Whether the file is one of a classifier or scorer."""
        return self.architecture.endswith("ForSequenceClassification")

    @property
    def problem(self) -> str:
        """What a classifier's labels mean; a single one is a number, as in the reference."""
        named = self.need("problem_type", None, *_HEADS) if "problem_type" in self.config else None
        return named or ("regression" if self.n_labels == 1 else "single_label_classification")

    @property
    def n_labels(self) -> int:
        """Classes, or numbers of a regression."""
        if named := self.config.get("id2label"):
            return len(named)
        stated = self.config.get("num_labels")
        return self.unnamed if stated is None else stated

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes, made up as in the reference where the file has none; empty without classes."""
        return self.label_names if self.classifies and self.problem != "regression" else ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of its labels, whatever they mean."""
        named = self.config.get("id2label") or {i: f"LABEL_{i}" for i in range(self.n_labels)}
        return tuple(str(named[key]) for key in sorted(named, key=int))

    def classifier(self, d_model: int, **options: Any) -> Node:
        """How the head is built that its labels ask for."""
        sizes = {"n_outputs" if self.problem == "regression" else "n_classes": self.n_labels}
        return part(f"omniformer.heads.{_HEADS[self.problem]}", d_model=d_model, **sizes, **options)

    @property
    def last_map(self) -> str:
        """What the last map of that head is called with us."""
        return "values" if self.problem == "regression" else "classes"
