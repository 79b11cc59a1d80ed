"""`omniformer consolidate RUN`: writes the model folder of a run from a checkpoint, whole or in pieces."""

import argparse
from collections.abc import Sequence

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, command_parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the folder `model` of a run that was stopped, or of another checkpoint than the one it ended with, on one
    machine without a GPU.
    """
    given = build_parser().parse_args(arguments)
    with reported():
        from omniformer.experiment import consolidate

        taken = consolidate(given.run, checkpoint=given.checkpoint, allow_targets=given.allow_targets)
        print(f"{given.run}/model holds the weights of {taken}")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("consolidate", description=main.__doc__)
    parser.add_argument("run", help="a run folder, for example outputs/text/2026-11-22_10-00-00")
    parser.add_argument("--checkpoint", help="a file in its checkpoints (default: best.ckpt, else the newest)")
    add_allow_targets(parser)
    return parser


if __name__ == "__main__":
    main()
