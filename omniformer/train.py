"""`omniformer train ...`: trains a model from a composed configuration."""

from typing import Any

from omniformer.config import entry_point


@entry_point("train")
def main(config: dict[str, Any]) -> float | None:
    """Trains a model on one modality or several, tests it and saves it.

    Returns:
        The best value of the watched metric, for sweeps.
    """
    from omniformer.experiment import train

    return train(config)


if __name__ == "__main__":
    main()
