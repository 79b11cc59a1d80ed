"""`omniformer prepare DATA`: what is in your data, and an experiment that learns from them."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from omniformer.config import reported
from omniformer.config.arguments import columns_in, command_parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a report, and the command that trains."""
    given = build_parser().parse_args(arguments)
    with reported():
        columns = columns_in(given.columns)
        from omniformer.files.durable import write_durably
        from omniformer.prepare.preparing import prepare

        made = prepare(
            given.data,
            targets=given.target,
            columns=columns,
            out=given.out,
            name=given.name,
            overwrite=given.overwrite,
        )
        if given.json:
            write_durably(Path(given.json), json.dumps(made.findings, indent=2, ensure_ascii=False) + "\n")
        command = ["--config-dir", str(given.out), f"experiment={made.name}"]
        print(made.told())
        shown = f"some samples: {made.page}\n" if made.page else ""
        print(f"\n{shown}written: {made.file}\n\n    omniformer train {' '.join(command)}\n")
    if given.train:
        from omniformer.train import main as train

        train(command)


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("prepare", description=main.__doc__)
    forms = (
        "CSV, TSV, JSON lines, Parquet, Arrow, tar shards; a folder of such, of datasets, of classes; "
        "nodes.*, edges.*; train.en, train.de"
    )
    roles = "roles in the place of guesses: '{photo: vision, note: null}'; null leaves a column out"
    parser.add_argument("data", help=forms)
    parser.add_argument("--target", nargs="+", default=[], metavar="COLUMN", help="what is to be predicted")
    parser.add_argument("--columns", metavar="YAML", help=roles)
    parser.add_argument("--out", default="my_conf", help="the folder of your configurations (default: my_conf)")
    parser.add_argument("--name", help="of the experiment (default: that of the file)")
    parser.add_argument("--overwrite", action="store_true", help="replace an experiment of that name")
    parser.add_argument("--json", metavar="FILE", help="write all that was found here")
    parser.add_argument("--train", action="store_true", help="train at once")
    return parser


if __name__ == "__main__":
    main()
