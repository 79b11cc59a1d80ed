"""Every second of a step belongs to one room, and none of a validation to any."""

import time
from types import SimpleNamespace

import pytest
import torch
from omniformer_tokenizers import Tokens

from omniformer.batch import Sample, collate
from omniformer.core import Transformer
from omniformer.core.layout import Layout
from omniformer.embedders import VectorEmbedder
from omniformer.heads import ClassificationHead
from omniformer.model import OmniFormer
from omniformer.training.rooms import ROOMS, Rooms


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def spend(rooms, clock, *actions):
    """Each action one second by itself, and inside of the one before it."""
    for action in actions:
        rooms.start(action)
        clock[0] += 1
    for action in reversed(actions):
        rooms.stop(action)


def test_no_second_counts_twice(clock):
    rooms = Rooms()
    spend(rooms, clock, "[_TrainingEpochLoop].train_dataloader_next")
    rooms.start("run_training_batch")
    spend(rooms, clock, "[LightningModule]X.optimizer_step", "[Strategy]X.training_step")
    spend(rooms, clock, "[LightningModule]X.optimizer_step", "[Strategy]X.backward", "[Callback]Y.on_after_backward")
    spend(rooms, clock, "[LightningModule]X.on_something")
    rooms.stop("run_training_batch")
    assert rooms.steps == 1
    assert rooms.seconds == {"data": 1, "Lightning": 1, "optimizer": 2, "loss": 1, "backward": 1, "callbacks": 1}


def test_what_happens_outside_of_steps_is_nobodys(clock):
    rooms = Rooms()
    spend(rooms, clock, "run_training_epoch", "[Callback]Y.on_validation_start", "[Strategy]X.validation_step")
    rooms._lightning_module = SimpleNamespace(trainer=SimpleNamespace(training=False))
    spend(rooms, clock, "[Strategy]X.batch_to_device")
    assert not rooms.seconds and not rooms.steps


def test_parts_of_the_model_have_rooms_while_it_is_trained():
    model = OmniFormer(
        core=Transformer(d_model=8, n_layers=2, n_heads=2),
        embedders={"vision": VectorEmbedder(d_model=8, features=3)},
        heads={"x": ClassificationHead(d_model=8, n_classes=2)},
    )
    batch = collate(
        [Sample(id="a", pieces=[Tokens(values=torch.ones(4, 3), positions=torch.ones(4, 1), modality="vision")])]
    )
    rooms = Rooms()
    rooms._lightning_module = SimpleNamespace(model=model, trainer=SimpleNamespace(training=True))
    rooms.setup("fit")
    model(batch, "x")
    assert not rooms.seconds
    with rooms.profile("run_training_batch"), rooms.profile("[Strategy]X.training_step"):
        model(batch, "x")
    assert rooms.seconds.keys() == {"embed", "lower", "core", "head", "loss", "Lightning"} < set(ROOMS)
    shown = rooms.summary().splitlines()
    assert shown[0].startswith("a step of") and [line.split()[0] for line in shown[1:4]] == ["embed", "lower", "core"]
    rooms.teardown("fit")
    before = dict(rooms.seconds)
    with rooms.profile("run_training_batch"):
        model(batch, "x")
    assert {room for room in ROOMS if rooms.seconds.get(room) != before.get(room)} == {"Lightning"}


def test_a_part_that_fails_leaves_its_room():
    model = OmniFormer(core=Transformer(d_model=8, n_layers=1, n_heads=2), embedders={}, heads={})
    rooms = Rooms()
    rooms._lightning_module = SimpleNamespace(model=model, trainer=SimpleNamespace(training=True))
    rooms.setup("fit")
    with rooms.profile("run_training_batch"), pytest.raises(ValueError, match="shape"):
        model.core(torch.zeros(3, 8), Layout.from_lengths(4))
    assert not rooms._within
