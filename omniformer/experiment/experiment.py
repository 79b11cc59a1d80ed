"""What a configuration describes, built: data, model and tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from omniformer import finetuning, folder
from omniformer.adapters import is_adapted, merge, remove, save_adapter
from omniformer.card import write_card
from omniformer.config import build
from omniformer.data.deal import Work
from omniformer.data.module import OmniDataModule
from omniformer.experiment.matching import need_classes, need_embedders
from omniformer.finetuning import Beginning
from omniformer.generation import Allowed
from omniformer.inspection.work import token_and_pair
from omniformer.model import OmniFormer
from omniformer.predictor import Member, Predictor
from omniformer.quantization import dequantize, is_quantized
from omniformer.recipe import Node, build_model, members, merged
from omniformer.report.card import run_card
from omniformer.report.run import read as read_finished
from omniformer.tasks.task import Task


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
