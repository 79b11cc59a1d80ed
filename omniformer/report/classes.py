"""Predictions of classes: one for each sample, or one for each of several things in it, such as words."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from omniformer.pages.blocks import Block, Picture, Table, Words
from omniformer.report.charts import matrix, reliability
from omniformer.report.judging import Pair, calibration, class_scores, confusion
from omniformer.report.kind import Kind, share, shortened
from omniformer.report.run import Row

_TABLED = 200  # classes in a table
_DRAWN = 100  # classes in a matrix

Said = tuple[str, str, float | None]
"""What was wanted, what was predicted, and how sure."""


class Classes(Kind):
    """One class for each sample."""

    def fits(self, row: Row) -> bool:
        return isinstance(row.get("scores"), dict) and isinstance(row["target"], str | int)

    def said(self, row: Row) -> list[Said]:
        """Each class of a row that was to be found."""
        return [(str(row["target"]), str(row["prediction"]), row["scores"].get(str(row["prediction"])))]

    def judged(self, rows: Sequence[Row]) -> list[Block]:
        return of_classes([each for row in rows for each in self.said(row)])

    def trivial(self, rows: Sequence[Row]) -> dict[str, str]:
        counts = Counter(target for row in rows for target, *_ in self.said(row))
        if not counts:
            return {}
        name, most = counts.most_common(1)[0]
        return {f"accuracy of always {shortened(name, 40)!r}, the most frequent": share(most / counts.total())}

    def mistake(self, row: Row) -> float:
        target, found = str(row["target"]), str(row["prediction"])
        scores: dict[str, Any] = row["scores"]
        known = scores.get(target) or 0.0
        return 1.0 - known if target != found else -known

    def told(self, row: Row) -> list[str]:
        wanted, found = str(row["target"]), str(row["prediction"])
        scores = {name: score for name, score in row["scores"].items() if score is not None}
        lines = [f"predicted: {shortened(found)}" + (f" ({scores[found]:.3f})" if found in scores else "")]
        if wanted != found:
            lines.append(f"target: {shortened(wanted)}" + (f" ({scores[wanted]:.3f})" if wanted in scores else ""))
        return lines


class Lists(Classes):
    """A class for each of several things in a sample: its words, nodes, or pairs of nodes."""

    def fits(self, row: Row) -> bool:
        return isinstance(row.get("scores"), list) and isinstance(row["target"], list)

    def said(self, row: Row) -> list[Said]:
        told = zip(row["target"], row["prediction"], row["scores"], strict=True)
        # The score of a pair is the probability of yes, that of a class the one of the class.
        return [
            (_name(wanted), _name(found), 1 - sure if found is False and sure is not None else sure)
            for wanted, found, sure in told
        ]

    def mistake(self, row: Row) -> float:
        said = self.said(row)
        wrong = sum(wanted != found for wanted, found, _ in said)
        if wrong:
            return wrong / len(said)
        return -min((sure for *_, sure in said if sure is not None), default=1.0)

    def told(self, row: Row) -> list[str]:
        said = self.said(row)
        wrong = [f"{wanted} taken for {found}" for wanted, found, _ in said if wanted != found]
        return [f"{len(said) - len(wrong)} of {len(said)} right", *([shortened("; ".join(wrong))] if wrong else [])]


def of_classes(said: Sequence[Said]) -> list[Block]:
    """Tables and charts of predicted classes."""
    if not said:
        return [Words("Nothing was to be found in this split.")]
    pairs: list[Pair] = [(wanted, found) for wanted, found, _ in said]
    scores = class_scores(pairs)
    right = sum(wanted == found for wanted, found in pairs) / len(pairs)
    shown = scores if len(scores) <= _TABLED else sorted(scores, key=lambda each: each.f1)[:_TABLED]
    left = f", the {_TABLED} of {len(scores)} with the lowest F1" if len(shown) < len(scores) else ""
    table = Table(
        ["class", "precision", "recall", "F1", "support"],
        [
            [shortened(each.name, 60), share(each.precision), share(each.recall), share(each.f1), f"{each.support:,}"]
            for each in shown
        ],
        f"Each class{left}; {right:.2%} of {len(pairs):,} are right",
    )
    order = [each.name for each in scores]
    drawn: list[Block] = []
    if len(order) <= _DRAWN:
        caption = "Which class (rows) is taken for which (columns); the colour is the share of the row"
        drawn.append(Picture(matrix(confusion(pairs, order), order), caption, small=True))
    else:
        drawn.append(_taken(pairs))
    return [table, *drawn, *calibrated([(sure, a == b) for a, b, sure in said if sure is not None])]


def _taken(pairs: Sequence[Pair]) -> Table:
    """The most frequent mistakes, where a matrix would be too large to read."""
    mistakes = Counter(pair for pair in pairs if pair[0] != pair[1]).most_common(20)
    rows = [[shortened(wanted, 60), shortened(found, 60), f"{count:,}"] for (wanted, found), count in mistakes]
    return Table(["target", "taken for", "count"], rows, "The most frequent mistakes")


def calibrated(said: Sequence[tuple[float, bool]]) -> list[Block]:
    """Whether probabilities can be believed, drawn."""
    if not said:
        return []
    bins, error = calibration(said)
    caption = f"Calibration: expected calibration error {error:.4f}, {len(bins)} bins"
    return [Picture(reliability(bins), caption, small=True)]


def _name(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
