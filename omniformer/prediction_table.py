"""Predictions as a flat table: a row each, with `label` and `score`, whose cells are texts and numbers."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omniformer.files.untrusted import no_formula
from omniformer.prediction import Prediction


def predictions_table(predictions: Iterable[Prediction], *, top: int = 1) -> list[dict[str, Any]]:
    """Predictions as rows that all have the same columns, of which a data frame, a CSV or a Parquet file is made.

    Args:
        predictions: of one task, or of several; a cell that one of them does not have is None.
        top: how many classes or words to name, the most probable first: `label` and `score`, then `label_2`, `score_2`.

    Example:
        >>> found = [Prediction(input="a.png", member="pets", probabilities={"cat": 0.75, "dog": 0.25}, score=0.75)]
        >>> predictions_table(found)
        [{'input': 'a.png', 'member': 'pets', 'label': 'cat', 'score': 0.75}]
    """
    rows = [row_of(each, top=top) for each in predictions]
    columns = _ordered(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column) for column in columns} for row in rows]


def row_of(prediction: Prediction, *, top: int = 1) -> dict[str, Any]:
    """One prediction as a row, with the columns that it has something for.

    Args:
        prediction: any.
        top: as for `predictions_table`.
    """
    row: dict[str, Any] = {"input": prediction.input, "member": prediction.member}
    told = {"token": prediction.token, "text": prediction.text}
    if prediction.place is not None:
        told |= {"begin": prediction.place[0], "end": prediction.place[1]}
    if prediction.span is not None:
        told |= {"first_token": prediction.span[0], "last_token": prediction.span[1]}
    row |= {name: value for name, value in told.items() if value is not None}
    if not prediction.probabilities and prediction.score is not None:
        row["score"] = prediction.score
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])[:top]
    for place, (label, score) in enumerate(ranked, 1):
        row |= dict(zip(_ranked(place), (label, score), strict=True))
    return row | dict(zip(_numbered(len(prediction.values)), prediction.values, strict=True))


class PredictionFile:
    """A file that predictions are written into as they come, in little memory: `.csv`, or `.jsonl`.

    While it is open, what came so far lies beside it as JSON lines, under its name and `.part`; the file itself is
    there once it is whole.

    Args:
        path: of the file; folders are made.
        top: how many classes or words a row of CSV names; JSON lines hold all that there are.

    Texts that a spreadsheet would take for formulas have an apostrophe before them in CSV, see `no_formula`.

    Raises:
        ValueError: it ends otherwise.

    Example:
        >>> import tempfile
        >>> one = Prediction(input="a.png", member="pets", probabilities={"cat": 0.75, "dog": 0.25}, score=0.75)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with PredictionFile(Path(folder) / "said.csv", top=2) as file:
        ...         file.add(one)
        ...     (Path(folder) / "said.csv").read_text().split()
        ['input,member,label,score,label_2,score_2', 'a.png,pets,cat,0.75,dog,0.25']
    """

    def __init__(self, path: str | Path, *, top: int = 1) -> None:
        self.path, self.top = Path(path), top
        if self.path.suffix.lower() not in (".csv", ".jsonl"):
            raise ValueError(f"{self.path} ends with neither .csv nor .jsonl, which say how predictions are written")
        self.flat = self.path.suffix.lower() == ".csv"
        self.part = self.path.with_name(f"{self.path.name}.part")
        self._columns: dict[str, None] = {}

    def __enter__(self) -> "PredictionFile":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.part.open("w", encoding="utf-8")
        return self

    def add(self, prediction: Prediction) -> None:
        """Writes one."""
        row = row_of(prediction, top=self.top) if self.flat else prediction.to_dict()
        self._columns |= dict.fromkeys(row)
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._file.close()
        if kind is None:
            if self.flat:
                self._lay_out()
            self.part.replace(self.path)

    def _lay_out(self) -> None:
        """Makes CSV of the lines, whose columns are known now."""
        whole = self.part.with_name(f"{self.part.name}.csv")
        with self.part.open(encoding="utf-8") as lines, whole.open("w", encoding="utf-8", newline="") as file:
            rows = csv.DictWriter(file, _ordered(self._columns), lineterminator="\n")
            rows.writeheader()
            rows.writerows({key: no_formula(cell) for key, cell in json.loads(line).items()} for line in lines)
        whole.replace(self.part)


def _ordered(columns: Iterable[str]) -> list[str]:
    """The columns of several kinds of rows, ranks after each other and numbers last, otherwise as they came."""

    def place(column: str) -> tuple[int, int]:
        name, _, number = column.partition("_")
        kinds = {"label": 1, "score": 1, "value": 2}
        return kinds.get(name, 0), int(number or 1) if name in kinds else 0

    return sorted(columns, key=place)


def _ranked(place: int) -> tuple[str, str]:
    return ("label", "score") if place == 1 else (f"label_{place}", f"score_{place}")


def _numbered(n: int) -> list[str]:
    return ["value"] if n == 1 else [f"value_{i}" for i in range(1, n + 1)]
