"""What a page is made of; each block says itself in HTML and in Markdown, with everything that it is told escaped."""

import html
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field


class Block(ABC):
    """A part of a page."""

    @abstractmethod
    def html(self) -> str:
        """As HTML."""

    @abstractmethod
    def markdown(self) -> str:
        """As Markdown; what only a browser can show is named."""


@dataclass(frozen=True, slots=True)
class Words(Block):
    """A paragraph of plain text.

    Example:
        >>> Words("a < b").html()
        '<p>a &lt; b</p>'
    """

    text: str

    def html(self) -> str:
        return f"<p>{html.escape(self.text)}</p>"

    def markdown(self) -> str:
        return _marked(self.text)


@dataclass(frozen=True, slots=True)
class Command(Block):
    """Something to be typed."""

    text: str

    def html(self) -> str:
        return f"<pre class=command>{html.escape(self.text)}</pre>"

    def markdown(self) -> str:
        return "\n".join(f"    {line}" for line in self.text.splitlines())


@dataclass(frozen=True, slots=True)
class Table(Block):
    r"""Rows of plain text below a header; the first column stands left, the others right where all of them are numbers.

    Args:
        header: the names of the columns.
        rows: as many cells each.
        caption: what stands above; nothing where it is empty.

    Example:
        >>> print(Table(["class", "F1"], [["a|b", "0.5"]]).markdown())
        | class | F1 |
        |---|---:|
        | a\|b | 0.5 |
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def html(self) -> str:
        right = self._right()
        head = "".join(_cell("th", each, at) for each, at in zip(self.header, right, strict=True))
        body = "".join(
            f"<tr>{''.join(_cell('td', each, at) for each, at in zip(row, right, strict=True))}</tr>\n"
            for row in self.rows
        )
        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        return f"<div class=wide><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"

    def markdown(self) -> str:
        rule = "".join(f"{'---:' if at else '---'}|" for at in self._right())
        lines = [_row(self.header), f"|{rule}", *map(_row, self.rows)]
        return "\n".join([*([f"{_marked(self.caption)}\n"] if self.caption else []), *lines])

    def _right(self) -> list[bool]:
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.header)
        return [all(_NUMBER.fullmatch(each) for each in column) and bool(column) for column in columns]


_NUMBER = re.compile(r"[-+]?[\d.,e%+\- ±]*|nan")


def _cell(tag: str, text: str, right: bool) -> str:
    return f"<{tag}{' class=n' if right else ''}>{html.escape(text)}</{tag}>"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_marked(each).replace('|', chr(92) + '|') for each in cells)} |"


def _marked(text: str) -> str:
    """Text on one line that Markdown shows as it is: neither tags, styles, links nor pictures are made of it."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(text.split()))


@dataclass(frozen=True, slots=True)
class Marked(Block):
    """A text of which each token is marked as strongly as it counts.

    Args:
        tokens: what they say, in order.
        weights: of each, none below 0; the largest one is marked fully.
        caption: what they are.

    Example:
        >>> Marked(["a", "fine", "film"], [0.0, 0.6, 0.3]).markdown()
        'a **fine** film'
    """

    tokens: Sequence[str]
    weights: Sequence[float]
    caption: str = ""

    def html(self) -> str:
        caption = f"<p class=more>{html.escape(self.caption)}</p>" if self.caption else ""
        return f"<p class=marked>{self._between().join(map(self._token, self.tokens, self.weights))}</p>{caption}"

    def markdown(self) -> str:
        """The strongest fifth, one token at least, in bold."""
        least = sorted(self.weights, reverse=True)[len(self.weights) // 5] if self.weights else 0.0
        words = [
            f"**{_marked(token)}**" if weight >= least > 0 else _marked(token)
            for token, weight in zip(self.tokens, self.weights, strict=True)
        ]
        caption = [_marked(self.caption)] if self.caption else []
        return "\n\n".join([*caption, self._between().join(words)])

    def _between(self) -> str:
        """Nothing between letters, a blank between words."""
        return " " if any(len(token) > 2 for token in self.tokens) else ""

    def _token(self, token: str, weight: float) -> str:
        share = round(100 * weight / max(*self.weights, 1e-12))
        return f'<mark style="--share:{share}%" title="{weight:.4f}">{html.escape(token)}</mark>'


@dataclass(frozen=True, slots=True)
class Picture(Block):
    """A drawing.

    Args:
        svg: as `omniformer.pages.drawing.drawn` makes it.
        caption: what it shows.
        small: whether several stand beside each other.
    """

    svg: str
    caption: str
    small: bool = False

    def html(self) -> str:
        kind = " class=small" if self.small else ""
        return f"<figure{kind}>{self.svg}<figcaption>{html.escape(self.caption)}</figcaption></figure>"

    def markdown(self) -> str:
        return f"({_marked(self.caption)}: drawn in the page for browsers)"


@dataclass(frozen=True, slots=True)
class Card:
    """One sample.

    Args:
        title: its name.
        body: what it is, as HTML made by `omniformer.pages.contents`.
        lines: what is said of it.
        wrong: whether what was said of it is wrong.
    """

    title: str
    body: str
    lines: Sequence[str] = ()
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Cards(Block):
    """Samples beside each other."""

    cards: Sequence[Card]

    def html(self) -> str:
        return f"<div class=cards>{''.join(map(self._card, self.cards))}</div>"

    def markdown(self) -> str:
        return "\n".join(f"- {_marked('; '.join([card.title, *card.lines]))}" for card in self.cards)

    def _card(self, card: Card) -> str:
        said = "".join(f"<p>{html.escape(line)}</p>" for line in card.lines)
        kind = "card wrong" if card.wrong else "card"
        return f'<div class="{kind}">{card.body}<h4>{html.escape(card.title)}</h4>{said}</div>\n'


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks below a heading."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
