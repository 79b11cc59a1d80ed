"""The card of a run's model: what it learned from, what it scored there, and the command that makes it again."""

from collections.abc import Mapping
from typing import Any

from omniformer.card import Score, card
from omniformer.data.module import OmniDataModule
from omniformer.pages.blocks import Section, Table, Words
from omniformer.predictor import Predictor
from omniformer.recipe import members
from omniformer.report.about import about, again, data_of
from omniformer.report.results import COUNTS, staged
from omniformer.report.run import Run
from omniformer.training.results import format_number

_SPLITS = {"test": "test", "best/val": "val"}
_LIMITS = {"test": "limit_test_batches", "val": "limit_val_batches"}


def run_card(run: Run, predictor: Predictor, data: OmniDataModule | None = None, **told: Any) -> str:
    """The text of the card.

    Args:
        run: what its folder says.
        predictor: its model.
        data: what it learned from; None where they are not read, so that nothing is counted.
        **told: of `omniformer.card.card`: `place`, `licence`.
    """
    scores = measured(run)
    sections = [about(run, data), _results(scores), again(run)]
    return card(predictor, title=run.name, sections=sections, scores=scores, **told)


def measured(run: Run) -> list[Score]:
    """The numbers of a run that were measured on a part of its data that it did not learn from: those of test, and what
    was best on validation, by which the weights were chosen.
    """
    known = members(run.config)
    found = []
    for name, value in sorted(run.numbers.items()):
        place = staged(name)
        if place is None or place[0] not in _SPLITS or "baseline/" in name or place[1].rsplit("/", 1)[-1] in COUNTS:
            continue
        stage, metric = place
        first, _, rest = metric.partition("/")
        member, metric = (first, rest) if len(known) > 1 and first in known else (next(iter(known)), metric)
        split = _SPLITS[stage]
        data = data_of(known[member]["data"])
        found.append(
            Score(member=member, metric=metric, value=value, data=data, split=split + _part(run.config, split))
        )
    return sorted(found, key=lambda score: not score.split.startswith("test"))


def _part(config: Mapping[str, Any], split: str) -> str:
    """What is said where not all of a split was measured."""
    limit = (config.get("trainer") or {}).get(_LIMITS[split])
    if limit in (None, 1.0) and not isinstance(limit, int):
        return ""
    return f", its first {limit} batches" if isinstance(limit, int) else f", {limit:g} of its batches"


def _results(scores: list[Score]) -> Section:
    if not scores:
        return Section("Results", [Words("Nothing was measured.")])
    rows = [
        [each.member, each.metric, format_number(each.metric, each.value), each.data, each.split] for each in scores
    ]
    told = "One run with one seed; on val, the best of its epochs, by which its weights were chosen."
    return Section("Results", [Table(["task", "metric", "value", "data", "split"], rows), Words(told)])
