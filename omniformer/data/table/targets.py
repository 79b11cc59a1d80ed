"""From cells to what is to be predicted."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from omniformer.data.table.contents import shown

UNANSWERED = (-1, -1)
_UNKNOWN = ("na", "n/a", "nan", "null", "none", "?")
_YES_NO = {"1": 1.0, "1.0": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0, "no": 0.0}


def number(cell: Any) -> float:
    """A number; NaN where it is not known: an empty cell, or a word such as `NA`.

    Raises:
        ValueError: it is no finite number.

    Example:
        >>> number("1e3"), number("NA")
        (1000.0, nan)
    """
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in _UNKNOWN):
        return float("nan")
    try:
        found = float("none") if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number, received {shown(cell)}") from None
    if found in (float("inf"), float("-inf")):
        raise ValueError(f"expected a finite number, received {shown(cell)}")
    return found


def yes_or_no(cell: Any) -> float:
    """The answer to a yes-no question, 1 or 0; NaN where there is none.

    Raises:
        ValueError: it is neither.

    Example:
        >>> yes_or_no("yes"), yes_or_no(False), yes_or_no(None)
        (1.0, 0.0, nan)
    """
    text = "nan" if cell is None else str(cell).strip().lower()
    if text in _UNKNOWN:
        return float("nan")
    if text not in _YES_NO:
        raise ValueError(f"expected yes or no (1 or 0, true or false), received {shown(cell)}")
    return _YES_NO[text]


def class_of(cell: Any, names: Sequence[str] = ()) -> str:
    """The name of a class: a word, a whole number, or a number that the format has a name for.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> class_of(" cat "), class_of(3.0), class_of(1, ["cat", "dog"])
        ('cat', '3', 'dog')
    """
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    if isinstance(cell, int) and names:
        if not 0 <= cell < len(names):
            raise ValueError(f"class {cell} is not one of the {len(names)} that the format names")
        return names[cell]
    if isinstance(cell, str | int):
        return str(cell).strip()
    hint = "; for numbers there is the role 'value'" if isinstance(cell, float) else ""
    raise ValueError(f"expected the name of a class, received {shown(cell)}{hint}")


def tags_of(cell: Any, separator: str, names: Sequence[str] = ()) -> list[str]:
    """The names of several classes: a list of them, or a text with something between them.

    Raises:
        ValueError: it is neither.

    Example:
        >>> tags_of("red; blue", ";"), tags_of(["red"], ";")
        (['red', 'blue'], ['red'])
    """
    if isinstance(cell, str):
        return [part.strip() for part in cell.split(separator) if part.strip()]
    if isinstance(cell, list):
        return [class_of(each, names) for each in cell]
    raise ValueError(f"expected a list of names, or names with {separator!r} between them, received {shown(cell)}")


def token_classes(cell: Any, names: Sequence[str] = ()) -> list[str | None]:
    """The class of each word or node: a list, in which null is one without a class, or names with blanks between them.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(cell, str):
        return list(cell.split())
    if isinstance(cell, list):
        return [None if each is None else class_of(each, names) for each in cell]
    raise ValueError(f"expected a list of classes, one for each word or node, received {shown(cell)}")


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The names of classes in a fixed order: by name, whole numbers by size.

    Example:
        >>> in_order(["10", "9"]), in_order(["b", "a"])
        (('9', '10'), ('a', 'b'))
    """
    found = set(names)
    whole = all(name.removeprefix("-").isdecimal() for name in found)
    return tuple(sorted(found, key=lambda name: (int(name), name) if whole else (0, name)))


def hot(tags: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Yes or no for each class.

    Example:
        >>> hot(["b"], ["a", "b"]).tolist()
        [0.0, 1.0]
    """
    return torch.tensor([float(name in tags) for name in classes])


def span_of(text: str, begin: Any, end: Any, answer: Any) -> tuple[int, int]:
    """From which to before which character of a text an answer stands; (-1, -1) where there is none.

    Args:
        text: the text.
        begin: its first character, from 0; of a list the first entry. None looks for the answer.
        end: the one behind its last character; None takes the length of the answer.
        answer: the answer itself; None where it is not given.

    Raises:
        ValueError: it does not stand in the text, or not there.

    Example:
        >>> span_of("a cat sat", 2, None, "cat"), span_of("a cat sat", None, None, "sat")
        ((2, 5), (6, 9))
    """
    begin, end, answer = (_first(each) for each in (begin, end, answer))
    if begin is None and answer is None:
        return UNANSWERED
    if answer is not None and not isinstance(answer, str):
        raise ValueError(f"expected the text of an answer, received {shown(answer)}")
    if begin is None:
        start = text.find(str(answer))
        if start < 0:
            raise ValueError(f"the answer {shown(answer)} does not stand in the text")
        return start, start + len(str(answer))
    if end is None and answer is None:
        raise ValueError("a span begins and does not end; give its end, or the role 'span.text' to a column")
    start, stop = _whole(begin), _whole(end) if end is not None else _whole(begin) + len(str(answer))
    if start == stop == -1:
        return UNANSWERED
    if not 0 <= start < stop <= len(text):
        raise ValueError(f"the span {start}..{stop} is not within the {len(text)} characters of the text")
    if answer is not None and text[start:stop] != answer:
        raise ValueError(f"{shown(text[start:stop])} stands at {start}..{stop}, not the answer {shown(answer)}")
    return start, stop


def _first(cell: Any) -> Any:
    return (cell[0] if cell else None) if isinstance(cell, list) else cell


def _whole(cell: Any) -> int:
    found = number(cell)
    if not found.is_integer():
        raise ValueError(f"expected the number of a character, received {shown(cell)}")
    return int(found)
