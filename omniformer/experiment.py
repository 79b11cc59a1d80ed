"""One training run from a checked configuration: data, model, tasks, Lightning, and the folder that results."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.utilities import rank_zero_info
from omniformer_tokenizers import Tokenizer

from omniformer import finetuning, folder
from omniformer.adapters import is_adapted, merge, remove, save_adapter
from omniformer.config import BuildError, ConfigError, allowing, build, validate, within
from omniformer.config.signature import signature
from omniformer.data.module import OmniDataModule
from omniformer.data.quarantine import quarantine
from omniformer.data.source import GRAPH_FACTS, Source, Split
from omniformer.generation import Allowed
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.pretrained import Pretrained
from omniformer.recipe import Node, build_model, members, merged
from omniformer.tasks.module import TrainingModule
from omniformer.tasks.task import Task
from omniformer.training.checkpoint_io import latest_checkpoint, write_durably
from omniformer.training.memory import advised, keep_memory
from omniformer.training.metrics_file import MetricsFile, print_results
from omniformer.training.ranks import first_cause
from omniformer.training.resume import check_fits, check_same_run
from omniformer.training.schedules import total_steps
from omniformer.training.stop import Stop
from omniformer.training.trainer import build_trainer, quiet
from omniformer.untrusted import refuse_links_out

_MOST_VALUES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What a configuration describes, built: data, model and tasks, and the recipe to build the model again."""

    data: OmniDataModule
    model: OmniFormer
    tasks: Mapping[str, Task]
    recipe: Node
    beginning: finetuning.Beginning | None = None

    def predictor(self) -> Predictor:
        """The model with all that is needed to use it."""
        known = None if self.beginning is None else self.beginning.max_seq_len
        members = {
            name: Member(
                tokenizers=self.data.tokenizers[name],
                labels=self.data.labels(name),
                max_seq_len=known or getattr(self.data.streams[name].arrange, "seq_len", None),
                given=self.data.given(name),
                allowed=getattr(task, "allowed", None),
            )
            for name, task in self.tasks.items()
        }
        return finetuning.tuned(Predictor(self.model, members), self.recipe, self.beginning)


def assemble(
    config: Mapping[str, Any],
    tokenizers: Mapping[str, dict[str, Tokenizer]] | None = None,
    *,
    saved: Predictor | None = None,
    made: Node | None = None,
) -> Experiment:
    """Builds data, model and tasks.

    Args:
        config: the checked configuration.
        tokenizers: by member and modality, where they are fitted already; else those of `model.pretrained` are taken,
            or they are fitted on the training split.
        saved: the model of a finished run, whose data are built again.
        made: how to build that model; `model` and `core` of the configuration are then not read.
    """
    begun = finetuning.begin(config) if made is None else None
    data = build_data(config, tokenizers)
    for name, member in members(config).items():
        _need_classes(name, member["task"], data)
    published = saved if begun is None else begun.predictor
    if isinstance(published, Pretrained):
        finetuning.suit(config, data, published.family)
    if begun is not None and tokenizers is None:
        finetuning.take_tokenizers(data, begun)
    data.setup()
    facts = {
        name: {modality: data.facts(name, modality) for modality in data.tokenizers[name]} for name in data.streams
    }
    torch.manual_seed(config["seed"])
    if made is not None:
        model = build_model(made)
    else:
        made = finetuning.recipe_from(config, facts, begun)
        model = build_model(made)
        loaded = None
        if begun is not None:
            loaded = finetuning.fill(model, made, begun)
            if begun.published:
                finetuning.freeze_unread(model, data, begun)
        finetuning.settle(model, config, loaded)
    allowed = {} if published is None else finetuning.allowed(published, made)
    tasks = {
        name: _task(member["task"], name, model, facts[name], data, allowed.get(name))
        for name, member in members(config).items()
    }
    return Experiment(data=data, model=model, tasks=tasks, recipe=made, beginning=begun)


def build_data(
    config: Mapping[str, Any], tokenizers: Mapping[str, dict[str, Tokenizer]] | None = None
) -> OmniDataModule:
    """The data of a run, not yet read."""
    described = members(config)
    streams = {
        name: build(member["data"], f"{name}.data", data_root=config["data_root"]) for name, member in described.items()
    }
    made = tokenizers or {
        name: _tokenizers(member["tokenizer"], name, streams[name].source) for name, member in described.items()
    }
    return OmniDataModule(
        streams=streams,
        tokenizers=dict(made),
        seed=config["seed"],
        steps_per_epoch=config.get("steps_per_epoch"),
        mixture_temperature=config.get("mixture_temperature"),
    )


def train(config: Mapping[str, Any]) -> float | None:
    """Trains, validates, tests and saves; prints the table of results.

    Everything is written into `paths.output_dir`: `config.yaml`, `metrics.json`, `metrics.csv`, `checkpoints/` and
    `model/`.

    Returns:
        The best value of the metric that `callbacks.best` watches, for sweeps; None without one.

    Raises:
        ConfigError: `resume` names a run that this configuration does not continue.
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
    # The trainer first: a device or a logger that is not there is told before data are touched.
    callbacks = build(config["callbacks"] or {}, "callbacks")
    trainer = build_trainer(
        config["trainer"], callbacks=callbacks, loggers=build(config["logger"] or {}, "logger"), output_dir=str(output)
    )
    experiment = assemble(config)
    module = TrainingModule(
        model=experiment.model,
        tasks=experiment.tasks,
        optimizer=build(config["optim"], "optim"),
        total_steps=_total_steps(config["trainer"], len(experiment.data.train_dataloader())),
    )
    if resume is not None:
        check_fits(module, resume)
    _note(config, output)  # only now: what does not fit leaves no folder, and a resumed one as it was
    with first_cause(trainer, output), advised(trainer):
        trainer.fit(module, datamodule=experiment.data, ckpt_path=resume, weights_only=True)
        best = _best_checkpoint(trainer)
        if experiment.data.test_dataloader():
            trainer.test(module, datamodule=experiment.data, ckpt_path=best, weights_only=True, verbose=False)
    if trainer.is_global_zero:
        _write_texts(output / "written.jsonl", module)
        if is_adapted(experiment.model):
            # The model's folder holds plain weights, which everything reads; the adapter alone lies beside it.
            save_adapter(experiment.model, output / "adapter")
            merge(experiment.model)
            remove(experiment.model)
        folder.save(
            output / "model", experiment.predictor(), recipe=experiment.recipe, allow_targets=config["allow_targets"]
        )
        _report(trainer, config, experiment, output)
    return None if best is None else float(trainer.checkpoint_callback.best_model_score)  # pyright: ignore[reportOptionalMemberAccess,reportAttributeAccessIssue]


def evaluate(
    run: str | Path, *, split: Split = "test", allow_targets: Sequence[str] = (), device: torch.device | None = None
) -> dict[str, float]:
    """Measures the saved model of a finished run on its own data, with the settings of that run.

    Args:
        run: the run folder.
        split: test or val.
        allow_targets: packages of your own whose classes the run may name; the folder itself cannot allow any.
        device: where the model runs, in one process; None for what the run's trainer says.

    Returns:
        The metrics by name; they also go into the run's `metrics.json`.

    Raises:
        FileNotFoundError: the folder is not a finished run.
    """
    keep_memory()
    quiet()
    output, config = read_run(run)
    saved = folder.load(output, allow_targets=allow_targets)
    with reading_run(config, allow_targets):
        # The weights come from the run itself, whatever it began from.
        experiment = assemble(config, _of_members(saved), saved=saved, made=folder.recipe_of(output))
        for name, stream in experiment.data.streams.items():
            if stream.source.split(split):
                experiment.data.samples(name, split)  # found now, so that what this takes happens in here
    experiment.model.load_state_dict(saved.model.state_dict())
    metrics = MetricsFile(path=str(output / "metrics.json"), seed=config["seed"])
    options = _measuring(config["trainer"]) | ({} if device is None else _on(device))
    callbacks = {"metrics": metrics, "stop": Stop(dirpath=None)}
    trainer = build_trainer(options, callbacks=callbacks, loggers={}, output_dir=str(output))
    module = TrainingModule(model=experiment.model, tasks=experiment.tasks)
    measure = {"test": trainer.test, "val": trainer.validate}[split]
    (results,) = measure(module, datamodule=experiment.data, verbose=False)
    print_results(results, title=f"{config['name']}: {split} split")
    return dict(results)


def _on(device: torch.device) -> dict[str, Any]:
    """The options of Lightning's trainer that run everything on one device."""
    number = 1 if device.type == "cpu" or device.index is None else [device.index]
    return {"accelerator": device.type, "devices": number, "num_nodes": 1, "strategy": "auto"}


@contextmanager
def reading_run(config: Mapping[str, Any], allow_targets: Sequence[str]) -> Iterator[None]:
    """Checks the `config.yaml` of a run, which may be a stranger's, and keeps what is built of it to what it may do.

    While the context lasts, it can name data, tokenizers, tasks and parts of models; its data is read, from where it
    says, and nothing is fetched, written or started.

    Raises:
        ConfigError: the configuration has a mistake, or names what it may not.
        BuildError: likewise, from within.
    """
    try:
        with allowing(allow_targets):
            validate(config)
            with within("run"), quarantine(offline=True):
                yield
    except BuildError as error:
        raise BuildError(f"{error}{folder.asked(config, allow_targets)}") from error
    except ConfigError as error:
        raise ConfigError([f"{each}{folder.asked(config, allow_targets)}" for each in error.problems]) from error


def read_run(run: str | Path) -> tuple[Path, dict[str, Any]]:
    """A run folder and the configuration saved in it.

    Raises:
        FileNotFoundError: the folder holds no `config.yaml`.
        ValueError: that file is damaged, or a link leads out of the folder.
    """
    output = Path(run)
    path = output / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"{output} is not a run folder: config.yaml is missing; give a folder that omniformer.train wrote"
        )
    refuse_links_out(output)
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    _refuse_multiplied(config, path)
    if not isinstance(config, dict) or not isinstance(config.get("paths"), dict):
        raise ValueError(f"{path} is damaged: it holds no configuration with paths; copy the folder anew")
    return output, config | {"paths": config["paths"] | {"output_dir": str(output)}}


def _refuse_multiplied(config: Any, path: Path) -> None:
    """Refuses aliases that multiply: a few lines of YAML can stand for more values than there is memory."""
    waiting, seen = [config], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        waiting.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        if seen > _MOST_VALUES:
            raise ValueError(f"{path} holds more than {_MOST_VALUES:,} values; no configuration of a run does")


def _measuring(options: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's options for measuring again: plain values. Parts, such as a profiler, belong to the training."""
    left_out = [name for name, value in options.items() if "_target_" in json.dumps(value, default=str)]
    if left_out:
        rank_zero_info(f"trainer.{', trainer.'.join(left_out)} of the run are not needed to measure it, and left out")
    return {name: value for name, value in options.items() if name not in left_out}


def _of_members(saved: Predictor) -> dict[str, dict[str, Tokenizer]]:
    return {name: dict(member.tokenizers) for name, member in saved.members.items()}


def _tokenizers(node: Node, name: str, source: Source) -> dict[str, Tokenizer]:
    if "_target_" in node:
        tokenizer = build(_informed(node, source), f"{name}.tokenizer")
        return {tokenizer.modality: tokenizer}
    return {modality: build(_informed(part, source), f"{name}.tokenizer.{modality}") for modality, part in node.items()}


def _informed(node: Node, source: Source) -> Node:
    """The description of a tokenizer with what the data say of nodes and edges, where it says nothing itself."""
    parameters = signature(node["_target_"]).parameters
    told: dict[str, Any] = {}
    for names in GRAPH_FACTS:
        if all(name in parameters for name in names) and not any(name in node for name in names):
            told |= {name: source.facts[name] for name in names if name in source.facts}
    return told | dict(node)


def _task(
    node: Node,
    name: str,
    model: OmniFormer,
    facts: Mapping[str, Mapping[str, Any]],
    data: OmniDataModule,
    allowed: Allowed | None,
) -> Task:
    own = {key: value for key, value in node.items() if key not in ("head", "rule")}
    known = merged(facts, node["head"]) | {"tokenizers": data.tokenizers[name], "labels": data.labels(name)}
    if allowed is not None:
        known["allowed"] = allowed
    return build(own, f"{name}.task", head=model.heads[name], rule=model.rule(name), **known)


def _note(config: Mapping[str, Any], output: Path) -> None:
    """Writes the configuration into the run folder, whole or not at all, by the first process alone."""
    if rank_zero_only.rank == 0:
        output.mkdir(parents=True, exist_ok=True)
        write_durably(output / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))


def _need_classes(name: str, task: Node, data: OmniDataModule) -> None:
    """Refuses to tell classes apart where there is only one."""
    source = data.streams[name].source
    if task["_target_"] == "omniformer.tasks.Classification" and source.facts.get("n_classes") == 1:
        raise ValueError(
            f"{name}: {source.name} has one class, {source.labels[0]!r}, and {name}.task tells classes apart; add a "
            "second one, or choose a task without classes"
        )


def _write_texts(path: Path, module: TrainingModule) -> None:
    """What the model wrote in the test beside what it should have written: one JSON object a line."""
    rows = [
        {"member": name, "id": sample, "written": written, "expected": expected}
        for name, texts in module.written.items()
        for sample, written, expected in texts
    ]
    if rows:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _total_steps(trainer: Mapping[str, Any], batches: int) -> int | None:
    limit = trainer.get("limit_train_batches")
    if overfit := trainer.get("overfit_batches"):
        limit = overfit
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else math.floor(batches * limit)
    return total_steps(
        batches_per_epoch=batches,
        accumulate_grad_batches=trainer.get("accumulate_grad_batches") or 1,
        max_epochs=trainer.get("max_epochs"),
        max_steps=trainer.get("max_steps", -1),
    )


def _best_checkpoint(trainer: Any) -> str | None:
    """The checkpoint with the best validation score, if one was watched."""
    callback = trainer.checkpoint_callback
    return (callback.best_model_path or None) if callback is not None and callback.monitor else None


def _short(path: Path) -> Path:
    """The path as people would type it from where they are."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _report(trainer: Any, config: Mapping[str, Any], experiment: Experiment, output: Path) -> None:
    metrics = next((callback for callback in trainer.callbacks if isinstance(callback, MetricsFile)), None)
    if metrics is None:
        return
    for name, stream in experiment.data.streams.items():
        prefix = f"{name}/" if len(experiment.tasks) > 1 else ""
        metrics.add({f"{prefix}baseline/{key}": value for key, value in stream.source.baselines().items()})
    metrics.write()
    print_results(metrics.numbers, title=f"{config['name']}: results")
    print(f"everything is in {_short(output)}")
