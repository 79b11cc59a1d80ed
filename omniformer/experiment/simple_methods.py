"""What trivial answers and simple methods score on the data of a run, beside its own scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniformer import baselines as simple
from omniformer.config import ConfigError
from omniformer.experiment.experiment import Experiment, assemble
from omniformer.experiment.matching import need_targets
from omniformer.training.trainer import quiet


def baselines(config: Mapping[str, Any]) -> list[Path]:
    """Measures simple methods on the data of a run and prints a table of each member; see `omniformer.baselines`.

    Returns:
        The file of each member's scores, under `paths.output_root`.

    Raises:
        ConfigError: no simple method knows any of the tasks.
    """
    quiet()
    # What the model begins from is no concern of theirs.
    experiment = assemble({**config, "model": {}})
    need_targets(experiment.tasks, experiment.data)
    files = []
    for name, task in experiment.tasks.items():
        if (problem := simple.problem_of(name, experiment.data, task)) is not None:
            files.append(simple.compute(Path(config["paths"]["output_root"]), problem, config["seed"]))
    if not files:
        mistake = (
            "baseline: no simple method is known for this task; there are some for classes, yes-no questions and "
            "numbers of a sample, classes of nodes, written texts, and pictures and sounds in ids"
        )
        raise ConfigError([mistake])
    return files


def trivial(experiment: Experiment) -> dict[str, float]:
    """What trivial answers score, by the names under which `metrics.json` has them."""
    own = {}
    for name, stream in experiment.data.streams.items():
        prefix = f"{name}/" if len(experiment.tasks) > 1 else ""
        own |= {f"{prefix}baseline/{key}": value for key, value in stream.source.baselines().items()}
    return own


def scores(
    config: Mapping[str, Any], experiment: Experiment, *, compute: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """What simple methods score on the data of a run, where they were measured: as numbers by name, and as what stands
    beside the run's own.

    Args:
        config: of the run.
        experiment: its data and tasks.
        compute: whether they are measured where they were not.
    """
    root, found, beside = Path(config["paths"]["output_root"]), {}, {}
    for name, task in experiment.tasks.items():
        if (problem := simple.problem_of(name, experiment.data, task)) is None:
            continue
        known = simple.stored(root, problem)
        if known is None and compute:
            simple.compute(root, problem, config["seed"])
            known = simple.stored(root, problem)
        if known is not None:
            prefix = f"{name}/" if len(experiment.tasks) > 1 else ""
            found |= {f"{prefix}{key}": value for key, value in simple.numbers(known[1]).items()}
            beside |= {f"{prefix}{key}": said for key, said in simple.beside(known[1], task.reported("test")).items()}
    return found, beside
