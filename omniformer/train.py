"""`omniformer train ...`: trains a model from a composed configuration."""

from pathlib import Path
from typing import Any

from omniformer.config import entry_point


def _newest_run(folders: list[Path], config: dict[str, Any]) -> Path | None:
    from omniformer.training.resume import newest_same_run

    return newest_same_run(config, folders)


@entry_point("train", newest_run=_newest_run)
def main(config: dict[str, Any]) -> float | None:
    """Trains a model on one modality or several, tests it and saves it.

    Returns:
        The best value of the watched metric, for sweeps.
    """
    from omniformer.experiment import train

    return train(config)


if __name__ == "__main__":
    main()
