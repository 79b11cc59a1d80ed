"""Predictions of yes or no to several questions."""

from collections import Counter
from collections.abc import Sequence

from omniformer.pages.blocks import Block, Table
from omniformer.report.classes import calibrated
from omniformer.report.judging import class_scores
from omniformer.report.kind import Kind, share, shortened
from omniformer.report.run import Row

Asked = tuple[str, bool, bool, float | None]
"""A question, its answer, what was predicted, and the probability of yes."""


class Questions(Kind):
    """Yes or no to each question; one without an answer does not count."""

    def fits(self, row: Row) -> bool:
        return isinstance(row["target"], dict)

    def asked(self, row: Row) -> list[Asked]:
        """The questions that have an answer."""
        return [
            (name, wanted, row["prediction"][name], row["scores"][name])
            for name, wanted in row["target"].items()
            if wanted is not None
        ]

    def judged(self, rows: Sequence[Row]) -> list[Block]:
        asked = [each for row in rows for each in self.asked(row)]
        lines = []
        for question in dict.fromkeys(name for name, *_ in asked):
            own = [(str(wanted), str(found)) for name, wanted, found, _ in asked if name == question]
            yes = next((each for each in class_scores(own) if each.name == "True"), None)
            right = sum(wanted == found for wanted, found in own) / len(own)
            scores = (0.0, 0.0, 0.0, 0) if yes is None else (yes.precision, yes.recall, yes.f1, yes.support)
            lines.append(
                [shortened(question, 60), share(right), *map(share, scores[:3]), f"{scores[3]:,}", f"{len(own):,}"]
            )
        header = ["question", "accuracy", "precision", "recall", "F1", "yes", "answered"]
        sure = [(max(yes, 1 - yes), wanted == found) for _, wanted, found, yes in asked if yes is not None]
        return [Table(header, lines, "Each question, yes where its probability is at least 0.5"), *calibrated(sure)]

    def trivial(self, rows: Sequence[Row]) -> dict[str, str]:
        asked = Counter((name, wanted) for row in rows for name, wanted, *_ in self.asked(row))
        questions = dict.fromkeys(name for name, _ in asked)
        right = sum(max(asked[name, True], asked[name, False]) for name in questions)
        if not asked:
            return {}
        return {"accuracy of always the more frequent answer": share(right / asked.total())}

    def mistake(self, row: Row) -> float:
        asked = self.asked(row)
        if not asked:
            return float("nan")
        off = [abs(float(wanted) - (yes or 0.0)) for _, wanted, _, yes in asked]
        wrong = any(wanted != found for _, wanted, found, _ in asked)
        return sum(off) / len(off) if wrong else max(off) - 1.0

    def told(self, row: Row) -> list[str]:
        asked = self.asked(row)
        wrong = [
            f"{name}: is {'yes' if wanted else 'no'}, predicted {yes or 0.0:.3f}"
            for name, wanted, found, yes in asked
            if wanted != found
        ]
        return [f"{len(asked) - len(wrong)} of {len(asked)} right", *wrong[:6]]
