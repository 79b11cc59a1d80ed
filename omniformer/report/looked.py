"""Where the model looked in the samples that it got most wrong."""

import math
from collections.abc import Sequence

from omniformer.attention.showing import looked
from omniformer.data.module import OmniDataModule
from omniformer.data.source import Split
from omniformer.inspection.looks import look_at
from omniformer.pages.blocks import Block, Words
from omniformer.predictor import Predictor
from omniformer.report.kind import Kind
from omniformer.report.run import Row

_SHOWN = 2  # samples: each costs about a second


def drawn_looks(
    kind: Kind, rows: Sequence[Row], predictor: Predictor, data: OmniDataModule, member: str, split: Split
) -> list[Block]:
    """The worst mistakes with how much each of their tokens counts; a sample that cannot be drawn says why.

    Args:
        kind: of the rows.
        rows: of one split of one member.
        predictor: the model of the run.
        data: of the run.
        member: the member.
        split: the split.
    """
    judged = [row for row in rows if not math.isnan(kind.mistake(row))]
    blocks: list[Block] = []
    for row in sorted(judged, key=kind.mistake, reverse=True)[:_SHOWN]:
        blocks.append(Words(f"{row['id']}: {'; '.join(kind.told(row))}"))
        try:
            sample = data.samples(member, split)(0, row["place"])
            if sample.id != row["id"]:
                raise ValueError(f"at its place stands {sample.id}")
            blocks += looked(look_at(predictor, sample, member, effects=False))
        except ValueError as error:
            blocks.append(Words(f"Not drawn: {error}."))
    return blocks
