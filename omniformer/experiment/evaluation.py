"""The saved model of a finished run, measured."""

from collections.abc import Sequence
from pathlib import Path

import torch
from lightning import Callback

from omniformer import finetuning, folder
from omniformer.allocator import keep_memory
from omniformer.config import ConfigError
from omniformer.data.corruption import Corruption
from omniformer.data.module import OmniDataModule
from omniformer.data.other import with_data_root, with_other_data
from omniformer.data.source import Split
from omniformer.experiment import simple_methods
from omniformer.experiment.experiment import assemble
from omniformer.predictor import Predictor
from omniformer.quantization import Weights
from omniformer.run_folder import read_run, reading_run
from omniformer.tasks.module import TrainingModule
from omniformer.training.metrics_file import MetricsFile
from omniformer.training.predictions import Predictions
from omniformer.training.results import print_results
from omniformer.training.stop import Stop
from omniformer.training.trainer import build_trainer, measuring, quiet


def evaluate(
    run: str | Path,
    *,
    split: Split = "test",
    weights: Weights | None = None,
    allow_targets: Sequence[str] = (),
    device: torch.device | None = None,
    data_root: str | None = None,
    data: str | None = None,
    out: str | Path | None = None,
    corruption: Corruption | None = None,
) -> dict[str, float]:
    """Measures the saved model of a finished run on its own data, with the settings of that run, or on other data.

    Args:
        run: the run folder.
        split: test or val.
        weights: rounded as by `omniformer.load`.
        allow_targets: packages of your own whose classes the run may name; the folder itself cannot allow any.
        device: where the model runs, in one process; None for what the run's trainer says.
        data_root: where data lie on this machine; None for where they lay.
        data: other data, see `omniformer.data.other.with_other_data`.
        out: the folder into which the numbers and predictions of other data go; nothing is written without one.
        corruption: harms the samples; what is measured of these is neither written nor printed.

    Returns:
        The metrics by name; those of its own data also go into the run's `metrics.json`, those of rounded weights into
        a file of their own, such as `metrics-int8.json`, as predictions do.

    Raises:
        FileNotFoundError: the folder is not a finished run.
        ValueError: other data have other classes, or there is no such split.
    """
    keep_memory()
    quiet()
    output, config = read_run(run)
    if data_root is not None:
        config = with_data_root(config, data_root)
    if data is not None:
        config = with_other_data(config, data)
    elif out is not None:
        raise ConfigError([f"--out {out} is for other data; what is measured on its own goes into {output}"])
    saved = folder.load(output, weights=weights, allow_targets=allow_targets)
    with reading_run(config, allow_targets):
        experiment = assemble(config, finetuning.measured(output, saved))
        _read(experiment.data, saved, split, corruption)
    if not any(stream.raws(split) for stream in experiment.data.streams.values()):
        whose = run if data is None else data
        raise ConfigError([f"{whose}: no sample with what is to be predicted is in the {split} split"])
    into = None if corruption else output if data is None else None if out is None else Path(out)
    callbacks = {"stop": Stop(dirpath=None)} | ({} if into is None else _writers(into, weights, config["seed"]))
    options = measuring(config["trainer"], device)
    trainer = build_trainer(options, callbacks=callbacks, loggers={}, output_dir=str(output))
    module = TrainingModule(model=experiment.model, tasks=experiment.tasks)
    measure = {"test": trainer.test, "val": trainer.validate}[split]
    (results,) = measure(module, datamodule=experiment.data, verbose=False)
    if corruption is not None:
        return dict(results)
    title = config["name"] if data is None else f"{config['name']} on {Path(data).name}"
    beside = simple_methods.scores(config, experiment, compute=False)[1]
    print_results(results, title=f"{title}: {split} split", main=module.watched.metric, beside=beside)
    return dict(results)


def _read(data: OmniDataModule, saved: Predictor, split: Split, corruption: Corruption | None) -> None:
    """Reads the samples of a split, harmed where it is asked for.

    Raises:
        ValueError: they have other classes than the saved model.
    """
    for name, stream in data.streams.items():
        stream.corruption = corruption
        if (labels := data.labels(name)) != saved.members[name].labels:
            told = f"{list(labels)}, the model {list(saved.members[name].labels)}"
            raise ValueError(f"{name}: the data name the classes {told}; only data of the same classes are measured")
        if stream.raws(split):
            data.samples(name, split)  # found now, so that what this takes happens in here


def _writers(into: Path, weights: Weights | None, seed: int) -> dict[str, Callback]:
    """What writes numbers and predictions into a folder, those of rounded weights into files of their own."""
    into.mkdir(parents=True, exist_ok=True)
    kind = "" if weights is None else f"-{weights}"
    return {
        "metrics": MetricsFile(path=str(into / f"metrics{kind}.json"), seed=seed),
        "predictions": Predictions(path=str(into / f"predictions{kind}.jsonl")),
    }
