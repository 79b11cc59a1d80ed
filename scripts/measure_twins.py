"""Writes the table of twins in docs/pretrained.md: how near families of published models are to the reference library.

    OMP_NUM_THREADS=1 uv run python scripts/measure_twins.py     # the tests of all families, about a minute

It runs the tests of the families and notes what they compare: outputs and gradients of every twin, texts that both
write, weights on the way back. A family whose tests fail has no row.
"""

import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "pretrained.md"
TABLE = re.compile(r"(<!-- twins, written by scripts/measure_twins.py -->\n).*?(<!-- end of twins -->\n)", re.DOTALL)
HEAD = """\
| `model_type` | twins | outputs differ by | gradients differ by | texts | weights come back |
|---|---|---|---|---|---|
"""


@dataclass(slots=True)
class Row:
    """What was compared of one family.

    Args:
        twins: configurations that were proved whole.
        outputs: the largest difference of an output.
        gradients: the largest difference of a gradient, in parts of the largest of its tensor, or of 1 where that is
            less.
        texts: configurations of which texts were compared.
    """

    twins: int = 0
    outputs: float = 0.0
    gradients: float = 0.0
    texts: int = 0


class Notes:
    """A plugin of pytest that notes what the twins compare."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = defaultdict(Row)
        self.current = ""
        self.failed: list[str] = []

    def pytest_configure(self) -> None:
        """Puts itself between the tests and the helpers that they share."""
        sys.path.insert(0, str(REPOSITORY / "tests" / "support"))
        decoders: Any = import_module("decoders")
        twins: Any = import_module("twins")
        self._note(twins, "agree", self._outputs)
        self._note(twins, "agree_in_gradient", self._gradients)
        self._of_family(twins, "twin", lambda row: setattr(row, "twins", row.twins + 1))
        decoders.twin = twins.twin
        for name in ("writes_alike", "answers_alike"):
            self._of_family(decoders, name, lambda row: setattr(row, "texts", row.texts + 1))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Remembers what failed."""
        if report.failed:
            self.failed.append(report.nodeid)

    def _note(self, module: Any, name: str, note: Any) -> None:
        inner = getattr(module, name)

        def noted(ours: Any, theirs: Any, *rest: Any, **options: Any) -> Any:
            note(ours, theirs, *rest)
            return inner(ours, theirs, *rest, **options)

        setattr(module, name, noted)

    def _of_family(self, module: Any, name: str, count: Any) -> None:
        inner = getattr(module, name)

        def noted(theirs: Any, *rest: Any, **options: Any) -> Any:
            self.current = theirs.config.model_type
            found = inner(theirs, *rest, **options)
            count(self.rows[self.current])
            return found

        setattr(module, name, noted)

    def _outputs(self, ours: Any, theirs: Any, mask: Any = None) -> None:
        if mask is not None:
            ours, theirs = ours[mask.bool()], theirs[mask.bool()]
        row = self.rows[self.current]
        row.outputs = max(row.outputs, float((ours - theirs).detach().abs().max()))

    def _gradients(self, ours: Any, theirs: Any) -> None:
        row = self.rows[self.current]
        if theirs.numel():
            whole = max(1.0, float(theirs.abs().max()))
            row.gradients = max(row.gradients, float((ours - theirs).abs().max()) / whole)


def main() -> None:
    """Runs the tests, and writes the table.

    Raises:
        SystemExit: a test failed.
    """
    notes = Notes()
    tests = str(REPOSITORY / "tests" / "pretrained" / "families")
    code = pytest.main(["-q", "-n0", "-m", "not gpu", "-p", "no:cacheprovider", tests], plugins=[notes])
    if code:
        raise SystemExit(f"{len(notes.failed)} tests failed; the table stays as it is: {', '.join(notes.failed[:5])}")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda found: found[1] + table(notes.rows) + found[2], page), encoding="utf-8")


def table(rows: dict[str, Row]) -> str:
    """The table in Markdown.

    Example:
        >>> print(table({"gpt2": Row(twins=2, outputs=1.5e-6, gradients=2e-7)}).splitlines()[2])
        | `gpt2` | 2 | 1.5e-06 | 2.0e-07 |  | bit for bit |
    """
    lines = [
        f"| `{kind}` | {row.twins} | {row.outputs:.1e} | {row.gradients:.1e} | {row.texts or ''} | bit for bit |\n"
        for kind, row in sorted(rows.items())
        if row.twins
    ]
    return HEAD + "".join(lines)


if __name__ == "__main__":
    main()
