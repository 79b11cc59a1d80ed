"""`omniformer baseline ...`: what simple methods make of the data of a run."""

from pathlib import Path
from typing import Any

from omniformer.config import query
from omniformer.garbage import unsearched

# The class that describes the keys of conf/train.yaml.
ROOT = "omniformer.config.root.Root"
_EXAMPLES = (
    ("experiment=intents data_root=data", "the data and the task of an experiment"),
    ("modality=vision data=mnist data_root=data", "of any set with any task"),
    ("experiment=found --config-dir my_conf", "of your own table, as omniformer prepare has found it"),
)


@query("train", ROOT, _EXAMPLES)
def main(config: dict[str, Any]) -> list[Path]:
    """Measures simple methods on the data of a run, by the metric of its task; later runs on these data show them.

    Returns:
        The `baseline.json` of each member.
    """
    with unsearched():
        from omniformer.experiment import baselines

    return baselines(config)


if __name__ == "__main__":
    main()
