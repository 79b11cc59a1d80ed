"""Schedules follow their published formulas."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omniformer.training.schedules import NAMES, constant, cosine, linear, noam, schedule, total_steps, wsd


@given(d_model=st.integers(1, 1024), warmup=st.integers(1, 5000), step=st.integers(1, 20000))
def test_noam_is_the_formula_of_the_paper_scaled_to_a_peak_of_one(d_model, warmup, step):
    def paper(n):
        return d_model**-0.5 * min(n**-0.5, n * warmup**-1.5)

    peak = (d_model * warmup) ** -0.5
    assert peak * noam(step, warmup_steps=warmup) == pytest.approx(paper(step), rel=1e-9)
    assert noam(warmup, warmup_steps=warmup) == 1.0


def test_cosine_passes_through_half_a_wave():
    total, warmup = 110, 10
    for step in range(warmup, total + 1):
        done = (step - warmup) / (total + 1 - warmup)
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2
        assert cosine(step, total_steps=total, warmup_steps=warmup, final=0.1) == pytest.approx(expected)


def test_linear_falls_by_the_same_amount_each_step():
    values = [linear(step, total_steps=20, warmup_steps=4, final=0.5) for step in range(4, 22)]
    drops = [a - b for a, b in pairwise(values)]
    assert values[0] == 1.0
    assert values[-1] == pytest.approx(0.5)
    assert drops == pytest.approx([drops[0]] * len(drops))


def test_wsd_is_flat_between_warm_up_and_the_last_share():
    values = [wsd(step, total_steps=100, warmup_steps=10, decay_share=0.2) for step in range(1, 101)]
    assert values[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert set(values[9:81]) == {1.0}
    assert values[80:] == pytest.approx([1 - n / 20 for n in range(20)])


@given(
    name=st.sampled_from(NAMES), total=st.integers(1, 300), warmup=st.integers(0, 400), final=st.floats(0, 1, width=32)
)
def test_every_schedule_rises_to_one_then_never_rises_and_moves_every_update(name, total, warmup, final):
    factor = schedule(name, total_steps=total, warmup_steps=warmup, final=final)
    values = [factor(done) for done in range(total)]
    assert all(0 < value <= 1 for value in values)
    assert values[: min(warmup, total)] == pytest.approx([n / warmup for n in range(1, min(warmup, total) + 1)])
    rest = values[max(warmup, 1) - 1 :]
    assert rest == sorted(rest, reverse=True)
    assert not rest or rest[0] == 1.0


@given(name=st.sampled_from(["linear", "cosine", "wsd"]), total=st.integers(1, 200), extra=st.integers(0, 10))
def test_schedules_that_end_stay_at_their_last_value(name, total, extra):
    assert schedule(name, total_steps=total, final=0.25)(total + extra) == pytest.approx(0.25)


def test_lambda_lr_gives_the_first_update_the_first_factor():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule("linear", total_steps=4, warmup_steps=2))
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1.0, 2.0, 2.0 * 2 / 3, 2.0 / 3])


def test_constant_needs_no_end():
    assert schedule("constant", total_steps=None)(10**9) == 1.0
    assert schedule("noam", total_steps=None, warmup_steps=4)(15) == 0.5
    assert constant(1) == 1.0
    with pytest.raises(ValueError, match=r"schedule='cosine' must know.*trainer\.max_steps"):
        schedule("cosine", total_steps=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cosin"}, "schedule='cosin' is unknown; choose one of constant, linear, cosine, noam, wsd"),
        ({"name": "linear", "warmup_steps": -1}, "warmup_steps=-1"),
        ({"name": "linear", "final": 1.5}, r"final=1\.5"),
        ({"name": "wsd", "decay_share": 0.0}, r"decay_share=0\.0"),
    ],
)
def test_bad_settings_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        schedule(**options, total_steps=10)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"batches_per_epoch": 10, "max_epochs": 3}, 30),
        ({"batches_per_epoch": 10, "max_epochs": 3, "accumulate_grad_batches": 4}, 9),
        ({"batches_per_epoch": 10, "max_epochs": 3, "max_steps": 7}, 7),
        ({"batches_per_epoch": None, "max_epochs": 3, "max_steps": 7}, 7),
        ({"batches_per_epoch": 10, "max_epochs": -1}, None),
        ({"batches_per_epoch": None, "max_epochs": 2}, None),
    ],
)
def test_total_steps_counts_optimizer_updates(settings, expected):
    assert total_steps(**settings) == expected


def test_total_steps_is_what_lightning_does(regressor, make_loader, make_trainer):
    trainer = make_trainer(accumulate_grad_batches=2)
    trainer.fit(regressor(), make_loader(), make_loader(shuffle=False))
    assert trainer.global_step == total_steps(batches_per_epoch=3, accumulate_grad_batches=2, max_epochs=3)
