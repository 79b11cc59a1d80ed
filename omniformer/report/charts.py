"""The charts of reports: curves, which class is taken for which, calibration, numbers beside their targets."""

from collections.abc import Mapping, Sequence
from typing import Any

from omniformer.pages.drawing import ACCENT, COLOURS, drawn, shades
from omniformer.report.judging import Bin

Lines = Mapping[str, Mapping[int, float]]
"""By label, values by step."""
_LABELLED = 30  # classes whose names stand beside the matrix
_COUNTED = 15  # classes whose counts stand in it


def curves(lines: Lines, *, width: float = 4.4) -> str:
    """Values over steps; short lines have dots.

    Args:
        lines: by label.
        width: inches.
    """

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for (label, values), colour in zip(lines.items(), _colours(len(lines)), strict=True):
            dots = "o" if len(values) <= 30 else None
            axes.plot(list(values), list(values.values()), label=label, color=colour, marker=dots, markersize=3, lw=1.5)
        axes.set(xlabel="step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(lines) > 1:
            axes.legend()

    return drawn(draw, width, 2.7)


def _colours(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Which class (rows) is taken for which (columns): the colour is the share of its row."""
    size = min(max(2.6, 0.36 * len(names) + 1.4), 8.0)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        shares = [[each / max(sum(row), 1) for each in row] for row in counts]
        # A whole row has three quarters of the colour: counts in the ink of a light and of a dark page stay readable.
        axes.imshow(shares, cmap=shades(), vmin=0, vmax=4 / 3, aspect="equal")
        axes.set(xlabel="predicted", ylabel="target")
        if len(names) <= _LABELLED:
            short = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]
            turned = 90 if max(map(len, short)) > 2 else 0
            axes.set_xticks(range(len(names)), short, rotation=turned)
            axes.set_yticks(range(len(names)), short)
        if len(names) <= _COUNTED:
            for i, row in enumerate(counts):
                for j, count in enumerate(row):
                    if count:
                        axes.text(j, i, str(count), ha="center", va="center", fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return drawn(draw, size, size)


def reliability(bins: Sequence[Bin]) -> str:
    """How often predictions of a confidence are right, beside the line on which they are as often as they say."""

    def draw(figure: Any) -> None:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        axes.plot([0, 1], [0, 1], color="#8a8f98", lw=1, ls="--")
        axes.plot([each.confidence for each in bins], [each.right for each in bins], color=ACCENT, marker="o", lw=1.5)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is right")
        below.bar([each.confidence for each in bins], [each.count for each in bins], width=0.06, color=ACCENT)
        below.set(xlabel="confidence", ylabel="count")

    return drawn(draw, 3.6, 3.6)


def against(targets: Sequence[float], found: Sequence[float], title: str) -> str:
    """Predicted numbers over their targets."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        low, high = min(*targets, *found), max(*targets, *found)
        axes.plot([low, high], [low, high], color="#8a8f98", lw=1, ls="--")
        axes.scatter(targets, found, s=8, color=ACCENT, alpha=0.5, linewidths=0, rasterized=len(targets) > 3000)
        axes.set(xlabel="target", ylabel="predicted", title=title)

    return drawn(draw, 3.6, 3.4)
