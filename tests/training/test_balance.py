"""Gradients of members are taken apart as separate backward passes have them, and the run is none the worse."""

from types import SimpleNamespace

import pytest
import torch
from tiny_runs import numbers, run, state
from torch import nn

from omniformer.report.balance import balance
from omniformer.report.run import read
from omniformer.training.balance import Balance

JOINT = ["modality=all", "~members.audio", "~members.text"]


def joint(weights, **pulls):
    """A module whose core is one vector, at which each member pulls with a vector times its weight."""
    core = nn.Linear(2, 1, bias=False)
    tasks = {name: SimpleNamespace(loss_weight=weights.get(name, 1.0)) for name in pulls}

    def weighted():
        return {name: tasks[name].loss_weight * (core.weight[0] @ torch.tensor(pull)) for name, pull in pulls.items()}

    module = SimpleNamespace(model=SimpleNamespace(core=core), tasks=tasks)
    return module, weighted


def measure(callback, module, weighted, steps):
    trainer = SimpleNamespace(global_step=0, world_size=1, callbacks=[], loggers=[])
    callback.on_fit_start(trainer, module)
    for trainer.global_step in steps:
        module.weighted = weighted()
        callback.on_before_backward(trainer, module, torch.zeros(()))
    return callback.results()


def test_norms_shares_and_cosines_are_those_of_the_weighted_losses():
    module, weighted = joint({"b": 2.0}, a=[3.0, 4.0], b=[-3.0, 0.0], c=[0.0, 0.0])
    found = measure(Balance(every_steps=1), module, weighted, [0])
    assert found["a/train/gradient_norm"] == pytest.approx(5.0)
    assert found["b/train/gradient_norm"] == pytest.approx(6.0)
    assert found["b/train/gradient_share"] == pytest.approx(6 / 11)
    assert found["a+b/train/gradient_cosine"] == pytest.approx(-0.6)
    assert found["a+b/train/gradient_conflicts"] == 1.0
    assert "a+c/train/gradient_cosine" not in found  # of a gradient of zero there is none


def test_steps_between_are_not_measured_and_means_are_of_those_that_are():
    module, weighted = joint({}, a=[1.0, 0.0], b=[0.0, 1.0])
    callback = Balance(every_steps=2)
    measured = []
    callback._numbers = lambda gradients: measured.append(len(gradients)) or {"a/train/gradient_norm": len(measured)}
    assert measure(callback, module, weighted, [0, 1, 1, 2, 3, 5]) == {"a/train/gradient_norm": 2.0}
    again = Balance(every_steps=2)
    again.load_state_dict(callback.state_dict())
    assert again.results() == callback.results()


def test_members_that_are_weighed_evenly_end_up_pulling_equally_hard_and_a_resumed_run_goes_on_so():
    module, weighted = joint({"b": 2.0}, a=[8.0, 0.0], b=[0.0, 1.0])
    callback = Balance(every_steps=1, even=True)
    found = measure(callback, module, weighted, range(3))
    pulls = {
        name: float(torch.autograd.grad(part, module.model.core.weight)[0].norm()) for name, part in weighted().items()
    }
    assert pulls["b"] == pytest.approx(2 * pulls["a"])  # as their loss_weight says
    assert found["a/train/balance"] * found["b/train/balance"] == pytest.approx(1.0)
    fresh, _ = joint({"b": 2.0}, a=[8.0, 0.0], b=[0.0, 1.0])
    resumed = Balance(every_steps=1, even=True)
    resumed.load_state_dict(callback.state_dict())
    measure(resumed, fresh, weighted, [])
    assert {name: task.loss_weight for name, task in fresh.tasks.items()} == {
        name: task.loss_weight for name, task in module.tasks.items()
    }


@pytest.mark.parametrize(
    ("pulls", "processes", "said"),
    [({"a": [1.0, 0.0]}, 1, "a is the only member"), ({"a": [1.0], "b": [1.0]}, 2, "2 processes")],
)
def test_what_cannot_be_measured_is_said(pulls, processes, said, monkeypatch):
    told = []
    monkeypatch.setattr("omniformer.training.balance.rank_zero_info", told.append)
    module, _ = joint({}, **pulls)
    trainer = SimpleNamespace(global_step=0, world_size=processes, callbacks=[], loggers=[])
    Balance().on_fit_start(trainer, module)
    assert len(told) == 1 and said in told[0]


@pytest.mark.slow
def test_a_joint_run_learns_the_same_and_reports_how_members_pull(tmp_path):
    plain = run(tmp_path / "plain", *JOINT)
    measured = run(tmp_path / "measured", *JOINT, "callbacks=balance", "callbacks.balance.every_steps=1")
    torch.testing.assert_close(state(measured), state(plain), rtol=0, atol=0)
    found = numbers(measured)
    assert min(found["vision/train/gradient_norm"], found["graph/train/gradient_norm"]) > 0
    members, pairs, _ = balance(read(measured)).blocks
    assert [row[0] for row in members.rows] == ["graph", "vision"] and "gradient norm" in members.header
    assert [row[0] for row in pairs.rows] == ["graph+vision"]
    (given, told) = balance(read(plain)).blocks
    assert "share of norms" not in given.header and "callbacks=balance" in told.text
