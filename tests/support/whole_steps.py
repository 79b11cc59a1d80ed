"""Training steps of every task, split into micro-batches and over ranks, and their gradients."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from task_cases import CASES, SIZES, TEXT, Case, sound, text
from torch import Tensor, distributed, nn

from omniformer.batch import Batch, MicroBatch, Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.data.workers import emptied
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks import CausalLM, Classification, Contrastive, Diffusion, TrainingModule

MICRO = (1, 2, 4)
Gradients = Callable[[TrainingModule, Sequence[Mapping[str, Batch]]], dict[str, Tensor]]


def module_of(case: Case) -> TrainingModule:
    model, task = case.build()
    if isinstance(task, Diffusion):  # which draws its noise in training: here by the sample's id
        drawn = task.step
        task.step = lambda model, batch, name, losses=None: (
            task.measure(model, batch, name, "val") if len(batch) else drawn(model, batch, name, losses)
        )
    return TrainingModule(model=model.train(), tasks={"it": task})


def own(batches: Mapping[str, Sequence[Sample]], every: Mapping[str, Sequence[Sample]], rank: int, world: int) -> dict:
    """What a rank has of each member; a batch of no samples where it is left with nothing."""
    mine = {name: samples[rank::world] for name, samples in batches.items()}
    return {name: collate(each) if each else emptied(collate(every[name])) for name, each in mine.items()}


def gradients(module: TrainingModule, step: Sequence[Mapping[str, Batch]]) -> dict[str, Tensor]:
    """The mean over ranks of what the micro-batches of one step leave, as Lightning and DDP compute it."""

    def average() -> None:
        for parameter in module.parameters() if distributed.is_initialized() else ():
            distributed.all_reduce(parameter.grad)  # none may lack one, or DDP would wait for it
            parameter.grad /= distributed.get_world_size()

    backward(module, step, at_end=average)
    return {name: each.grad for name, each in module.model.named_parameters() if each.grad is not None}


def backward(
    module: TrainingModule,
    step: Sequence[Mapping[str, Batch]],
    after: Callable[[], None] = lambda: None,
    at_end: Callable[[], None] = lambda: None,
    log: Callable[..., None] = lambda *args, **options: None,
) -> None:
    """The gradients of a step, as Lightning has them computed.

    Args:
        after: called after each micro-batch.
        at_end: called after all of them.
        log: is told numbers with their names.
    """
    module._trainer = SimpleNamespace(accumulate_grad_batches=len(step))
    module.log = log
    for place, each in enumerate(step):
        (module.training_step(MicroBatch(each, step=step, place=place), place) / len(step)).backward()
        after()
    at_end()
    module.on_before_optimizer_step(None)


def logged(module: TrainingModule, step: Sequence[Mapping[str, Batch]]) -> dict[str, Tensor]:
    """What is told of the last micro-batch of a step."""
    told: dict[str, Tensor] = {}
    backward(module, step, log=lambda name, value, **_: told.update({name: value}))
    return told


def one_process(compute: Callable[[], Any]) -> Any:
    """What one process by itself computes, while several are up."""
    n_ranks = torch.distributed.is_initialized
    torch.distributed.is_initialized = lambda: False
    try:
        return compute()
    finally:
        torch.distributed.is_initialized = n_ranks


def of_case(name: str, n: int, rank: int = 0, world: int = 1, gradients: Gradients = gradients) -> dict[str, Tensor]:
    answered, without = CASES[name].samples
    samples = {"it": [*answered, *without]}
    cut = [{"it": samples["it"][i::n]} for i in range(n)]
    return gradients(module_of(CASES[name]), [own(each, samples, rank, world) for each in cut if each["it"]])


def joint() -> TrainingModule:
    torch.manual_seed(0)
    embedders = {
        "text": IdEmbedder(d_model=16, vocab_size=TEXT.vocab_size),
        "audio": VectorEmbedder(d_model=16, features=3),
        "late": VectorEmbedder(d_model=16, features=3),
    }
    heads = {
        "heard": ClassificationHead(d_model=16, n_classes=3),
        "read": NextTokenHead(d_model=16, vocab_size=TEXT.vocab_size),
        "late": ClassificationHead(d_model=16, n_classes=2),
    }
    model = OmniFormer(core=Transformer(**SIZES), embedders=embedders, heads=heads)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.heads["read"].tie(model.embedders["text"].table)
    tasks = {
        "heard": Classification(head=model.heads["heard"], n_classes=3),
        "read": CausalLM(head=model.heads["read"], loss_weight=0.5),
        "late": Classification(head=model.heads["late"], n_classes=2),
    }
    model.rules["read"] = tasks["read"].rule
    return TrainingModule(model=model.train(), tasks=tasks)


HEARD = [Sample(id=f"h{i}", pieces=[sound(1 + i % 4, i)], targets={"label": torch.tensor(i % 3)}) for i in range(6)]
READ = [Sample(id=f"r{i}", pieces=[text(each)]) for i, each in enumerate(("ab", "abcdefgh", "c"))]


def of_mixture(n: int, rank: int = 0, world: int = 1, gradients: Gradients = gradients) -> dict[str, Tensor]:
    """A step in which one member has few samples, not all micro-batches have it, and a third member has none."""
    every = {"heard": HEARD, "read": READ}
    cut: list[dict[str, Sequence[Sample]]] = [{"heard": HEARD[i::n]} for i in range(n)]
    for i in range(min(n, 2)):
        cut[-1 - i]["read"] = READ[i :: min(n, 2)]
    return gradients(joint(), [own(each, every, rank, world) for each in cut])


STEPS = {**{name: partial(of_case, name) for name in CASES}, "a mixture": of_mixture}


def splits(name: str) -> list[int]:
    """A comparison of all samples reaches over ranks, and not over micro-batches."""
    return [1] if name in CASES and isinstance(CASES[name].build()[1], Contrastive) else list(MICRO)


def error(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """The largest difference, by the largest gradient."""
    if found.keys() != wanted.keys():
        return float("inf")
    largest = max(float(each.abs().max()) for each in wanted.values())
    return max(float((found[name] - each).abs().max()) for name, each in wanted.items()) / largest
