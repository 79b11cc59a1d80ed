"""A few samples as a page that a browser shows, with everything in it."""

from collections.abc import Sequence
from pathlib import Path

from omniformer.data.source import Raw
from omniformer.files.durable import write_durably
from omniformer.pages.blocks import Card, Cards, Section
from omniformer.pages.contents import shown
from omniformer.pages.page import html_page

_LETTERS = 600


def page(path: Path, title: str, raws: Sequence[Raw], labels: Sequence[str]) -> None:
    """Writes the page.

    Args:
        path: the file.
        title: above it.
        raws: the samples.
        labels: the names of the classes.
    """
    cards = [Card(raw.id, shown(raw.contents), [_targets(raw, labels)]) for raw in raws]
    write_durably(path, html_page(title, f"{len(raws)} of its samples", [Section("Samples", [Cards(cards)])]))


def _targets(raw: Raw, labels: Sequence[str]) -> str:
    told: list[str] = [str(each) for each in raw.answer.values()]
    for name, value in raw.targets.items():
        if name == "label" and labels:
            told.append(labels[int(value)])
        elif name == "labels":
            told += [
                f"{label}: {'?' if each != each else 'yes' if each else 'no'}"
                for label, each in zip(labels, value.tolist(), strict=True)
            ]
        else:
            told.append(f"{name} {value.tolist()}")
    for marks in raw.marks.values():
        told += [labels[label] for _, _, label in marks.words or () if label >= 0]
        told += [f"characters {marks.span[0]} to {marks.span[1]}"] if marks.span else []
    return "; ".join(told)[:_LETTERS]
