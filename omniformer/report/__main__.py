"""`omniformer report RUN`: what a run has learned, as a page for people."""

import argparse
from collections.abc import Sequence

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, command_parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes report.html, one file that needs no network, and report.md into a run folder: what was trained on what,
    curves, scores beside trivial answers, calibration, the hardest samples, and where the model looked.
    """
    given = build_parser().parse_args(arguments)
    with reported():
        from omniformer.report.writing import MARKDOWN, report

        page = report(given.run, data_root=given.data_root, allow_targets=given.allow_targets)
        print(f"written: {page} and {MARKDOWN} beside it")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("report", description=main.__doc__)
    parser.add_argument("run", help="a run folder, for example outputs/vision/latest")
    parser.add_argument("--data-root", help="where its data lie now (default: where they lay in training)")
    add_allow_targets(parser)
    return parser


if __name__ == "__main__":
    main()
