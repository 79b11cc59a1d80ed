"""`omniformer compare RUN...`: runs beside each other."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from omniformer.config import ConfigError, reported
from omniformer.config.arguments import command_parser
from omniformer.terminal.tables import show


def main(arguments: Sequence[str] | None = None) -> None:
    """Says what differs in the settings of runs, and what they scored: mean and deviation where runs differ in their
    seed or fold alone; of two, whether the difference is more than chance.
    """
    given = build_parser().parse_args(arguments)
    with reported():
        from omniformer.compare.comparing import compared, drawn, table
        from omniformer.compare.runs import find, grouped
        from omniformer.files.durable import write_durably
        from omniformer.pages.page import html_page

        groups = grouped(find(given.runs))
        if sum(len(group.runs) for group in groups) < 2:
            raise ConfigError(["compare: received one run; give two at least, or a folder that holds several"])
        sections = compared(groups)
        _print(sections)
        if given.csv:
            write_durably(Path(given.csv), table(groups))
        if given.html:
            picture = drawn(groups)
            write_durably(
                Path(given.html),
                html_page("Runs compared", " ".join(given.runs), [*sections, *filter(None, [picture])]),
            )


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("compare", description=main.__doc__)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folders, folders of them such as sweeps, or patterns"
    )
    parser.add_argument("--csv", metavar="FILE", help="write the table here, a row a setting")
    parser.add_argument("--html", metavar="FILE", help="write a page here, with the curves in one picture")
    return parser


def _print(sections: Sequence) -> None:
    from rich.table import Table
    from rich.text import Text

    from omniformer.pages import blocks

    for section in sections:
        for block in section.blocks:
            if isinstance(block, blocks.Table):
                shown = Table(title=Text(section.title), title_justify="left", caption=Text(block.caption))
                for name in block.header:
                    shown.add_column(Text(name), overflow="fold")
                for row in block.rows:
                    shown.add_row(*map(Text, row))
                show(shown)
            elif isinstance(block, blocks.Words):
                print(f"{section.title}: {block.text}")


if __name__ == "__main__":
    main()
