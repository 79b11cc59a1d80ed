"""`omniformer evaluate RUN`: measures a finished run again, with the settings of that run."""

import argparse
from collections.abc import Sequence

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, add_device, add_weights, command_parser
from omniformer.garbage import unsearched


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the saved model of a run folder and prints a table.

    On its own data, numbers and predictions also go into the run's folder; on other data only where --out says. With
    --corrupt, it measures how much of some harm the model bears.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    if given.strengths and given.corrupt is None:
        parser.error("--strengths are of --corrupt; give both")
    with reported():
        with unsearched():
            from omniformer.device import chosen

            device = chosen(given.device)  # before the rest is loaded, which takes seconds
            from omniformer.experiment import evaluate

        asked = {name: getattr(given, name) for name in ("split", "weights", "allow_targets", "data_root", "data")}
        if given.corrupt is None:
            evaluate(given.run, device=device, out=given.out, **asked)
        else:
            from omniformer.experiment.robustness import sweep

            sweep(given.run, given.corrupt, given.strengths, device=device, out=given.out, **asked)


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("evaluate", description=main.__doc__)
    parser.add_argument("run", help="a run folder, for example outputs/vision/2026-11-22_10-00-00")
    parser.add_argument(
        "--split", choices=("test", "val"), default="test", help="which part of the data (default: test)"
    )
    parser.add_argument("--data-root", metavar="FOLDER", help="where the run's data lie on this machine")
    parser.add_argument(
        "--data",
        metavar="NAME_OR_TABLE",
        help="other data: a known set, or a table with the columns of the run's, which is its test split",
    )
    parser.add_argument("--out", metavar="FOLDER", help="where metrics.json and predictions.jsonl of other data go")
    parser.add_argument(
        "--corrupt",
        metavar="KIND[=MODALITY]",
        help="harm the samples more and more: noise, blur, crop, or missing=MODALITY; into RUN/robustness or --out",
    )
    parser.add_argument(
        "--strengths", nargs="+", type=float, metavar="X", help="of it; what is measured unharmed stands beside them"
    )
    add_device(parser)
    add_weights(parser)
    add_allow_targets(parser)
    return parser


if __name__ == "__main__":
    main()
