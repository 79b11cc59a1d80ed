"""Predictions that are no classes: numbers, texts, spans of texts, and the nearest of other samples."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from omniformer.pages.blocks import Block, Picture, Table, Words
from omniformer.report.charts import against
from omniformer.report.kind import Kind, share, shortened
from omniformer.report.run import Row

_OUTPUTS = 6  # numbers of a sample that are drawn, of several


class Numbers(Kind):
    """One number for each sample, or several."""

    by_degree = True

    def fits(self, row: Row) -> bool:
        found = row["prediction"]
        return "scores" not in row and isinstance(found[0] if isinstance(found, list) and found else found, float)

    def judged(self, rows: Sequence[Row]) -> list[Block]:
        lines, drawn = [], []
        columns = self._columns(rows)
        for i, pairs in enumerate(columns):
            wanted, found = zip(*pairs, strict=True)
            name = "value" if len(columns) == 1 else f"value {i}"
            lines.append([name, *(f"{each:.4g}" for each in _errors(wanted, found)), f"{len(pairs):,}"])
            if i < _OUTPUTS:
                drawn.append(Picture(against(wanted, found, name), f"{name}: predicted over target", small=True))
        return [Table(["number", "RMSE", "mean absolute error", "R²", "known"], lines), *drawn]

    def trivial(self, rows: Sequence[Row]) -> dict[str, str]:
        squares = []
        for pairs in self._columns(rows):
            wanted = [each for each, _ in pairs]
            mean = fmean(wanted)
            squares += [(each - mean) ** 2 for each in wanted]
        return {"RMSE of always the mean of these targets": f"{math.sqrt(fmean(squares)):.4g}"} if squares else {}

    def mistake(self, row: Row) -> float:
        off = [abs(wanted - found) for wanted, found in _known(row)]
        return fmean(off) if off else float("nan")

    def score(self, row: Row) -> float:
        return -self.mistake(row)

    def told(self, row: Row) -> list[str]:
        return [f"predicted: {shortened(_listed(row['prediction']))}", f"target: {shortened(_listed(row['target']))}"]

    def _columns(self, rows: Sequence[Row]) -> list[list[tuple[float, float]]]:
        """By output, what was wanted and what was predicted, where both are known."""
        columns: list[list[tuple[float, float]]] = []
        for row in rows:
            pairs = zip(_several(row["target"]), _several(row["prediction"]), strict=True)
            for i, (wanted, found) in enumerate(pairs):
                if i == len(columns):
                    columns.append([])
                if wanted is not None and found is not None:
                    columns[i].append((wanted, found))
        return [each for each in columns if each]


def _errors(wanted: Sequence[float], found: Sequence[float]) -> tuple[float, float, float]:
    squares = [(a - b) ** 2 for a, b in zip(wanted, found, strict=True)]
    mean = fmean(wanted)
    whole = sum((each - mean) ** 2 for each in wanted)
    explained = 1 - sum(squares) / whole if whole else float("nan")
    return math.sqrt(fmean(squares)), fmean([abs(a - b) for a, b in zip(wanted, found, strict=True)]), explained


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _known(row: Row) -> list[tuple[float, float]]:
    pairs = zip(_several(row["target"]), _several(row["prediction"]), strict=True)
    return [(wanted, found) for wanted, found in pairs if wanted is not None and found is not None]


def _listed(value: Any) -> str:
    return ", ".join("not known" if each is None else f"{each:.4g}" for each in _several(value))


class Exact(Kind):
    """Answers that are right or wrong as a whole."""

    @abstractmethod
    def right(self, row: Row) -> bool:
        """Whether an answer is the one that was wanted."""

    def judged(self, rows: Sequence[Row]) -> list[Block]:
        right = sum(map(self.right, rows))
        return [Words(f"{right:,} of {len(rows):,} are exactly what was wanted ({right / max(len(rows), 1):.2%}).")]

    def trivial(self, rows: Sequence[Row]) -> dict[str, str]:
        return {}

    def mistake(self, row: Row) -> float:
        return 0.0 if self.right(row) else 1.0

    def told(self, row: Row) -> list[str]:
        wanted, found = row.get("target_text", row["target"]), row.get("prediction_text", row["prediction"])
        return [f"predicted: {shortened(found)}", f"target: {shortened(wanted)}"]


class Texts(Exact):
    """Texts that were written."""

    def fits(self, row: Row) -> bool:
        return isinstance(row["prediction"], str) and "scores" not in row

    def right(self, row: Row) -> bool:
        return row["prediction"] == row["target"]


class Spans(Exact):
    """Stretches of a text; None where there is none."""

    def fits(self, row: Row) -> bool:
        return "scores" not in row and (row["prediction"] is None or isinstance(row["prediction"], list))

    def right(self, row: Row) -> bool:
        return row["prediction"] == row["target"]


class Nearest(Exact):
    """The nearest of other samples, in each direction between modalities."""

    def fits(self, row: Row) -> bool:
        return "rank" in row

    def right(self, row: Row) -> bool:
        return all(rank <= 1 for rank in row["rank"].values())

    def judged(self, rows: Sequence[Row]) -> list[Block]:
        lines = []
        for way in dict.fromkeys(name for row in rows for name in row["rank"]):
            ranks = [row["rank"][way] for row in rows if way in row["rank"]]
            first = [sum(rank <= k for rank in ranks) / len(ranks) for k in (1, 5, 10)]
            lines.append(
                [way.replace("_", " "), *map(share, first), f"{sorted(ranks)[len(ranks) // 2]:g}", f"{len(ranks):,}"]
            )
        header = ["direction", "first", "among 5", "among 10", "median rank", "samples"]
        caption = "Where the right sample stands; one that is as near as others, in the middle of these (recall draws)"
        return [Table(header, lines, caption)]

    def mistake(self, row: Row) -> float:
        return max(row["rank"].values(), default=1.0) - 1.0

    def told(self, row: Row) -> list[str]:
        return [f"{way.replace('_', ' ')}: rank {rank:g}" for way, rank in row["rank"].items()]
