"""What is to be predicted, split by split, and what an answer that looks at nothing scores."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch

from omniformer.data.source import SPLITS, Raw, Split
from omniformer.data.table.roles import Roles
from omniformer.data.table.table import Table

_NAMED = 200  # classes that are counted by name


def counted(table: Table, raws: Mapping[Split, Sequence[Raw]]) -> dict[str, Any]:
    """Classes by split, shares of yes by question, spread of numbers; what there is of them.

    Args:
        table: of which.
        raws: some of each split.
    """
    found: dict[str, Any] = {}
    labels = table.labels
    for split in SPLITS:
        targets = [raw.targets for raw in raws[split]]
        if labels and targets and "label" in targets[0]:
            often = Counter(labels[int(each["label"])] for each in targets)
            found.setdefault("classes", {})[split] = dict(often.most_common(_NAMED))
        elif labels and targets and "labels" in targets[0]:
            answers = torch.stack([each["labels"] for each in targets])
            shares = [_rounded(each) for each in answers.nanmean(0).tolist()]
            found.setdefault("share_of_yes", {})[split] = dict(zip(labels, shares, strict=True))
        elif targets and "value" in targets[0]:
            values = torch.stack([each["value"].reshape(-1) for each in targets]).double()
            known = [column[~column.isnan()] for column in values.T]
            found.setdefault("values", {})[split] = [_spread(each) for each in known]
    return found


def trivial(table: Table, roles: Roles, raws: Mapping[Split, Sequence[Raw]]) -> dict[str, Any]:
    """What an answer scores that is always the most frequent one, or the mean, of training; of two modalities without a
    target, what chance finds of those that belong together.

    On test; on validation where there is no test, which `on` says.
    """
    split: Split = "test" if raws["test"] else "val"
    trained, asked = raws["train"], raws[split]
    if not trained or not asked:
        return {}
    found: dict[str, Any] = {"on": split}
    if "label" in roles.targets:
        return found | _of_classes(
            [int(raw.targets["label"]) for raw in trained], [int(raw.targets["label"]) for raw in asked], table.labels
        )
    if "labels" in roles.targets:
        return found | _of_questions(trained, asked, table.labels)
    if "value" in roles.targets:
        known, wanted = (
            torch.stack([raw.targets["value"].reshape(-1) for raw in each]).double() for each in (trained, asked)
        )
        errors = (wanted - known.nanmean(0)).abs()
        return found | {
            "mae": _rounded(float(errors.nanmean())),
            "rmse": _rounded(float(errors.square().nanmean().sqrt())),
        }
    if "token_labels" in roles.targets:
        return found | _of_classes(_words(trained), _words(asked), table.labels)
    if roles.answers:
        often, _ = Counter(_answer(raw) for raw in trained).most_common(1)[0]
        return found | {"exact_match": _rounded(fmean(_answer(raw) == often for raw in asked)), "answer": often[:80]}
    if roles.targets.keys() & {"span", "span.text"}:
        return found | _of_places(_places(trained), _places(asked))
    both = sum(raw.contents.keys() >= set(roles.given) for raw in asked) / len(asked) * len(table.split(split))
    return found | {"recall@1": _rounded(1 / both)} if both and len(roles.given) == 2 else {}


def in_words(scores: Mapping[str, Any]) -> str:
    """What a trivial answer scores, in one line; empty where it scores nothing.

    Example:
        >>> in_words({"on": "test", "accuracy": 0.5, "answer": "good"})
        "accuracy 0.5 on test, by the answer 'good'"
    """
    told = ", ".join(f"{name} {each}" for name, each in scores.items() if name not in ("on", "answer", "by_question"))
    by = f", by the answer {scores['answer']!r}" if "answer" in scores else ""
    return f"{told} on {scores['on']}{by}" if told else ""


def _of_classes(trained: Sequence[int], asked: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    if not trained or not asked:
        return {}
    often = Counter(trained).most_common(1)[0][0]
    return {"accuracy": _rounded(fmean(each == often for each in asked)), "answer": labels[often]}


def _of_questions(trained: Sequence[Raw], asked: Sequence[Raw], labels: Sequence[str]) -> dict[str, Any]:
    known, wanted = (torch.stack([raw.targets["labels"] for raw in each]) for each in (trained, asked))
    often = (known.nanmean(0) >= 0.5).float()
    right = torch.where(wanted.isnan(), torch.nan, (wanted == often).float())
    each = {name: _rounded(float(share)) for name, share in zip(labels, right.nanmean(0), strict=True)}
    return {"auroc": 0.5, "accuracy": _rounded(float(right.nanmean())), "by_question": each}


def _of_places(trained: Sequence[tuple[int, int]], asked: Sequence[tuple[int, int]]) -> dict[str, Any]:
    if not trained or not asked:
        return {}
    often = Counter(trained).most_common(1)[0][0]
    share = _rounded(fmean(each == often for each in asked))
    return {"exact_match": share, "answer": "characters {} to {}".format(*often)}


def _places(raws: Sequence[Raw]) -> list[tuple[int, int]]:
    """Where the answers stand in their texts; those without one are left out."""
    spans = [marks.span for raw in raws for marks in raw.marks.values()]
    return [span for span in spans if span is not None and span[0] >= 0]


def _words(raws: Sequence[Raw]) -> list[int]:
    of_text = [label for raw in raws for marks in raw.marks.values() for _, _, label in marks.words or () if label >= 0]
    of_nodes = [
        int(label)
        for raw in raws
        if "label" in raw.token_targets
        for label in raw.token_targets["label"][raw.token_targets["mask"]]
    ]
    return of_text + of_nodes


def _answer(raw: Raw) -> str:
    return " ".join(map(str, raw.answer.values()))


def _spread(values: torch.Tensor) -> dict[str, float | None]:
    if not len(values):
        return {}
    numbers = {
        "mean": values.mean(),
        "deviation": values.std(correction=0),
        "least": values.min(),
        "most": values.max(),
    }
    known = {name: float(value) for name, value in numbers.items()}
    least = min(
        (abs(value) for value in known.values() if value), default=1.0
    )  # of numbers near each other, what differs
    return {name: round(value, 3 - math.floor(math.log10(least))) for name, value in known.items()}


def _rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if value == value else None
