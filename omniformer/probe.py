"""`omniformer probe RUN data=...`: how much the vectors of a frozen model tell, by a linear map and by neighbours."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omniformer.config import ConfigError, query
from omniformer.terminal.tables import show

# The class that describes the keys of conf/train.yaml.
ROOT = "omniformer.config.root.Root"
_EXAMPLES = (
    ("outputs/vision/latest modality=vision data=mnist data_root=data", "a run's vectors, on another data set"),
    ("models/minilm experiment=intents data_root=data", "a published model, on the data and task of an experiment"),
)


@query("train", ROOT, _EXAMPLES, first=("RUN", "model.pretrained"))
def main(config: dict[str, Any]) -> list[Path]:
    """Says how much the vectors of a frozen model tell, by a linear map and by the nearest training samples.

    What these have to choose, they choose on validation; vectors are kept, by a hash of model and data.

    Returns:
        The `probe.json` of each member.
    """
    from omniformer import folder
    from omniformer.baselines import problem_of
    from omniformer.baselines.probes import KINDS, probes
    from omniformer.device import chosen
    from omniformer.experiment import assemble

    source = (config["model"] or {}).get("pretrained")
    if not source:
        raise ConfigError(["probe: received no model; give a run, the folder of a published model, or a name, first"])
    predictor = folder.load(source, allow_targets=config["allow_targets"])
    predictor.model.to(chosen("auto"))
    experiment = assemble({**config, "model": {}})
    files = []
    for name, task in experiment.tasks.items():
        problem = problem_of(name, experiment.data, task)
        if problem is None or problem.kind not in KINDS:
            continue
        root = Path(config["paths"]["output_root"]) / "probes"
        files.append(_told(source, name, problem, list(probes(problem, predictor, root, config["seed"]))))
    if not files:
        mistake = (
            "probe: no task here asks for classes, yes-no questions or numbers of whole samples; choose one that does, "
            "such as task=classification"
        )
        raise ConfigError([mistake])
    return files


def _told(source: str, name: str, problem: Any, found: Sequence[tuple[Any, str, Path]]) -> Path:
    """Prints the table of a member and writes its file; gives that."""
    from rich.table import Table
    from rich.text import Text

    from omniformer.files.durable import write_durably

    splits = list(found[0][0].scores)
    main = problem.main(found[0][0].scores)
    samples = {split: len(raws) for split, raws in problem.raws.items()}
    table = Table(title=Text(f"{name}: probes of {source}"), title_justify="left")
    for column in ("probe", *(f"{split}/{main}" for split in splits), "chosen", "samples", "seconds"):
        table.add_column(column, justify="right" if "/" in column else "left")
    for score, choice, _ in found:
        values = [f"{score.scores[split].get(main, float('nan')):.4f}" for split in splits]
        choice = choice if "val" in samples else f"{choice}, by default"
        table.add_row(score.name, *values, choice, f"{score.samples:,}", f"{score.seconds:.1f}")
    show(table)
    path = found[0][2] / "probe.json"
    rows = [asdict(score) | {"chosen": choice} for score, choice, _ in found]
    told = {"format": 1, "model": str(source), "name": name, "samples": samples, "scores": rows}
    write_durably(path, json.dumps(told, indent=2) + "\n")
    print(f"kept in {path.parent}")
    return path


if __name__ == "__main__":
    main()
