"""Pieces of a model that stay on the host while a device computes: the steps are those of one process.

As a program it is the two processes with their device, which no process may know that has computed gradients before.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import stand_in_device
import torch
from ranks import together
from torch import Tensor
from whole_steps import HEARD, READ, backward, error, joint, own

from omniformer.parallel import fsdp
from omniformer.parallel.strategy import FSDP
from omniformer.parallel.tensors import clip, like
from omniformer.parallel.tensors import own as piece
from omniformer.tasks import TrainingModule
from omniformer.training.checkpoint_io import DurableCheckpointIO
from omniformer.training.ema import EMA
from omniformer.training.optimizers import AdamW

pytestmark = pytest.mark.timeout(900)
DEVICE = f"{stand_in_device.NAME}:0"
EVERY = {"heard": HEARD, "read": READ}


class Offloaded(FSDP):
    """Between processes of which each has the stand-in device."""

    @property
    def root_device(self) -> torch.device:
        return torch.device(DEVICE)

    @property
    def world_size(self) -> int:
        return torch.distributed.get_world_size()

    def __init__(self, module: TrainingModule) -> None:
        super().__init__(offload=True)
        self._lightning_module, self._checkpoint_io = module, DurableCheckpointIO()
        self._divide(module)
        self.model_to_device()
        self.optimizers = [AdamW(lr=0.01, warmup_steps=1)(module)]


def train(module: TrainingModule, optimizer: Any, n: int, *, rank: int = 0, world: int = 1, after: Any = None) -> None:
    """Clipped steps."""
    for _ in range(n):
        module.zero_grad()
        batches = {name: each.to(module.device) for name, each in own(EVERY, EVERY, rank, world).items()}
        backward(module, [batches], after or (lambda: None))
        clip([each.grad for each in module.parameters() if each.grad is not None], 1.0)
        optimizer.step()


def begun() -> tuple[TrainingModule, Offloaded]:
    module = joint().to(DEVICE)
    return module, Offloaded(module)


def places(module: TrainingModule, strategy: Offloaded) -> dict[str, set[str]]:
    """Where numbers lie."""
    found = {
        "weights": list(module.parameters()),
        "gradients": [each.grad for each in module.parameters() if each.grad is not None],
        "states": [each for state in strategy.optimizers[0].state.values() for each in state.values()],
        "metrics": [each.nats for each in module.modules() if hasattr(each, "nats")],
    }
    return {name: {piece(each).device.type for each in of} for name, of in found.items()}


def work(folder: Path, rank: int, world: int) -> dict[str, Any]:
    stand_in_device.register()
    stand_in_device.keep_storage()
    found: dict[str, Any] = {}
    module, strategy = begun()
    both: Any = {"rank": rank, "world": world}
    ema, trainer = EMA(decay=0.5), SimpleNamespace(global_step=0)
    ema.on_train_start(trainer, module)
    for i in range(4):
        after = partial(fsdp.average, strategy._scalars, strategy._mesh)
        train(module, strategy.optimizers[0], 1, **both, after=after)
        trainer.global_step += 1
        ema.on_train_batch_end(trainer, module, None, None, i)
        if i == 1:
            checkpoint = {"state_dict": module.state_dict(), "optimizer_states": [strategy.optimizers[0].state_dict()]}
            strategy.save_checkpoint(checkpoint, folder / "step.ckpt")
    found |= {"places": places(module, strategy), "backend": strategy._get_process_group_backend()}
    found["weights"] = weights(strategy, module)
    with fsdp.gathered(module), torch.inference_mode():
        found["loss"] = measured(module)
    ema.on_train_end(trainer, module)
    found["average"] = weights(strategy, module)
    module, strategy = begun()
    read = strategy.load_checkpoint(folder / "step.ckpt")
    found["read"] = {piece(each).device.type for each in read["state_dict"].values()}
    found["taken"] = {piece(like(torch.ones(each.shape), each)).device.type for each in module.parameters()}
    strategy.load_model_state_dict(read)
    strategy.load_optimizer_state_dict(read)
    after = partial(fsdp.average, strategy._scalars, strategy._mesh)
    train(module, strategy.optimizers[0], 2, **both, after=after)
    found["resumed"] = weights(strategy, module)
    return found


def weights(strategy: Offloaded, module: TrainingModule) -> dict[str, Tensor]:
    made = strategy.whole(module.model, keep=True)
    assert made is not None
    return dict(made.state_dict())


def measured(module: TrainingModule) -> float:
    batch = own(EVERY, EVERY, 0, 1)["heard"].to(module.device)
    return float(module.tasks["heard"].measure(module.model, batch, "heard", "val").loss.detach())


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Any]]:
    folder, root = tmp_path_factory.mktemp("two"), Path(__file__).parents[2]
    paths = ":".join(map(str, (root / "tests" / "support", root, root / "tokenizers")))
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return torch.load(folder / "told.pt", weights_only=False)


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """The same on one process, on the host."""
    module, trainer = joint(), SimpleNamespace(global_step=0)
    optimizer, ema = AdamW(lr=0.01, warmup_steps=1)(module), EMA(decay=0.5)
    ema.on_train_start(trainer, module)
    for i in range(4):
        train(module, optimizer, 1)
        trainer.global_step += 1
        ema.on_train_batch_end(trainer, module, None, None, i)
    found = {"weights": copied(module), "loss": measured(module)}
    ema.on_train_end(trainer, module)
    return found | {"average": copied(module)}


def copied(module: TrainingModule) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in module.model.state_dict().items()}


def learned(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without offsets of keys: softmax does not see them, their gradient is rounding, which AdamW makes large."""
    return {name: each for name, each in state.items() if not name.endswith("qkv.bias")}


def test_weights_gradients_and_optimizer_stay_on_the_host_and_the_rest_on_the_device(two):
    for told in two:
        on_host = {name: {"cpu"} for name in ("weights", "gradients", "states")}
        assert told["places"] == on_host | {"metrics": {stand_in_device.NAME}}
        assert told["read"] == told["taken"] == {"cpu"}
        assert told["backend"] == f"cpu:gloo,{stand_in_device.NAME}:gloo"


@pytest.mark.parametrize("what", ["weights", "average"])
def test_clipped_steps_and_their_average_are_those_of_one_process(two, alone, what):
    assert error(learned(two[0][what]), learned(alone[what])) < 1e-4
    assert two[0]["loss"] == pytest.approx(alone["loss"], rel=1e-4)


def test_a_checkpoint_goes_on_as_if_nothing_had_been(two):
    assert error(two[0]["resumed"], two[0]["weights"]) == 0


def main(folder: Path) -> None:
    """Both processes, and what they tell."""
    (folder / "run").mkdir()
    torch.save(together(2, partial(work, folder / "run"), folder), folder / "told.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
