"""One training run from a checked configuration: data, model, tasks, Lightning, and the folder that results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_info

from omniformer import baselines as simple
from omniformer import finetuning, folder
from omniformer.adapters import is_adapted, merge, remove, save_adapter
from omniformer.allocator import keep_memory
from omniformer.card import write_card
from omniformer.config import ConfigError, build
from omniformer.data.corruption import Corruption
from omniformer.data.deal import Work
from omniformer.data.module import OmniDataModule
from omniformer.data.other import with_data_root, with_other_data
from omniformer.data.source import Split
from omniformer.data.told import told
from omniformer.finetuning import Beginning
from omniformer.finetuning.probe import begin_heads
from omniformer.generation import Allowed
from omniformer.inspection.work import token_and_pair
from omniformer.matching import need_classes, need_embedders, need_targets
from omniformer.model import OmniFormer
from omniformer.parallel.readers import place
from omniformer.parallel.setup import check_heads
from omniformer.parallel.strategy import whole_model
from omniformer.predictor import Member, Predictor
from omniformer.quantization import Weights, dequantize, is_quantized
from omniformer.recipe import Node, build_model, members, merged
from omniformer.report.card import run_card
from omniformer.report.run import read as read_finished
from omniformer.report.writing import report_finished
from omniformer.run_folder import begun_run, read_run, reading_run, refuse_used
from omniformer.tasks.calibrating import calibrate
from omniformer.tasks.module import TrainingModule
from omniformer.tasks.task import Task
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
from omniformer.training.stop import Stop
from omniformer.training.trainer import best_checkpoint, build_trainer, measuring, quiet
from omniformer.training.watching import Score, watch
from omniformer.untrusted import refuse_links_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What a configuration describes, built: data, model and tasks, and the recipe to build the model again."""

    data: OmniDataModule
    model: OmniFormer
    tasks: Mapping[str, Task]
    recipe: Node
    beginning: Beginning

    def predictor(self) -> Predictor:
        """The model with all that is needed to use it."""
        members = {
            name: Member(
                tokenizers=self.data.tokenizers[name],
                labels=self.data.labels(name),
                max_seq_len=getattr(self.data.streams[name].arrange, "seq_len", None),
                given=self.data.given(name),
                allowed=getattr(task, "allowed", None),
            )
            for name, task in self.tasks.items()
        }
        return self.beginning.predictor(self.model, members, self.recipe)

    def save(self, output: Path, allow_targets: Sequence[str]) -> None:
        """Writes the folder `model`, and an adapter also by itself."""
        if is_adapted(self.model):
            # The model's folder holds plain weights, which everything reads; the adapter alone lies beside it.
            save_adapter(self.model, output / "adapter")
            if is_quantized(self.model):
                dequantize(self.model)  # the rounded weights are those that the adapter has learned beside
            merge(self.model)
            remove(self.model)
        folder.save(output / "model", self.predictor(), recipe=self.recipe, allow_targets=allow_targets)

    def describe(self, output: Path) -> None:
        """Writes the card of the folder `model`, of what the run has left beside it until now."""
        write_card(output / "model", run_card(read_finished(output), self.predictor(), self.data))


def assemble(config: Mapping[str, Any], beginning: Beginning | None = None) -> Experiment:
    """Builds data, model and tasks.

    Args:
        config: the checked configuration.
        beginning: what the run begins from; None for what `model.pretrained` says.
    """
    beginning = beginning or finetuning.begin(config)
    data = beginning.data(config)
    data.need_tokenizers()
    need_embedders(config, data, beginning.brings)
    need_classes(config, data)
    data.setup()
    facts = {name: {each: data.facts(name, each) for each in data.tokenizers[name]} for name in data.streams}
    torch.manual_seed(config["seed"])
    recipe = beginning.recipe(config, facts)
    model = beginning.model(recipe, config, data)
    data.work = partial(_work, recipe)
    tasks = _tasks(config, model, data, facts, beginning.allowed(recipe))
    return Experiment(data=data, model=model, tasks=tasks, recipe=recipe, beginning=beginning)


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
        trainer.fit(module, datamodule=experiment.data, ckpt_path=resume, weights_only=True)
        best = best_checkpoint(trainer)
        path = None if best is None else best.best_model_path
        if calibrate(trainer, module, experiment.data.val_dataloader(), path):
            path = None  # the module holds them, changed
        if experiment.data.test_dataloader():
            trainer.test(module, datamodule=experiment.data, ckpt_path=path, weights_only=True, verbose=False)
        _predict(trainer, module, experiment.data, path)
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
        for name, stream in experiment.data.streams.items():
            stream.corruption = corruption
            if (labels := experiment.data.labels(name)) != saved.members[name].labels:
                told = f"{list(labels)}, the model {list(saved.members[name].labels)}"
                raise ValueError(
                    f"{name}: the data name the classes {told}; only data of the same classes are measured"
                )
            if stream.raws(split):
                experiment.data.samples(name, split)  # found now, so that what this takes happens in here
    if not any(stream.raws(split) for stream in experiment.data.streams.values()):
        whose = run if data is None else data
        raise ConfigError([f"{whose}: no sample with what is to be predicted is in the {split} split"])
    kind = "" if weights is None else f"-{weights}"
    into = None if corruption else output if data is None else None if out is None else Path(out)
    callbacks: dict[str, Any] = {"stop": Stop(dirpath=None)}
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
        callbacks["metrics"] = MetricsFile(path=str(into / f"metrics{kind}.json"), seed=config["seed"])
        callbacks["predictions"] = Predictions(path=str(into / f"predictions{kind}.jsonl"))
    options = measuring(config["trainer"], device)
    trainer = build_trainer(options, callbacks=callbacks, loggers={}, output_dir=str(output))
    module = TrainingModule(model=experiment.model, tasks=experiment.tasks)
    measure = {"test": trainer.test, "val": trainer.validate}[split]
    (results,) = measure(module, datamodule=experiment.data, verbose=False)
    if corruption is not None:
        return dict(results)
    title = config["name"] if data is None else f"{config['name']} on {Path(data).name}"
    beside = _baselines(config, experiment, compute=False)[1]
    print_results(results, title=f"{title}: {split} split", main=module.watched.metric, beside=beside)
    return dict(results)


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
            "numbers of a sample, classes of nodes, and written texts"
        )
        raise ConfigError([mistake])
    return files


def _predict(trainer: Trainer, module: TrainingModule, data: OmniDataModule, path: str | None) -> None:
    """Has the predictions of validation written, where something is said of single samples.

    The weights that were tested read them once more, since no validation of the training need have had these.
    """
    (said,) = [each for each in trainer.callbacks if isinstance(each, Predictions)] or [None]  # pyright: ignore[reportAttributeAccessIssue]
    if said is not None and data.val_dataloader() and (said.rows or not data.test_dataloader()):
        trainer.limit_predict_batches = trainer.limit_val_batches
        trainer.predict(module, datamodule=data, return_predictions=False, ckpt_path=path, weights_only=True)


def _work(recipe: Node, name: str) -> Work:
    """What the model that a recipe describes computes for a sample of a member, by its length."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = build_model(recipe).to("meta")
    (token, pair), reach = token_and_pair(model, name), model.rule(name).reach()
    return Work(token=token, pair=pair, left=reach.left, right=reach.right)


def _tasks(
    config: Mapping[str, Any],
    model: OmniFormer,
    data: OmniDataModule,
    facts: Mapping[str, Mapping[str, Mapping[str, Any]]],
    allowed: Mapping[str, Allowed],
) -> dict[str, Task]:
    """The tasks by member, each with its head, its rule, and what data and model say that it has a parameter for."""
    tasks = {}
    for name, member in members(config).items():
        node = member["task"]
        own = {key: value for key, value in node.items() if key not in ("head", "rule")}
        known = merged(facts[name], node["head"])
        known |= {"tokenizers": data.tokenizers[name], "labels": data.labels(name)}
        known |= {"counts_bytes": data.streams[name].counts_bytes}
        known |= {"class_counts": partial(data.class_counts, name), "answer_counts": partial(data.answer_counts, name)}
        if name in allowed:
            known["allowed"] = allowed[name]
        tasks[name] = build(own, f"{name}.task", head=model.heads[name], rule=model.rule(name), **known)
    return tasks


def _report(
    callbacks: Mapping[str, Any], config: Mapping[str, Any], experiment: Experiment, output: Path, *, main: str
) -> None:
    """Adds what trivial answers and simple methods score to `metrics.json`, and prints it all."""
    for metrics in callbacks.values():
        if not isinstance(metrics, MetricsFile):
            continue
        own = {}
        for name, stream in experiment.data.streams.items():
            prefix = f"{name}/" if len(experiment.tasks) > 1 else ""
            own |= {f"{prefix}baseline/{key}": value for key, value in stream.source.baselines().items()}
        metrics.add(own)
        shown = dict(metrics.numbers)
        found, beside = _baselines(config, experiment, compute=bool(config.get("baselines")))
        metrics.add(found)
        metrics.write()
        print_results(shown, title=f"{config['name']}: results", main=main, beside=beside)
        short = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
        print(f"everything is in {short}")


def _baselines(
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
