"""How much harm a model bears: its scores as its samples are harmed more and more, as a table and a curve."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from omniformer.config import ConfigError
from omniformer.data.corruption import STRENGTHS, Corruption
from omniformer.data.source import Split
from omniformer.experiment.evaluation import evaluate
from omniformer.files.durable import write_durably
from omniformer.pages.blocks import Block, Picture, Section, Table
from omniformer.pages.drawing import COLOURS, drawn
from omniformer.pages.page import html_page
from omniformer.run_folder import read_run
from omniformer.terminal.tables import show
from omniformer.training.results import format_number

Curve = Mapping[float, Mapping[str, float]]


def sweep(
    run: str | Path,
    kind: str,
    strengths: Sequence[float] | None = None,
    *,
    split: Split = "test",
    out: str | Path | None = None,
    **options: Any,
) -> dict[float, dict[str, float]]:
    """Measures a run without harm and at each strength, prints the table, and writes it with the curve.

    Args:
        run: the run folder.
        kind: `noise`, `blur`, `crop`, of every modality that they know or of one, as in `noise=vision`; or
            `missing=<modality>`.
        strengths: of it, see `omniformer.data.corruption.KINDS`; the usual ones of the kind by default.
        split: test or val.
        out: the folder that gets `<kind>-<split>.json` and `.html`; `robustness` in the run folder by default.
        **options: of `omniformer.experiment.evaluate`: `weights`, `allow_targets`, `device`, `data_root`, `data`.

    Returns:
        The metrics by name, by strength; 0 is without harm.

    Raises:
        ConfigError: there is no such kind, a strength is out of range, or the run reads nothing of it.
    """
    output, config = read_run(run)
    name, _, modality = kind.partition("=")
    every = sorted({0.0, *(strengths or STRENGTHS.get(name, ()))})
    try:
        told = [Corruption(kind=name, modality=modality or None, strength=x, seed=config["seed"]) for x in every]
        found = {each.strength: evaluate(run, split=split, corruption=each, **options) for each in told}
    except ValueError as error:
        raise ConfigError([f"--corrupt {kind}: {error}"]) from error
    rows = _rows(found)
    title = f"{config['name']}: {kind} on {split}"
    _print(title, rows)
    place = output / "robustness" if out is None else Path(out)
    _write(place, f"{kind.replace('=', '-')}-{split}", title, found, rows)
    return found


def _rows(found: Curve) -> list[list[str]]:
    """A header, and a row for each metric."""
    names = sorted(next(iter(found.values())))
    header = ["metric", *("unharmed" if x == 0 else f"{x:g}" for x in found)]
    return [
        header,
        *(
            [name, *(format_number(name, each[name]) if name in each else "" for each in found.values())]
            for name in names
        ),
    ]


def _print(title: str, rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table as Shown
    from rich.text import Text

    table = Shown(title=Text(title), title_justify="left")
    for i, name in enumerate(rows[0]):
        table.add_column(Text(name), justify="right" if i else "left")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    show(table)


def _write(place: Path, name: str, title: str, found: Curve, rows: Sequence[Sequence[str]]) -> None:
    place.mkdir(parents=True, exist_ok=True)
    names = sorted(next(iter(found.values())))
    metrics = {metric: [each.get(metric) for each in found.values()] for metric in names}
    told = {"format": 1, "title": title, "strengths": list(found), "metrics": metrics}
    write_durably(place / f"{name}.json", json.dumps(told, indent=2) + "\n")
    try:
        pictures: list[Block] = [
            Picture(_curve(list(found), values), metric, small=True) for metric, values in metrics.items()
        ]
    except ConfigError as error:
        rank_zero_info(f"no picture: {error}")
        print(f"written: {place / f'{name}.json'}")
        return
    sections = [Section("Scores", [Table(rows[0], rows[1:])]), Section("Curves", pictures)]
    write_durably(place / f"{name}.html", html_page(title, "0 is without harm", sections))
    print(f"written: {place / f'{name}.json'} and {name}.html beside it")


def _curve(strengths: Sequence[float], values: Sequence[float | None]) -> str:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        known = [(x, y) for x, y in zip(strengths, values, strict=True) if y is not None]
        axes.plot(*zip(*known, strict=True), color=COLOURS[0], marker="o", markersize=3, lw=1.5)
        axes.set(xlabel="strength")

    return drawn(draw, 4.4, 2.7)
