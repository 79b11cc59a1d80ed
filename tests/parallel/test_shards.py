"""Checkpoints in pieces: written by several processes, read again by any number, and never by what they could run."""

import copy
import pickle
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import together
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from omniformer.parallel import shards
from omniformer.parallel.strategy import _alike
from omniformer.parallel.tensors import like
from omniformer.training.background import BackgroundCheckpointIO, snapshot
from omniformer.training.checkpoint_io import (
    CorruptCheckpointError,
    DurableCheckpointIO,
    latest_checkpoint,
    remove_leftovers,
    state_shapes,
    verify,
)

pytestmark = pytest.mark.timeout(900)
WEIGHT = torch.arange(10.0).view(5, 2)  # which two or three processes cannot share evenly
STATE = {"state_dict": {"w": WEIGHT, "gate": torch.tensor(0.5)}, "optimizer_states": [{"state": {3: {"m": -WEIGHT}}}]}


def divided(value: Any, mesh: Any) -> Any:
    """The same checkpoint with its matrices in pieces."""
    return shards._replaced(value, lambda each, place: distribute_tensor(each, mesh, [Shard(0)]) if each.ndim else each)


def write(folder: Path, rank: int, world: int) -> list[str]:
    """Saves twice under one name, at once, and once under another in the background."""
    mesh = init_device_mesh("cpu", (world,))
    checkpoint = divided(STATE, mesh) | {"global_step": 3}
    io, beside = DurableCheckpointIO(), BackgroundCheckpointIO()
    for token in ("first", "second"):
        io.save_checkpoint(shards.split(checkpoint, token), folder / "best.ckpt")
        torch.distributed.barrier()
    beside.save_checkpoint(shards.split(checkpoint, "third"), folder / "step-3.ckpt")
    checkpoint["state_dict"]["w"].to_local().fill_(7)  # training goes on
    beside.finish()
    return sorted(path.name for path in folder.iterdir())


def read(folder: Path, rank: int, world: int) -> dict[str, Any]:
    """What each process gets of it, and all of it."""
    mesh = init_device_mesh("cpu", (world,))
    path = folder / "best.ckpt"
    found = shards.fill(DurableCheckpointIO().read(path), path, mesh)
    weight, momentum = found["state_dict"]["w"], found["optimizer_states"][0]["state"][3]["m"]
    assert isinstance(weight, DTensor)
    return {
        "rows": weight.to_local().clone(),
        "taken": taken(weight),
        "whole": [weight.full_tensor(), momentum.full_tensor()],
        "gate": found["state_dict"]["gate"],
        "step": found["global_step"],
    }


def taken(weight: DTensor) -> list[torch.Tensor]:
    """What each process takes over of a checkpoint that is whole: of a weight, and of its optimizer's state."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(weight)], lr=0.1, momentum=0.9)
    state = {"param_groups": [{"params": [3]}], "state": {3: {"m": -WEIGHT, "step": torch.tensor(1.0)}}}
    momentum = _alike(state, optimizer)["state"][3]
    assert float(momentum["step"]) == 1
    return [like(WEIGHT, weight).to_local(), momentum["m"].to_local()]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    together(2, partial(write, folder), tmp_path_factory.mktemp("two"))
    return folder


@pytest.fixture
def folder(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "checkpoints"))


def pieces(folder: Path, checkpoint: str = "best.ckpt") -> list[Path]:
    (found,) = shards.folders(folder, checkpoint)
    return sorted(found.iterdir())


@pytest.mark.parametrize("name", ["best.ckpt", "step-3.ckpt"])
def test_one_process_reads_what_several_wrote_at_once_and_in_the_background(folder, name):
    found = DurableCheckpointIO().load_checkpoint(folder / name)
    torch.testing.assert_close(found, STATE | {"global_step": 3}, rtol=0, atol=0)


def test_three_processes_read_what_two_wrote(folder, tmp_path_factory):
    told = together(3, partial(read, folder), tmp_path_factory.mktemp("three"))
    torch.testing.assert_close(torch.cat([each["rows"] for each in told]), WEIGHT, rtol=0, atol=0)
    for each in told:
        torch.testing.assert_close(each["taken"], [each["rows"], -each["rows"]], rtol=0, atol=0)
        torch.testing.assert_close(each["whole"], [WEIGHT, -WEIGHT], rtol=0, atol=0)
        assert (float(each["gate"]), each["step"]) == (0.5, 3)


def test_the_shapes_are_in_the_file(folder):
    assert state_shapes(folder / "best.ckpt") == {"w": (5, 2), "gate": ()}


def test_what_is_replaced_and_what_is_removed_takes_its_pieces_along(folder):
    assert [each.name for each in shards.folders(folder)] == ["best.ckpt.second.shards", "step-3.ckpt.third.shards"]
    DurableCheckpointIO().remove_checkpoint(folder / "best.ckpt")
    assert [each.name for each in shards.folders(folder)] == ["step-3.ckpt.third.shards"]


def test_every_damaged_or_lost_piece_is_noticed_and_the_checkpoint_before_taken(folder):
    for file in pieces(folder):
        kept = file.read_bytes()
        file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(CorruptCheckpointError, match=f"{file.name} is damaged"):
            verify(folder / "best.ckpt")
        file.unlink()
        with pytest.raises(CorruptCheckpointError, match=f"{file.name} is missing"):
            verify(folder / "best.ckpt")
        with pytest.warns(UserWarning, match="falling back") if newest(folder) == "best.ckpt" else nothing():
            assert latest_checkpoint(folder).name == "step-3.ckpt"
        file.write_bytes(kept)
    verify(folder / "best.ckpt")


def newest(folder: Path) -> str:
    from omniformer.training.checkpoint_io import _saved_at

    return max(folder.glob("*.ckpt"), key=_saved_at).name


def nothing() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def test_pieces_that_a_killed_run_left_without_a_file_are_removed_and_no_others(folder):
    kept = shards.folders(folder)
    orphan = Path(shutil.copytree(kept[0], folder / "best.ckpt.fourth.shards"))
    assert remove_leftovers(folder) == [orphan]
    assert shards.folders(folder) == kept


@pytest.mark.parametrize("name", ["../elsewhere.shards", "best.ckpt", 3, None])
def test_a_name_that_leads_elsewhere_is_refused(name):
    with pytest.raises(ValueError, match="as the folder of its pieces"):
        shards.folder_name({"folder": name})


def test_metadata_that_would_run_code_does_not(folder):
    class Evil:
        def __reduce__(self) -> Any:
            return print, ("run",)

    (metadata,) = [each for each in pieces(folder) if each.name == ".metadata"]
    metadata.write_bytes(pickle.dumps(Evil()))
    checkpoint = DurableCheckpointIO().read(folder / "step-3.ckpt")
    checkpoint[shards.KEY] = {"folder": metadata.parent.name}
    with pytest.raises(Exception, match="builtins.print is no part of the metadata"):
        shards.fill(checkpoint, folder / "best.ckpt")


def test_what_is_not_in_pieces_is_left_as_it_is():
    assert shards.split(STATE, "t").keys() == STATE.keys()
    assert shards.fill(STATE, "no.ckpt") == STATE
    assert snapshot(copy.copy(STATE)).keys() == STATE.keys()
