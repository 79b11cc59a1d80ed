"""Writes docs/data_sets.md from the cards at the end of the files of conf/data.

    uv run python scripts/write_data_sets.py

A card is a comment: `# Card: <title>`, or `# Card of <set>, <set>: <title>`; a line of the table, its section first;
and, after an empty comment, the text.
"""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "data_sets.md"
SECTIONS = ("Text", "Pictures", "Video", "Sounds", "Series", "Graphs", "Several modalities")
_CARD = re.compile(r"^# Card(?: of ([\w, ]+))?: (.+)\n# (.+)\n#\n((?:#.*\n)+)", re.MULTILINE)
_HEAD = """# Data sets to be fetched

One card for each set whose files lie under `data_root`, and for the sets made of them; those that need no files are in
[data.md](data.md). `data=<name> data_root=<folder>` looks for the files named on the card, and
`data.source.download=true` fetches them where the card says so. Nothing is fetched unasked. Scores of others are quoted
for scale: mind what the card says of splits and tokenisation before comparing. The cards stand in the files of
`conf/data`, from which `scripts/write_data_sets.py` writes this page.

| set | modality | train | validation | test | what to learn | baseline on the test split |
|---|---|---:|---:|---:|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is to be known of a set, and of others that its card describes too."""

    names: tuple[str, ...]
    title: str
    section: str
    cells: tuple[str, ...]
    text: str

    @property
    def heading(self) -> str:
        """The heading on the page."""
        return f"{', '.join(f'`data={name}`' for name in self.names)}: {self.title}"

    @property
    def row(self) -> str:
        """The line of the table."""
        anchor = re.sub(r"[^\w -]", "", self.heading.lower()).replace(" ", "-")
        return f"| [`{self.names[0]}`](#{anchor}) | {' | '.join(self.cells)} |"


def card_of(file: Path) -> Card | None:
    """The card of a file of `conf/data`; None where it has none.

    Raises:
        ValueError: its section or its line of the table is of another form; names the file.
    """
    if not (match := _CARD.search(file.read_text(encoding="utf-8"))):
        return None
    others, title, line, text = match.groups()
    section, *cells = [each.strip() for each in line.split("|")]
    if section not in SECTIONS or len(cells) != 6:
        raise ValueError(f"{file}: the second line of its card is {line!r}; write a section and six cells between bars")
    return Card(
        names=tuple(re.split(r", ?", others)) if others else (file.stem,),
        title=title,
        section=section,
        cells=tuple(cells),
        text="\n".join(each.removeprefix("#").removeprefix(" ") for each in text.splitlines()),
    )


def cards() -> list[Card]:
    """All cards, by section and name."""
    found = [card for file in (REPOSITORY / "conf" / "data").glob("*.yaml") if (card := card_of(file))]
    return sorted(found, key=lambda card: (SECTIONS.index(card.section), card.names))


def page() -> str:
    """The whole page."""
    found = cards()
    text = _HEAD + "".join(f"{card.row}\n" for card in found)
    for section in SECTIONS:
        text += f"\n## {section}\n"
        text += "".join(f"\n### {card.heading}\n\n{card.text}\n" for card in found if card.section == section)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
