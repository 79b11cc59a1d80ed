"""The numbers of a run as one table, beside what trivial answers score, and their curves."""

from collections import defaultdict
from collections.abc import Mapping

from omniformer.pages.blocks import Block, Picture, Section, Table
from omniformer.report.balance import MEASURED
from omniformer.report.charts import curves
from omniformer.report.run import Run
from omniformer.training.results import format_number

_STAGES = ("test", "best/val", "val", "train")
_NO_CURVES = ("tokens_per_second", "memory_gib", "gradient_cosine", "gradient_conflicts")
_MOST = 24  # curves


def results(run: Run, trivial: Mapping[str, str]) -> Section:
    """One row a metric, one column a stage; what trivial answers score below.

    Args:
        run: the run.
        trivial: what answers that do not look at their input score, by what they are.
    """
    table: defaultdict[str, dict[str, str]] = defaultdict(dict)
    simple = []
    for name, value in run.numbers.items():
        if "baseline/" in name:
            simple.append([name.replace("baseline/", ""), format_number(name, value), "the data set knows it"])
        elif (found := staged(name)) and found[1].rsplit("/", 1)[-1] not in COUNTS:
            table[found[1]][found[0]] = format_number(name, value)
    stages = [stage for stage in _STAGES if any(stage in row for row in table.values())]
    rows = [[metric, *(row.get(stage, "") for stage in stages)] for metric, row in sorted(table.items())]
    caption = _OF_SEVERAL if len(run.config.get("members") or ()) > 1 else ""
    blocks: list[Block] = [Table(["metric", *(_SAID[stage] for stage in stages)], rows, caption)]
    simple += [[name, value, "computed from the targets"] for name, value in trivial.items()]
    if simple:
        blocks.append(
            Table(["without a model", "score", "from"], simple, "What simple answers score on the test split")
        )
    return Section("Results", blocks)


COUNTS = ("seconds", "samples", "tokens", "tokens_per_second", "token_share", "memory_gib", "machine_share", *MEASURED)
_OF_SEVERAL = (
    "loss without a member's name: the mean over all; in training their sum with its weights, which was minimised"
)
_SAID = {"test": "test", "best/val": "best validation", "val": "last validation", "train": "training"}


def staged(name: str) -> tuple[str, str] | None:
    """The stage that a number is of, and its name without it; None where it is of none.

    Example:
        >>> staged("vision/test/accuracy"), staged("best/val/loss"), staged("seed")
        (('test', 'vision/accuracy'), ('best/val', 'loss'), None)
    """
    for stage in _STAGES:
        before, found, after = f"/{name}/".partition(f"/{stage}/")
        if found and after:
            return stage, f"{before}/{after}".strip("/")
    return None


def drawn(run: Run) -> Section | None:
    """Training and validation over the steps, one picture a metric; None where nothing was logged twice."""
    lines: defaultdict[str, dict[str, Mapping[int, float]]] = defaultdict(dict)
    for name, values in run.curves.items():
        found = staged(name)
        if found and found[0] in ("train", "val") and found[1].rsplit("/", 1)[-1] not in _NO_CURVES and len(values) > 1:
            lines[found[1]]["training" if found[0] == "train" else "validation"] = values
    if not lines:
        return None
    # Losses first, and what has both a curve of training and one of validation.
    order = sorted(lines, key=lambda metric: (metric != "loss", -len(lines[metric]), metric))
    pictures: list[Block] = [Picture(curves(lines[metric]), metric, small=True) for metric in order[:_MOST]]
    return Section("Curves", pictures)
