"""One training run from a checked configuration, and the folder that results."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info

from omniformer.allocator import keep_memory
from omniformer.config import build
from omniformer.data.module import OmniDataModule
from omniformer.data.told import told
from omniformer.experiment import simple_methods
from omniformer.experiment.experiment import Experiment, assemble
from omniformer.experiment.matching import need_targets
from omniformer.files.untrusted import refuse_links_out
from omniformer.finetuning.probe import begin_heads
from omniformer.parallel.compiling import Trainer
from omniformer.parallel.readers import place
from omniformer.parallel.setup import check_heads
from omniformer.parallel.strategy import whole_model
from omniformer.report.writing import report_finished
from omniformer.run_folder import begun_run, refuse_used
from omniformer.tasks.calibrating import calibrate
from omniformer.tasks.module import TrainingModule
from omniformer.training.checkpoint_io import latest_checkpoint
from omniformer.training.checkpoints import BestCheckpoint
from omniformer.training.memory import advised
from omniformer.training.metrics_file import MetricsFile
from omniformer.training.optimizers import OptimizerFactory
from omniformer.training.predictions import Predictions, write_texts
from omniformer.training.ranks import first_cause
from omniformer.training.results import print_results
from omniformer.training.resume import check_fits, check_same_run
from omniformer.training.schedules import planned_steps
from omniformer.training.trainer import best_checkpoint, build_trainer, quiet
from omniformer.training.watching import Score, watch


def train(config: Mapping[str, Any]) -> Score | None:
    """Trains, validates, tests and saves; prints the table of results.

    Everything is written into `paths.output_dir`: `config.yaml`, `metrics.json`, `metrics.csv`, `predictions.jsonl`,
    `checkpoints/` and `model/`; and `report.html` with `report.md`, where `report` asks for them.

    Returns:
        The best value of the metric that `callbacks.best` watches, for sweeps; None without one.

    Raises:
        ConfigError: `resume` names a run that this configuration does not continue, or a callback watches a metric that
            no task of the run reports; or the folder holds another run.
        NoMemoryError: a step needs more memory than there is.
    """
    keep_memory()
    quiet()
    output = Path(config["paths"]["output_dir"])
    if output.is_dir():
        refuse_links_out(output)
    resume = latest_checkpoint(config["resume"]) if config["resume"] else None
    if resume is not None:
        check_same_run(config, output)
    else:
        refuse_used(output)
    # The trainer first: a device or a logger that is not there is told before data are touched.
    around = build({key: config[key] or {} for key in ("callbacks", "logger", "optim")}, "")
    callbacks, loggers = around["callbacks"], around["logger"]
    trainer = build_trainer(config["trainer"], callbacks=callbacks, loggers=loggers, output_dir=str(output))
    check_heads(trainer.strategy, config["core"])
    experiment = assemble(config)
    experiment.data.place = partial(place, trainer)
    need_targets(experiment.tasks, experiment.data)
    module = _module(config, experiment, around["optim"])
    watched = module.watched
    watch(callbacks, module.reported("val"), watched.metric, watched.mode, watched.why)
    if resume is not None:
        check_fits(module, resume)
    elif _begun(experiment, trainer, asked=(config["model"] or {}).get("probe")):
        for callback in callbacks.values():
            if isinstance(callback, BestCheckpoint):
                callback.from_start(trainer)
    # Only now: what does not fit leaves no folder, and a resumed one as it was.
    begun = begun_run(config, output, lambda: trainer.global_step)
    with begun, first_cause(trainer, output), advised(trainer):
        best = _learn(trainer, module, experiment.data, resume)
        experiment = replace(experiment, model=whole_model(trainer, experiment.model))
    if trainer.is_global_zero:
        write_texts(output / "written.jsonl", output / "predictions.jsonl")
        experiment.save(output, config["allow_targets"])
        _report(callbacks, config, experiment, output, main=watched.metric)
        experiment.describe(output)
        if config.get("report"):
            report_finished(output, experiment.predictor(), experiment.data)
    if best is None:
        return None
    return Score(float(best.best_model_score), metric=best.monitor, mode=best.mode)  # pyright: ignore[reportArgumentType]


def _module(config: Mapping[str, Any], experiment: Experiment, optim: OptimizerFactory) -> TrainingModule:
    """What Lightning trains; says what it learns from, how many steps it takes, and how its rate runs."""
    batches = len(experiment.data.train_dataloader())
    module = TrainingModule(
        model=experiment.model,
        tasks=experiment.tasks,
        optimizer=optim,
        total_steps=planned_steps(config["trainer"], batches),
    )
    for name, stream in experiment.data.streams.items():
        rank_zero_info(told(name, stream))
    epoch = planned_steps({**config["trainer"], "max_epochs": 1, "max_steps": -1}, batches)
    rank_zero_info(optim.told(module.total_steps, epoch))
    return module


def _begun(experiment: Experiment, trainer: Trainer, *, asked: bool | None) -> bool:
    """Whether new heads of a pretrained model began from a linear probe of it."""
    scores = begin_heads(
        *(experiment.model, experiment.tasks, experiment.data, trainer.strategy.root_device),
        asked=asked,
        knows=experiment.beginning.knows,
    )
    return bool(scores)


def _learn(
    trainer: Trainer, module: TrainingModule, data: OmniDataModule, resume: str | Path | None
) -> ModelCheckpoint | None:
    """Fits, calibrates, tests and predicts; what watched the best weights, if anything did."""
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    best = best_checkpoint(trainer)
    path = None if best is None else best.best_model_path
    if calibrate(trainer, module, data.val_dataloader(), path):
        path = None  # the module holds them, changed
    if data.test_dataloader():
        trainer.test(module, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
    _predict(trainer, module, data, path)
    return best


def _predict(trainer: Trainer, module: TrainingModule, data: OmniDataModule, path: str | None) -> None:
    """Has the predictions of validation written, where something is said of single samples.

    The weights that were tested read them once more, since no validation of the training need have had these.
    """
    (said,) = [each for each in trainer.callbacks if isinstance(each, Predictions)] or [None]  # pyright: ignore[reportAttributeAccessIssue]
    if said is not None and data.val_dataloader() and (said.rows or not data.test_dataloader()):
        trainer.limit_predict_batches = trainer.limit_val_batches
        trainer.predict(module, datamodule=data, return_predictions=False, ckpt_path=path, weights_only=True)


def _report(
    callbacks: Mapping[str, Any], config: Mapping[str, Any], experiment: Experiment, output: Path, *, main: str
) -> None:
    """Adds what trivial answers and simple methods score to `metrics.json`, and prints it all."""
    for metrics in callbacks.values():
        if not isinstance(metrics, MetricsFile):
            continue
        metrics.add(simple_methods.trivial(experiment))
        shown = dict(metrics.numbers)
        found, beside = simple_methods.scores(config, experiment, compute=bool(config.get("baselines")))
        metrics.add(found)
        metrics.write()
        print_results(shown, title=f"{config['name']}: results", main=main, beside=beside)
        short = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
        print(f"everything is in {short}")
