"""Classes that nobody has trained: a picture or a sound is of the class whose words lie nearest to it
([Radford et al. 2021](https://arxiv.org/abs/2103.00020), 3.1).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.nn import functional as F

from omniformer.inputs import Named, of_each
from omniformer.inputs.routing import only
from omniformer.prediction import Prediction, of_probabilities
from omniformer.predictor import Predictor


class ZeroShot:
    """Says which of some classes an input is of, by a contrastive model that reads texts.

    The vector of a class is the mean of those of its name in each template, brought to length one (3.1.4 there). Its
    probability is the softmax of the scaled cosines; where the model learned with a sigmoid, that of each class by
    itself ([Zhai et al. 2023](https://arxiv.org/abs/2303.15343)).

    Args:
        predictor: the model.
        labels: the names of the classes, two or more.
        templates: texts in which `{}` stands for the name; the name alone by default.
        member: which task compares, where the model has several.

    Raises:
        ValueError: no task of the model compares inputs with texts; there are fewer than two classes, or one twice; or
            a template has no `{}`, or several.

    Example:
        >>> from pathlib import Path
        >>> from omniformer import load
        >>> pets = ZeroShot(load("models/clip"), ["cat", "dog"], templates=["a photo of a {}"])  # doctest: +SKIP
        >>> pets.predict([Path("tom.png")])[0].label  # doctest: +SKIP
        'cat'
    """

    def __init__(
        self,
        predictor: Predictor,
        labels: Sequence[str],
        *,
        templates: Sequence[str] = ("{}",),
        member: str | None = None,
    ) -> None:
        self.predictor, self.labels = predictor, list(labels)
        if len(set(self.labels)) < max(len(self.labels), 2):
            raise ValueError(f"labels={self.labels} must be two or more different ones, to choose among them")
        if wrong := [each for each in templates if each.count("{}") != 1]:
            raise ValueError(f"template {wrong[0]!r} must have one {{}}, where the name of a class is put")
        able = [name for name in predictor.members if predictor.model.head(name).compares]
        self.member = only(able, predictor.members, member, "compares nothing", "a contrastive task")
        self._head: Any = predictor.model.head(self.member)
        if not predictor.members[self.member].reads_text:
            known = ", ".join(self._head.modalities)
            raise ValueError(f"{self.member!r} compares {known}; classes are told by words, which it does not read")
        texts = [(template.replace("{}", label), label) for template in templates for label in self.labels]
        vectors = predictor.embed_named([(label, text) for text, label in texts], member=self.member)
        self._classes = F.normalize(vectors.unflatten(0, (len(templates), -1)).mean(0), dim=-1)

    def predict(self, inputs: Any, *, batch_size: int = 64) -> list[Prediction]:
        """One prediction for each input, in order.

        Args:
            inputs: as for `Predictor.predict`, each of one modality.
            batch_size: inputs in one pass; results do not depend on it.

        Raises:
            ValueError: an input cannot be read, or is of no modality that the model compares.
        """
        named = self.predictor.named(inputs)
        chunks = [named[begin : begin + batch_size] for begin in range(0, len(named), batch_size)]
        return [prediction for chunk in chunks for (prediction,) in self._predicted(chunk)]

    def outcomes(
        self, named: Iterable[tuple[str, Any]], *, batch_size: int = 64
    ) -> Iterator[tuple[str, list[Prediction] | Exception]]:
        """What is said of each input, as by `Predictor.outcomes`."""
        waiting = iter(named)
        while chunk := list(islice(waiting, batch_size)):
            yield from zip((name for name, _ in chunk), of_each(self._predicted, chunk), strict=True)

    @torch.inference_mode()
    def _predicted(self, named: Named) -> list[list[Prediction]]:
        cosines = self.predictor.embed_named(named, member=self.member) @ self._classes.T
        logits = self._head.scale().cpu() * cosines
        bias = self._head.bias
        shares = logits.softmax(-1) if bias is None else (logits + bias.float().cpu()).sigmoid()
        rows = [dict(zip(self.labels, row, strict=True)) for row in shares.tolist()]
        return [[of_probabilities(name, self.member, row)] for (name, _), row in zip(named, rows, strict=True)]
