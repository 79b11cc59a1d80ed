"""What the commands with options of their own have in common: how they are named, `--version`, `--allow-targets`."""

import argparse
import sys
from collections.abc import Sequence

from omniformer._called import called, versions


def command_parser(verb: str, *, description: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """A parser that is named as the command was called.

    Args:
        verb: of `omniformer`.
        description: what the command does.
        epilog: what stands below the options in `--help`.

    Example:
        >>> command_parser("predict", description="Predicts.").prog.split()[-1].removeprefix("omniformer.")
        'predict'
    """
    parser = argparse.ArgumentParser(prog=called(verb), description=description, epilog=epilog)
    parser.add_argument("--version", action="version", version=versions(), help="print the versions and stop")
    return parser


def add_allow_targets(parser: argparse.ArgumentParser) -> None:
    """Adds `--allow-targets`: packages of the user's own whose classes a run may name."""
    parser.add_argument(
        "--allow-targets", nargs="*", default=[], metavar="PACKAGE", help="packages of your own that the run names"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds `--device`, for `omniformer.device.chosen`."""
    parser.add_argument(
        "--device",
        default="auto",
        help="where the model runs: cpu, cuda, cuda:1, mps ... (default: auto, a GPU where there is one)",
    )


def tell_unread(bad: Sequence[Exception]) -> None:
    """Says what could not be read, one line each, and how much it was, after all else was done."""
    for error in bad:
        print(f"error: {error}", file=sys.stderr)
    print(f"({len(bad)} input{'s' if len(bad) > 1 else ''} could not be read; all others were)", file=sys.stderr)
