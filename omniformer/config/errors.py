"""What goes wrong with a configuration, said so that it can be mended at once."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher


class ConfigError(ValueError):
    """A configuration that cannot run; its text names every mistake found, not only the first.

    Args:
        problems: one line each: the key, what was received, what is accepted.

    Example:
        >>> print(ConfigError(["seed: received 'x', accepted: a whole number"]))
        seed: received 'x', accepted: a whole number
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = [f"{len(self.problems)} mistakes:", *(f"  - {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines) if len(self.problems) > 1 else "".join(self.problems))


class BuildError(ValueError):
    """A part of the configuration that could not be built; its text names the key and the class."""


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name most like the given one, or None where none is near.

    Args:
        name: as typed.
        names: those that there are.
        cutoff: the least likeness, of at most 1; 0.6 is that of `difflib`.

    Example:
        >>> nearest("visoin", ["text", "vision"]), nearest("xyz", ["text", "vision"])
        ('vision', None)
    """
    likeness = {each: SequenceMatcher(None, each, name).ratio() for each in names}
    best = max(likeness, key=lambda each: likeness[each], default=None)
    if best is None or likeness[best] < cutoff:
        # The word itself, inside a longer one, is near too.
        return next((each for each in likeness if cutoff <= 0.6 and len(name) > 2 and name in each), None)
    return best


def choices(name: str, names: Iterable[str]) -> str:
    """The names a message offers: all of a few, else those most like the given one.

    Example:
        >>> choices("c", ["a", "b"])
        'a, b'
    """
    names = list(dict.fromkeys(names))
    if len(names) <= 16:
        return ", ".join(names) or "no keys"
    likeness = {each: SequenceMatcher(None, name, each).ratio() for each in names}
    best = sorted(names, key=lambda each: -likeness[each])[:8]
    return f"{', '.join(best)} and {len(names) - len(best)} more"


def shown(value: object) -> str:
    """A received value as a message prints it, short."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
