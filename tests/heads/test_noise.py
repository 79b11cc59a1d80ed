import math

import pytest
import torch

from omniformer.heads.noise import Cosine, Linear


@pytest.mark.parametrize(
    "schedule",
    [Cosine(), Linear(), Cosine(n_steps=10), Linear(n_steps=50)],
    ids=lambda each: f"{type(each).__name__}-{each.n_steps}",
)
def test_signal_only_falls_from_nearly_all_to_nearly_nothing(schedule):
    alphas = schedule.alphas
    assert len(alphas) == schedule.n_steps
    assert (alphas.diff() < 0).all() and alphas[0] > 0.95 and 0 < alphas[-1] < 1e-3


def test_the_linear_schedule_is_that_of_the_paper():
    betas, alpha, expected = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)], 1.0, []
    for beta in betas:
        alpha *= 1 - beta
        expected.append(alpha)
    torch.testing.assert_close(Linear().alphas, torch.tensor(expected, dtype=torch.float64))


def test_the_cosine_schedule_is_that_of_the_paper_where_no_step_is_too_large():
    def f(t):
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = torch.tensor([f(t + 1) / f(0) for t in range(990)], dtype=torch.float64)
    torch.testing.assert_close(Cosine().alphas[:990], expected)


@pytest.mark.parametrize(("schedule", "n"), [(Cosine, 1), (Linear, 20)])
def test_too_few_steps_are_refused(schedule, n):
    with pytest.raises(ValueError, match=f"n_steps={n} must be at least {n + 1}"):
        schedule(n_steps=n)
