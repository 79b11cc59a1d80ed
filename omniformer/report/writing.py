"""The report of a run: collected, drawn, and written into its folder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from omniformer import finetuning, folder
from omniformer.config import ConfigError
from omniformer.data.module import OmniDataModule
from omniformer.data.other import with_data_root
from omniformer.files.durable import write_durably
from omniformer.pages.blocks import Block, Section, Words
from omniformer.pages.drawing import need_matplotlib
from omniformer.pages.page import html_page, markdown_page
from omniformer.predictor import Predictor
from omniformer.report.about import about, again, cost
from omniformer.report.balance import balance
from omniformer.report.classes import Classes, Lists
from omniformer.report.kind import Kind
from omniformer.report.looked import drawn_looks
from omniformer.report.others import Nearest, Numbers, Spans, Texts
from omniformer.report.questions import Questions
from omniformer.report.results import drawn, results
from omniformer.report.run import MOST_ROWS, Row, Run, predictions, read
from omniformer.report.samples import hardest
from omniformer.run_folder import read_run, reading_run

log = logging.getLogger(__name__)
# In the order in which they are asked whether a row is of their form.
KINDS: tuple[Kind, ...] = (Nearest(), Questions(), Classes(), Lists(), Texts(), Numbers(), Spans())
HTML, MARKDOWN = "report.html", "report.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a report is made of.

    Args:
        run: what the folder says.
        predictor: its model; None where it cannot be loaded.
        data: what it learned from; None where they cannot be read.
        missing: why something of it is not there, as sentences.
    """

    run: Run
    predictor: Predictor | None
    data: OmniDataModule | None
    missing: Sequence[str] = ()


def report(run: str | Path, *, data_root: str | None = None, allow_targets: Sequence[str] = ()) -> Path:
    """Writes `report.html` and `report.md` into the folder of a run, finished or not.

    Where the model or the data are not there, the report says so and goes without.

    Args:
        run: the run folder.
        data_root: where its data lie now; None for where they lay in training.
        allow_targets: packages of your own whose classes the run may name; the folder itself cannot allow any.

    Returns:
        The page.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: a file in it is damaged.
        ConfigError: matplotlib is not installed, or the configuration names what it may not.
    """
    need_matplotlib()
    output, config = read_run(run)
    config = config if data_root is None else with_data_root(config, data_root)
    missing: list[str] = []
    predictor = data = None
    with reading_run(config, allow_targets):
        try:
            predictor = folder.load(output, allow_targets=allow_targets)
        except FileNotFoundError as error:
            missing.append(f"The run has no finished model: {error}.")
        else:
            data = _data(output, config, predictor, missing)
        found = Material(run=read(output), predictor=predictor, data=data, missing=missing)
        sections = collected(found)  # inside, where what a stranger's folder names can do nothing
    return write(found.run, sections)


def report_finished(output: Path, predictor: Predictor, data: OmniDataModule) -> None:
    """Writes the report of a run that has just ended; whatever fails here is told, and the run stays a good one.

    Args:
        output: the run folder.
        predictor: its model.
        data: its data, read already.
    """
    try:
        write(run := read(output), collected(Material(run=run, predictor=predictor, data=data)))
    except ConfigError as error:
        rank_zero_info(f"no {HTML}: {error}; report=false asks for none")
    except Exception as error:  # the run is through, and its files are written
        log.warning("no %s: %s: %s; omniformer report %s tries again", HTML, type(error).__name__, error, output)


def _data(output: Path, config: dict[str, Any], predictor: Predictor, missing: list[str]) -> OmniDataModule | None:
    """The data of a run where they can be read; else why they cannot is added."""
    try:
        data = finetuning.measured(output, predictor).data(config)
        for stream in data.streams.values():
            stream.raws("test")
    except (OSError, ValueError) as error:
        missing.append(f"The data cannot be read, so that no sample is shown; --data-root says where they lie: {error}")
        return None
    return data


def write(run: Run, sections: Sequence[Section]) -> Path:
    """Writes the two files; gives the page."""
    title, lead = f"{run.name}: report of a run", str(run.folder)
    write_durably(run.folder / MARKDOWN, markdown_page(title, lead, sections))
    write_durably(run.folder / HTML, html_page(title, lead, sections))
    return run.folder / HTML


def collected(made_of: Material) -> list[Section]:
    """All that is said of a run.

    Args:
        made_of: the run, its model and data.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    run = made_of.run
    said, left = predictions(run.folder)
    trivial: dict[str, str] = {}
    found = []
    for (split, member), rows in said.items():
        if split == ("test" if any(each == "test" for each, _ in said) else "val"):
            kind = _kind(rows[0])
            several = len({name for _, name in said}) > 1
            trivial |= {f"{member}: {name}" if several else name: each for name, each in kind.trivial(rows).items()}
            found += _of_member(kind, rows, made_of, member, split, several=several)
    missing = [*made_of.missing, *_unread(left)]
    sections = [
        *([Section("What is missing", [Words(each) for each in missing])] if missing else []),
        about(run, made_of.data),
        results(run, trivial),
        drawn(run),
        *found,
        balance(run),
        cost(run),
        again(run),
    ]
    return [each for each in sections if each is not None]


def _of_member(
    kind: Kind, rows: Sequence[Row], made_of: Material, member: str, split: Any, *, several: bool
) -> list[Section]:
    """What was predicted for one member, its hardest samples, and where the model looked in some of them."""
    of = f" of {member}" if several else ""
    judged: list[Block] = [Words(f"{len(rows):,} predictions of the {split} split."), *kind.judged(rows)]
    found = [
        Section(f"Predictions{of}", judged),
        Section(f"Hardest samples{of}", hardest(kind, rows, made_of.data, member, split)),
    ]
    if made_of.predictor is not None and made_of.data is not None:
        blocks = drawn_looks(kind, rows, made_of.predictor, made_of.data, member, split)
        found.append(Section(f"Where the model looked{of}", blocks))
    return found


def _kind(row: Row) -> Kind:
    return next(kind for kind in KINDS if kind.fits(row))


def _unread(left: int) -> list[str]:
    if not left:
        return []
    return [f"{left:,} predictions are not counted: of each split the first {MOST_ROWS:,} are read."]
