"""A step is the same step, however it is split into micro-batches and over ranks."""

import multiprocessing
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from task_cases import CASES, SIZES, TEXT, Case, sound, text
from torch import Tensor, distributed, nn

from omniformer.batch import Batch, MicroBatch, Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.data.loader import emptied
from omniformer.embedders import IdEmbedder, VectorEmbedder
from omniformer.heads import ClassificationHead, NextTokenHead
from omniformer.model import OmniFormer
from omniformer.tasks import CausalLM, Classification, Contrastive, Diffusion, TrainingModule
from omniformer.tasks.whole_step import WholeStep, beside, touch

WORLDS, MICRO = (2, 4), (1, 2, 4)


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
    module._trainer = SimpleNamespace(accumulate_grad_batches=len(step))
    module.log = lambda *args, **options: None
    for place, each in enumerate(step):
        (module.training_step(MicroBatch(each, step=step, place=place), place) / len(step)).backward()
    if distributed.is_initialized():
        for parameter in module.parameters():
            distributed.all_reduce(parameter.grad)  # none may lack one, or DDP would wait for it
            parameter.grad /= distributed.get_world_size()
    module.on_before_optimizer_step(None)
    return {name: each.grad for name, each in module.model.named_parameters() if each.grad is not None}


def of_case(name: str, n: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
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


def of_mixture(n: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
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


def work(rank: int, world: int, store: str, answers: Any) -> None:
    torch.set_num_threads(1)
    alone = {name: step(1) for name, step in STEPS.items()}
    rendezvous = distributed.FileStore(store, world)
    distributed.init_process_group("gloo", store=rendezvous, rank=rank, world_size=world, timeout=timedelta(seconds=60))
    found: Any = {}
    try:
        for name, step in STEPS.items():
            found |= {(name, n): error(step(n, rank, world), alone[name]) for n in splits(name)}
    except Exception as failure:
        found = repr(failure)
    answers.put((rank, found))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def errors(tmp_path_factory) -> dict[int, list[dict[tuple[str, int], float]]]:
    """How far each rank is from one process with one batch."""
    context, found = multiprocessing.get_context("fork"), {}
    for world in WORLDS:
        answers, store = context.Queue(), str(tmp_path_factory.mktemp("ranks") / "store")
        processes = [context.Process(target=work, args=(rank, world, store, answers)) for rank in range(world)]
        for process in processes:
            process.start()
        told = dict(answers.get(timeout=110) for _ in processes)
        for process in processes:
            process.join(timeout=60)
        found[world] = [told[rank] for rank in range(world)]
    return found


@pytest.mark.parametrize(("name", "n"), [(name, n) for name in STEPS for n in splits(name) if n > 1])
def test_micro_batches_leave_the_gradient_of_one_batch(name, n):
    assert error(STEPS[name](n), STEPS[name](1)) < 2e-6


@pytest.mark.parametrize(("world", "name"), list(product(WORLDS, STEPS)))
def test_ranks_leave_the_gradient_of_one_process(errors, world, name):
    for rank in errors[world]:
        assert isinstance(rank, dict), rank
        assert all(rank[name, n] < 2e-6 for n in splits(name)), rank


def test_what_nobody_reads_in_a_step_is_left_alone():
    assert not any(name.startswith(("heads.late", "embedders.late")) for name in of_mixture(2))


def test_a_step_of_one_batch_counts_wholly():
    module = joint()
    batches = {"heard": collate(HEARD), "read": collate(READ)}
    whole = WholeStep.of(module.model, module.tasks, [batches])
    assert [whole.share(name, batch, 0) for name, batch in batches.items()] == [1.0, 1.0]
    assert whole.share("late", emptied(batches["heard"]), 0) == 0.0


def test_half_a_step_goes_on_from_a_checkpoint():
    every = {"heard": HEARD}
    step = [own({"heard": HEARD[:2]}, every, 0, 1), own({"heard": HEARD[2:]}, every, 0, 1)]
    wanted = gradients(joint(), step)
    first, checkpoint = joint(), {}
    first._trainer, first.log = SimpleNamespace(accumulate_grad_batches=2), lambda *args, **options: None
    (first.training_step(MicroBatch(step[0], step=step), 0) / 2).backward()
    first.on_save_checkpoint(checkpoint)
    second = joint()
    second._trainer, second.log = first._trainer, first.log
    second.on_load_checkpoint(checkpoint)
    for mine, theirs in zip(second.parameters(), first.parameters(), strict=True):
        mine.grad = theirs.grad
    (second.training_step(MicroBatch(step[1], step=step[1:], done=1), 1) / 2).backward()
    found = {name: each.grad for name, each in second.model.named_parameters() if each.grad is not None}
    assert error(found, wanted) < 2e-6
    checkpoint.clear()
    second.on_save_checkpoint(checkpoint)
    assert not checkpoint  # the step is whole


def test_a_task_that_counts_otherwise_than_it_says_is_refused():
    class Careless(Classification):
        def count(self, batch: Batch) -> int:
            return 1

    model = joint().model
    module = TrainingModule(model=model, tasks={"heard": Careless(head=model.heads["heard"], n_classes=3)})
    with pytest.raises(ValueError, match=r"Careless.step counts 6 things in a batch of which count\(\) says 1"):
        gradients(module, [{"heard": collate(HEARD)}])


def test_a_touched_parameter_has_a_gradient_of_zero_and_the_shared_one_is_read():
    model = joint().model
    others = beside(model, {("embedder", "text"), ("head", "heard")})
    table = model.embedders["text"].table.weight
    assert all(each is not table for each in others)
    touch(others).backward()
    assert all(each.grad is not None and not each.grad.any() for each in others)
    assert table.grad is None
