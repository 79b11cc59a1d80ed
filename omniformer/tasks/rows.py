"""What a task says of single samples, as rows of plain values: the lines of a run's `predictions.jsonl`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from omniformer.batch import Batch

Row = Mapping[str, Any]
"""`id` of the sample, `target`, `prediction`, and `scores` where there are some; None is what is not known."""

_MOST = 100  # scores in a row: a line stays readable, whatever the number of classes


def number(value: float) -> float | None:
    """A number with the seven digits that a float32 has; None for what is none.

    Example:
        >>> number(0.30000001192092896), number(float("nan"))
        (0.3, None)
    """
    return float(f"{value:.7g}") if math.isfinite(value) else None


def name_of(labels: Sequence[str], index: int) -> str | int:
    """The name of a class; its number where classes have no names."""
    return labels[index] if labels else index


def of_classes(batch: Batch, probabilities: Tensor, targets: Tensor, labels: Sequence[str]) -> Iterator[Row]:
    """One class of several for each sample, with the scores of the most probable hundred.

    Shapes:
        probabilities `[samples, n_classes]`, targets `[samples]`.
    """
    best = probabilities.topk(min(_MOST, probabilities.shape[-1]), dim=-1)
    for sample, values, classes, wanted in zip(
        batch.ids, best.values.tolist(), best.indices.tolist(), targets.tolist(), strict=True
    ):
        names = [name_of(labels, index) for index in classes]
        yield {
            "id": sample,
            "target": name_of(labels, wanted),
            "prediction": names[0],
            "scores": {str(name): number(value) for name, value in zip(names, values, strict=True)},
        }


def of_tokens(
    batch: Batch, probabilities: Tensor, targets: Tensor, mask: Tensor, labels: Sequence[str]
) -> Iterator[Row]:
    """The class of each token that has one to be found, with the number of the token in its sample and the score of its
    most probable class.

    Shapes:
        probabilities `[tokens with a class, n_classes]`, targets `[tokens with a class]`, mask `[tokens]`.
    """
    scores, found = probabilities.max(-1)
    start = 0
    for sample, asked in zip(batch.ids, mask.cpu().split(batch.lengths.tolist()), strict=True):
        tokens = asked.nonzero().flatten().tolist()
        own = slice(start, start := start + len(tokens))
        yield {
            "id": sample,
            "tokens": tokens,
            "target": [name_of(labels, index) for index in targets[own].tolist()],
            "prediction": [name_of(labels, index) for index in found[own].tolist()],
            "scores": [number(value) for value in scores[own].tolist()],
        }


def of_questions(batch: Batch, probabilities: Tensor, targets: Tensor, labels: Sequence[str]) -> Iterator[Row]:
    """Yes or no to each question, with the probability of yes; a target below 0 is a question without an answer.

    Shapes:
        probabilities, targets `[samples, questions]`.
    """
    names = [str(name_of(labels, index)) for index in range(probabilities.shape[1])]
    for sample, scores, wanted in zip(batch.ids, probabilities.tolist(), targets.tolist(), strict=True):
        yield {
            "id": sample,
            "target": {name: None if each < 0 else bool(each) for name, each in zip(names, wanted, strict=True)},
            "prediction": {name: each >= 0.5 for name, each in zip(names, scores, strict=True)},
            "scores": {name: number(each) for name, each in zip(names, scores, strict=True)},
        }


def of_values(batch: Batch, predicted: Tensor, targets: Tensor) -> Iterator[Row]:
    """Numbers in the units of the data: one by itself, or a list of several.

    Shapes:
        predicted, targets `[samples, outputs]`; NaN is a target that is not known.
    """
    for sample, found, wanted in zip(batch.ids, predicted.tolist(), targets.tolist(), strict=True):
        row = {"target": [number(each) for each in wanted], "prediction": [number(each) for each in found]}
        yield {"id": sample, **({key: each[0] for key, each in row.items()} if len(found) == 1 else row)}


def of_texts(batch: Batch, written: Sequence[str], expected: Sequence[str]) -> Iterator[Row]:
    """What was written for each sample, where something was."""
    if written:
        for sample, text, wanted in zip(batch.ids, written, expected, strict=True):
            yield {"id": sample, "target": wanted, "prediction": text}
