"""What a finished run says of itself: the table of its numbers."""

from collections.abc import Iterable, Mapping

from omniformer.terminal.tables import show


def print_results(
    numbers: Mapping[str, float],
    *,
    title: str = "results",
    main: str = "",
    beside: Mapping[str, str] | None = None,
) -> None:
    """Prints the numbers as a table: test first, then the best and last validation, then training.

    Args:
        numbers: by name.
        title: of the table.
        main: the metric that comes first of each, such as `val/accuracy`.
        beside: what stands beside a number, by its name: the scores of simple methods.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    if beside:
        table.add_column("simple methods", overflow="fold")
    for name in ordered(numbers, main=main):
        table.add_row(escape(name), format_number(name, numbers[name]), *([beside.get(name, "")] if beside else []))
    show(table)


def ordered(names: Iterable[str], *, main: str = "") -> list[str]:
    """The names of numbers as a table shows them: test first, then the best and last validation, then training.

    Args:
        names: of the numbers.
        main: the metric that comes first of each, such as `val/accuracy`.
    """
    return sorted(names, key=lambda name: (_rank(name), name.split("/")[-1] != main.split("/")[-1], name))


def format_number(name: str, value: float) -> str:
    """A number as people read it: counts whole, seconds and rates with one place, the rest with four digits.

    Example:
        >>> format_number("parameters", 1234567), format_number("train/seconds", 61.24)
        ('1,234,567', '61.2')
        >>> format_number("test/accuracy", 0.98765), format_number("test/accuracy", 1.0)
        ('0.9877', '1.0000')
    """
    share = isinstance(value, float) and "/" in name and abs(value) <= 1
    if not share and (isinstance(value, int) or float(value).is_integer()):
        return f"{int(value):,}" if name != "seed" else str(int(value))
    if name.endswith(("seconds", "per_second")):
        return f"{value:,.1f}"
    return f"{value:.4g}" if 0 < abs(value) < 1e-3 or abs(value) >= 1e5 else f"{value:,.4f}"


def _rank(name: str) -> int:
    parts = name.split("/")
    order = ("test", "best", "val", "train")
    return next((order.index(part) for part in parts if part in order), len(order))
