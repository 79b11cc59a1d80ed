"""What constructors say of a number or a name that cannot be, in the words of the configuration's ranges."""

from collections.abc import Iterable


def counts(**values: int | None) -> None:
    """Refuses what is no count; None, which stands for a default, passes.

    Raises:
        ValueError: a number is below 1.

    Example:
        >>> counts(n_layers=0)
        Traceback (most recent call last):
            ...
        ValueError: n_layers=0 must be at least 1
    """
    for name, value in values.items():
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} must be at least 1")


def not_negative(**values: float) -> None:
    """Refuses negative numbers.

    Raises:
        ValueError: a number is below 0 or not a number.
    """
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name}={value} must be at least 0")


def positive(**values: float) -> None:
    """Refuses what is not above 0, such as a deviation.

    Raises:
        ValueError: a number is 0, negative or not a number.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}={value} must be above 0")


def share(**values: float) -> None:
    """Refuses what is no part of a whole.

    Raises:
        ValueError: a number is not in 0 to 1.

    Example:
        >>> share(flip=1.5)
        Traceback (most recent call last):
            ...
        ValueError: flip=1.5 must be in 0 to 1
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value} must be in 0 to 1")


def some_share(**values: float) -> None:
    """Refuses what is no share of a whole or none of it.

    Raises:
        ValueError: a number is not above 0 and at most 1.
    """
    for name, value in values.items():
        if not 0 < value <= 1:
            raise ValueError(f"{name}={value} must be above 0 and at most 1")


def below_one(**values: float) -> None:
    """Refuses what is no share that leaves something, such as dropout: at 1 nothing would be left to scale up.

    Raises:
        ValueError: a number is not at least 0 and below 1.

    Example:
        >>> below_one(dropout=1.0)
        Traceback (most recent call last):
            ...
        ValueError: dropout=1.0 must be at least 0 and below 1
    """
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name}={value} must be at least 0 and below 1")


def known(choices: Iterable[str], **values: str) -> None:
    """Refuses a name that is not among the choices.

    Raises:
        ValueError: there is no such choice.

    Example:
        >>> known(("lstm", "gru"), cell="rnn")
        Traceback (most recent call last):
            ...
        ValueError: cell='rnn' is unknown; choose one of 'lstm', 'gru'
    """
    for name, value in values.items():
        if value not in (choices := tuple(choices)):
            raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(map(repr, choices))}")
