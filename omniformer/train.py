"""`omniformer train ...`: trains a model from a composed configuration."""

from pathlib import Path
from typing import Any

from omniformer.config import entry_point
from omniformer.garbage import unsearched
from omniformer.parallel.setup import check_described


def _newest_run(folders: list[Path], config: dict[str, Any]) -> Path | None:
    from omniformer.training.resume import newest_same_run

    return newest_same_run(config, folders)


def _after_sweep(runs: list[tuple[Path, list[str]]]) -> None:
    from omniformer.training.sweeps import print_spread

    print_spread(runs)


@entry_point("train", newest_run=_newest_run, after_sweep=_after_sweep)
def main(config: dict[str, Any]) -> float | None:
    """Trains a model on one modality or several, tests it and saves it.

    A sweep over folds or seeds ends with a table of their mean and spread.

    Returns:
        The best value of the watched metric, for sweeps.
    """
    # Before what takes seconds to import. A core that a run begins from is not known yet.
    check_described(config["trainer"], None if config["model"]["pretrained"] else config["core"])
    with unsearched():
        from omniformer.experiment import train

    return train(config)


if __name__ == "__main__":
    main()
