"""The samples that a model gets wrong or finds hardest, as they are."""

import math
from collections.abc import Sequence

from omniformer.data.module import OmniDataModule
from omniformer.data.source import Raw, Split
from omniformer.pages.blocks import Block, Card, Cards, Words
from omniformer.pages.contents import shown
from omniformer.report.kind import Kind
from omniformer.report.run import Row

_SHOWN = 12
_SEARCHED = 20_000  # samples among which one is looked for that does not stand where its prediction does


def hardest(kind: Kind, rows: Sequence[Row], data: OmniDataModule | None, member: str, split: Split) -> list[Block]:
    """The worst mistakes first, then what was right and least sure.

    Args:
        kind: of the rows.
        rows: of one split of one member.
        data: of the run; None where they cannot be read, so that only names are shown.
        member: the member.
        split: the split.
    """
    judged = [(mistake, row) for row in rows if not math.isnan(mistake := kind.mistake(row))]
    worst = sorted(judged, key=lambda each: -each[0])[:_SHOWN]
    counted = "" if kind.by_degree else f"; {sum(mistake > 0 for mistake, _ in judged):,} are wrong"
    said = f"{len(worst)} of {len(judged):,} predictions, the worst first{counted}."
    cards = [_card(kind, row, not kind.by_degree and mistake > 0, data, member, split) for mistake, row in worst]
    return [Words(said), Cards(cards)]


def _card(kind: Kind, row: Row, wrong: bool, data: OmniDataModule | None, member: str, split: Split) -> Card:
    raw = None if data is None else found(data.streams[member].raws(split), row)
    body = shown(raw.contents) if raw is not None else ""
    return Card(str(row["id"]), body, kind.told(row), wrong=wrong)


def found(raws: Sequence[Raw], row: Row) -> Raw | None:
    """The sample that a prediction is of: at its place, or else among the first 20,000; None where it is not there, as
    where samples are cut into pieces.
    """
    place = row["place"]
    if place < len(raws) and raws[place].id == row["id"]:
        return raws[place]
    return next((raws[i] for i in range(min(len(raws), _SEARCHED)) if raws[i].id == row["id"]), None)
