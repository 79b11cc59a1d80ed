"""`python -m omniformer.evaluate RUN`: measures a finished run again, with the settings of that run."""

import argparse
from collections.abc import Sequence

from omniformer.config import reported


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the saved model of a run folder and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m omniformer.evaluate", description=main.__doc__)
    parser.add_argument("run", help="a run folder, for example outputs/vision/2026-11-22_10-00-00")
    parser.add_argument(
        "--split", choices=("test", "val"), default="test", help="which part of the data (default: test)"
    )
    parser.add_argument(
        "--allow-targets", nargs="*", default=[], metavar="PACKAGE", help="packages of your own that the run names"
    )
    given = parser.parse_args(arguments)
    with reported():
        from omniformer.experiment import evaluate

        evaluate(given.run, split=given.split, allow_targets=given.allow_targets)


if __name__ == "__main__":
    main()
