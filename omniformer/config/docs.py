"""What the source says of classes, functions and their parameters: docstrings in Google's style, read, never run."""

import ast
import re
from collections.abc import Iterator
from textwrap import dedent

from omniformer.config.source import Definition, Function, find, lineage

_SECTION = re.compile(r"[A-Z]\w*( \w+)?:")
_ENTRY = re.compile(r"\*{0,2}`{0,2}(?P<name>\w+)`{0,2}(?: \([^()]*(?:\([^()]*\)[^()]*)*\))?: ?(?P<text>.*)")


def summary(definition: Definition) -> str:
    """The first paragraph of the docstring of a class or function, or of its constructor; empty where there is none.

    Example:
        >>> from omniformer.config.source import find
        >>> summary(find("json.JSONDecoder"))
        'Simple JSON <https://json.org> decoder'
    """
    text = next(filter(None, _own_docstrings(definition)), "")
    return " ".join(text.split("\n\n")[0].split())


def meaning(definition: Definition, parameter: str) -> str | None:
    """What the source says of a parameter: the class's own docstring, its constructor's, then those of its bases.

    Args:
        definition: the class or function that takes it.
        parameter: its name.

    Example:
        >>> from omniformer.config.source import find
        >>> meaning(find("omniformer.config.errors.nearest"), "name")
        'as typed.'
    """
    return next((found for text in _docstrings(definition) if (found := arguments(text).get(parameter))), None)


def _docstrings(definition: Definition) -> Iterator[str]:
    owners = list(lineage(definition)) if definition.is_class else [definition]
    if not definition.is_class and "." in definition.qualname:  # a class speaks for its other constructors
        owners.append(find(definition.path.rpartition(".")[0]))
    for owner in owners:
        yield from _own_docstrings(owner)


def _own_docstrings(definition: Definition) -> Iterator[str]:
    """That of a class or function itself, then that of a class's constructor."""
    yield ast.get_docstring(definition.node) or ""
    for node in definition.node.body if definition.is_class else ():
        if isinstance(node, Function) and node.name in ("__init__", "__new__"):
            yield ast.get_docstring(node) or ""


def arguments(docstring: str) -> dict[str, str]:
    r"""The entries of the section `Args:`, each on one line.

    Args:
        docstring: with the indent of its first line taken away, as `ast.get_docstring` gives it.

    Example:
        >>> arguments("Adds.\n\nArgs:\n    a: one number,\n        at least 0.\n    b (int): another.")
        {'a': 'one number, at least 0.', 'b': 'another.'}
    """
    lines = docstring.splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() in ("Args:", "Arguments:")), None)
    if start is None:
        return {}
    section: list[str] = []
    for line in lines[start + 1 :]:
        if line.strip() and not line[0].isspace():
            break
        section.append(line.expandtabs(4))
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in dedent("\n".join(section)).splitlines():
        entry = None if line[:1].isspace() else _ENTRY.fullmatch(line)
        if entry is not None:
            current = found.setdefault(entry["name"], [])
        current.append(entry["text"] if entry is not None else line.strip())
    return {name: " ".join(" ".join(text).split()) for name, text in found.items()}
