"""`omniformer consolidate RUN`: writes the model folder of a run from a checkpoint, whole or in pieces."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, command_parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the folder `model` of a run that was stopped, or of another checkpoint than the one it ended with, on one
    machine without a GPU.
    """
    given = build_parser().parse_args(arguments)
    with reported():
        taken = consolidate(given.run, checkpoint=given.checkpoint, allow_targets=given.allow_targets)
        print(f"{given.run}/model holds the weights of {taken}")


def consolidate(run: str | Path, *, checkpoint: str | Path | None = None, allow_targets: Sequence[str] = ()) -> Path:
    """Writes the folder `model` of a run from one of its checkpoints, which may lie in pieces.

    Args:
        run: the run folder, of a finished run or of one that was stopped.
        checkpoint: which; None for the best one where there is one, else the newest.
        allow_targets: packages of your own whose classes the run may name; the folder itself cannot allow any.

    Returns:
        The checkpoint that was taken.

    Raises:
        FileNotFoundError: the folder is no run, or holds no checkpoint that verifies.
        CorruptCheckpointError: the checkpoint is damaged.
        ConfigError: it is not one of this run.
    """
    from omniformer.allocator import keep_memory
    from omniformer.experiment import assemble
    from omniformer.run_folder import read_run, reading_run
    from omniformer.tasks.module import TrainingModule
    from omniformer.training.checkpoint_io import DurableCheckpointIO, latest_checkpoint
    from omniformer.training.resume import check_fits

    keep_memory()
    output, config = read_run(run)
    best = output / "checkpoints" / "best.ckpt"
    path = latest_checkpoint(checkpoint or (best if best.is_file() else output))
    with reading_run(config, allow_targets):
        experiment = assemble(config)
    module = TrainingModule(model=experiment.model, tasks=experiment.tasks)
    check_fits(module, path)
    module.load_state_dict(DurableCheckpointIO().load_checkpoint(path)["state_dict"])
    experiment.save(output, allow_targets)
    experiment.describe(output)
    return path


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("consolidate", description=main.__doc__)
    parser.add_argument("run", help="a run folder, for example outputs/text/2026-11-22_10-00-00")
    parser.add_argument("--checkpoint", help="a file in its checkpoints (default: best.ckpt, else the newest)")
    add_allow_targets(parser)
    return parser


if __name__ == "__main__":
    main()
