"""A step is the same step, however it is split into micro-batches and over ranks."""

from collections.abc import Mapping
from types import SimpleNamespace

import pytest
from ranks import together
from torch import Tensor
from whole_steps import HEARD, READ, STEPS, error, gradients, joint, logged, of_mixture, own, splits

from omniformer.batch import Batch, MicroBatch, collate
from omniformer.data.workers import emptied
from omniformer.tasks import Classification, TrainingModule
from omniformer.tasks.whole_step import WholeStep, beside, touch

# Means of samples and of tokens, a comparison over ranks, and ranks that see different members.
QUICK = ("classification", "causal", "contrastive", "a mixture")
FURTHER = tuple(name for name in STEPS if name not in QUICK)
GROUPS = [
    pytest.param(2, QUICK, 1e-6, id="two"),
    pytest.param(2, FURTHER, 1e-6, id="two, further tasks", marks=pytest.mark.slow),
    pytest.param(4, QUICK + FURTHER, 2e-6, id="four", marks=pytest.mark.slow),  # contrastive: 1.3e-6
]


@pytest.mark.quick(10)
@pytest.mark.parametrize(("name", "n"), [(name, n) for name in STEPS for n in splits(name) if n > 1])
def test_micro_batches_leave_the_gradient_of_one_batch(name, n):
    assert error(STEPS[name](n), STEPS[name](1)) < 1e-6


@pytest.mark.parametrize(("world", "names", "most"), GROUPS)
def test_ranks_leave_the_gradient_of_one_process(tmp_path, world, names, most):
    alone = {name: STEPS[name](1) for name in names}

    def work(rank: int, world: int) -> dict[tuple[str, int], float]:
        return {(name, n): error(STEPS[name](n, rank, world), alone[name]) for name in names for n in splits(name)}

    for errors in together(world, work, tmp_path):
        assert {each: far for each, far in errors.items() if far >= most} == {}


def test_what_a_rank_tells_of_a_step_is_what_one_process_does(tmp_path):
    def work(rank: int, world: int) -> dict[str, Mapping[str, Tensor]]:
        told = {name: step(1, rank, world, gradients=logged) for name, step in STEPS.items()}
        return told | {"two micro-batches": of_mixture(2, rank, world, gradients=logged)}

    alone = work(0, 1)
    assert {"train/loss", "heard/train/loss", "read/train/loss"} <= alone["a mixture"].keys()
    for told in together(2, work, tmp_path):
        assert {name: far for name in alone if (far := error(told[name], alone[name])) > 1e-6} == {}


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
    assert error(found, wanted) < 1e-6
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
