"""Twenty steps of plain gradient descent end with the weights of one process, however the steps are split."""

import os
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import Forked
from ranks import together
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from whole_steps import STEPS, backward, error, one_process, splits

from omniformer.batch import Batch
from omniformer.parallel import fsdp
from omniformer.parallel.tensors import clip, whole
from omniformer.tasks import TrainingModule
from omniformer.training.checkpoint_io import DurableCheckpointIO

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
REPOSITORY = Path(__file__).parents[2]
N = 20  # steps
WITHIN = 1e-5  # of the largest weight
RUN = [
    *("optim.lr=0.05", "optim.schedule=constant", "optim.warmup_steps=0", f"trainer.max_steps={N}", "core.dropout=0"),
    *("trainer.accelerator=cpu", "trainer.limit_val_batches=1", "trainer.limit_test_batches=1", "report=false"),
    *("callbacks.progress=null", "callbacks.machine=null", "callbacks.predictions=null"),
]
BATCH = {"vision": 64, "text": 16, "audio": 32, "graph": 64}  # samples of a step
# Strategy, processes, micro-batches of a step.
SPLITS = [("ddp", 2, 1), ("fsdp", 2, 1), ("ddp", 4, 1), ("fsdp", 4, 1), ("ddp", 2, 2), ("fsdp", 2, 4)]


def trained(kind: str, module: TrainingModule, step: Sequence[Mapping[str, Batch]]) -> dict[str, Tensor]:
    """The weights after the steps, clipped: a regression would run away."""
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    after = at_end = lambda: None
    if kind == "fsdp":
        mesh = init_device_mesh("cpu", (world,))
        after = partial(fsdp.average, fsdp.apply(module, mesh, reshard_after_forward=True, param_dtype=None), mesh)
    elif world > 1:
        at_end = partial(averaged, module, world)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(N):
        optimizer.zero_grad()
        backward(module, step, after, at_end)
        clip([each.grad for each in module.parameters() if each.grad is not None], 1.0)
        optimizer.step()
    return {name: whole(each).detach() for name, each in module.model.named_parameters()}


def averaged(module: TrainingModule, world: int) -> None:
    for parameter in module.parameters():
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= world


def errors(kind: str, names: Sequence[str], rank: int, world: int) -> dict[tuple[str, int], float]:
    """How far the weights are from those of one process, by task and number of micro-batches."""
    found = {}
    for name in names:
        alone = one_process(lambda name=name: STEPS[name](1, gradients=partial(trained, "ddp")))
        for n in splits(name):
            found[name, n] = error(STEPS[name](n, rank, world, gradients=partial(trained, kind)), alone)
    return found


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
@pytest.mark.parametrize("world", [2, 4])
def test_of_every_task_and_of_a_mixture(kind, world, tmp_path):
    told = together(world, partial(errors, kind, list(STEPS)), tmp_path, patience=1800)[0]
    print(f"\n{kind} on {world}: {max(told, key=told.get)} {max(told.values()):.1e}")
    assert {each: far for each, far in told.items() if not far <= WITHIN} == {}


def run(folder: Path, world: int, *arguments: str) -> dict[str, Tensor]:
    """The weights after the last step of a run from the command line, on several processes as torchrun starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    said = [*RUN, *arguments, f"paths.output_dir={folder / 'run'}"]
    folder.mkdir()
    processes = []
    for rank in range(world):
        place: dict[str, Any] = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
        place |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "run"}
        place = {name: str(each) for name, each in place.items()} if world > 1 else {}
        environment = dict(os.environ) | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)} | place
        script, log = str(REPOSITORY / "tests/support/sgd_run.py"), folder / f"{rank}.txt"
        processes.append(Forked(script, said, folder=folder, log=log, environment=environment))
    try:
        for rank, each in enumerate(processes):
            assert each.wait(timeout=900) == 0, (folder / f"{rank}.txt").read_text()[-3000:]
    finally:
        for each in processes:
            each.kill() if each.poll() is None else None
    return DurableCheckpointIO().load_checkpoint(folder / "run/checkpoints" / f"step-{N:08}.ckpt")["state_dict"]


def options(name: str, n: int) -> list[str]:
    """A default run in whose steps `n` micro-batches accumulate, of as many samples together as of one batch.

    In a joint run each micro-batch has the members that are due, so that a step of more of them is another step.
    """
    if name == "all":
        return ["modality=all", "members.text.embedder.dropout=0", f"trainer.accumulate_grad_batches={n}"]
    still = ["embedder.dropout=0"] if name == "text" else []
    return [f"modality={name}", *still, f"data.batch_size={BATCH[name] // n}", f"trainer.accumulate_grad_batches={n}"]


@pytest.mark.parametrize("name", [*BATCH, "all"])
def test_of_every_default_run(name, tmp_path):
    told: dict[str, float] = {}
    alone: dict[int, dict[str, Tensor]] = {}
    for kind, world, n in SPLITS:
        same = n if name == "all" else 1
        if same not in alone:
            alone[same] = run(tmp_path / f"alone{n}", 1, *options(name, same))
        several = [f"trainer={kind}", f"trainer.devices={world}"]
        found = run(tmp_path / f"{kind}{world}{n}", world, *options(name, n), *several)
        told[f"{kind} {world} {n}"] = error(found, alone[same])
    print(f"\n{name}:", ", ".join(f"{split} {far:.1e}" for split, far in told.items()))
    assert {each: far for each, far in told.items() if not far <= WITHIN} == {}
