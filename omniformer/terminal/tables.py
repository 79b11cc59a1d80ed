"""Tables that people read on a terminal, and programs in a pipe."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 100_000  # columns: a pipe has no width, and a path or name that is folded or cut there is lost


def show(table: "Table") -> None:
    """Prints a table, its title above it: in the width of a terminal or notebook, elsewhere as wide as it is.

    Args:
        table: the table; it is left without its title.

    Example:
        >>> from rich.table import Table
        >>> table = Table("score", title="of a path")
        >>> table.add_row("0.5")
        >>> show(table)  # doctest: +SKIP
    """
    from rich.console import Console

    console = Console()
    if not (sys.stdout.isatty() or console.is_jupyter):
        console = Console(width=_WIDE)
    if table.title is not None:
        console.print(table.title, style="table.title", soft_wrap=True)
        table.title = None
    console.print(table)
