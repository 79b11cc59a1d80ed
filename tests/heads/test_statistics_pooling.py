"""What the tokens of a sample are like, and how much they differ."""

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.heads import ClassificationHead, RegressionHead, StatisticsPool

LAYOUT = Layout.from_lengths(4, 0, 1)


def test_the_mean_and_the_deviation_of_each_sample_stand_beside_each_other():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    out = StatisticsPool(d_model=3)(x, LAYOUT)
    none = torch.zeros(3)
    torch.testing.assert_close(out[:, :3], torch.stack([x[:4].mean(0), none, x[4]]))
    torch.testing.assert_close(out[:, 3:], torch.stack([x[:4].std(0, correction=0), none, none]), rtol=1e-2, atol=5e-3)


def test_samples_are_not_mixed_and_tokens_that_are_alike_have_a_gradient():
    x = torch.ones(5, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(StatisticsPool(d_model=3)(x, LAYOUT)[0].sum(), x)
    assert gradient[:4].any() and not gradient[4:].any() and gradient.isfinite().all()


def test_far_from_zero_the_deviation_is_still_that_of_the_tokens():
    x = torch.tensor([[1000.0], [1001.0]])
    assert StatisticsPool(d_model=1)(x, Layout.from_lengths(2))[0, 1].item() == pytest.approx(0.5, abs=0.01)


def test_half_precision_gives_what_single_precision_gives():
    x = 300 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    pool, layout = StatisticsPool(d_model=2), Layout.from_lengths(64)
    out = pool(x.half(), layout)
    assert out.dtype == torch.float16
    torch.testing.assert_close(out.float(), pool(x, layout), rtol=1e-2, atol=0.2)


def test_heads_are_as_wide_as_what_it_gives():
    made = [
        ClassificationHead(d_model=3, n_classes=2, pool=StatisticsPool),
        RegressionHead(d_model=3, pool=StatisticsPool),
    ]
    assert [head(torch.zeros(5, 3), LAYOUT).shape for head in made] == [(3, 2), (3, 1)]
