from functools import partial
from itertools import pairwise

import pytest
import torch

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Full
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.performer import FavorFeatures, PerformerAttention, orthogonal_gaussian


def test_the_estimate_of_the_softmax_kernel_is_unbiased():
    torch.manual_seed(0)
    q, k = 0.3 * torch.randn(6, 8), 0.3 * torch.randn(6, 8)
    exact = torch.exp((q * k).sum(-1) / 8**0.5)
    draws = torch.stack([FavorFeatures(8, n_features=32, seed=seed).estimate(q, k) for seed in range(1000)])
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()
    assert (error < 0.02 * exact).all()  # the mean is known well enough to mean something


def test_orthogonal_directions_estimate_better_than_independent_ones():
    torch.manual_seed(1)
    q, k = 0.3 * torch.randn(16, 8), 0.3 * torch.randn(16, 8)
    exact = torch.exp((q * k).sum(-1) / 8**0.5)

    def mean_square_error(directions_of):
        features = FavorFeatures(8, n_features=8, seed=0)
        errors = []
        for seed in range(1000):
            features.directions.copy_(directions_of(torch.Generator().manual_seed(seed)))
            errors.append((features.estimate(q, k) - exact).square())
        return torch.stack(errors).mean()

    independent = mean_square_error(lambda generator: torch.randn(8, 8, generator=generator))
    orthogonal = mean_square_error(lambda generator: orthogonal_gaussian(8, 8, generator))
    assert orthogonal < 0.95 * independent


@pytest.mark.quick(1)
@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_the_error_falls_with_the_square_root_of_the_features(rule):
    torch.manual_seed(2)
    layout = Layout.from_lengths(40, 70)
    x = torch.randn(110, 16) / 2
    exact_of = lower(rule, layout, kernel="reference")
    errors = []
    for n_features in (16, 64, 256, 1024, 4096):
        total = 0.0
        for seed in range(4):
            torch.manual_seed(3)
            attention = PerformerAttention(d_model=16, n_heads=2, n_features=n_features, seed=seed)
            context = Context(plan=lower(rule, layout))
            exact = attention.out(exact_of.attend(*attention.project(x, context)).flatten(1))
            total += (attention(x, context) - exact).norm().item() / exact.norm().item()
        errors.append(total / 4)
    steps = torch.tensor([b / a for a, b in pairwise(errors)])
    assert (steps < 0.75).all()  # four times the features: half the error, give or take the luck of four draws
    assert errors[-1] < 0.05
    slope = torch.tensor(errors[-1] / errors[0]).log() / torch.tensor(4096 / 16).log()
    assert -0.65 < slope < -0.4


def test_rows_of_a_group_are_orthogonal_and_as_long_as_gaussian_vectors():
    rows = orthogonal_gaussian(20, 8, torch.Generator().manual_seed(0))
    group = rows[:8] @ rows[:8].T
    torch.testing.assert_close(group - torch.diag(group.diagonal()), torch.zeros(8, 8), atol=1e-5, rtol=0)
    many = orthogonal_gaussian(8000, 8, torch.Generator().manual_seed(1))
    assert abs(many.square().sum(-1).mean() - 8) < 0.2
    torch.testing.assert_close(many.T @ many / 8000, torch.eye(8), atol=0.06, rtol=0)


def test_a_seed_fixes_the_features_and_layers_without_one_differ():
    def directions(seed):
        return FavorFeatures(8, n_features=8, seed=seed).directions

    assert torch.equal(directions(5), directions(5))
    assert not torch.equal(directions(5), directions(6))
    assert not torch.equal(directions(None), directions(None))


def test_redraw_changes_the_directions_and_they_travel_with_the_weights():
    attention, twin = (PerformerAttention(d_model=8, n_heads=2, n_features=4) for _ in range(2))
    attention.features.redraw()
    twin.load_state_dict(attention.state_dict())
    assert torch.equal(attention.features.directions, twin.features.directions)


def test_large_queries_and_keys_stay_finite():
    features = FavorFeatures(256, n_features=256, seed=0)
    extreme = features.directions[:5] * 256**0.25  # where the features of keys are largest
    assert features.key(extreme).isfinite().all()
    attention = LinearAttention(
        d_model=512, n_heads=2, bias=False, feature_map=partial(FavorFeatures, n_features=128, seed=0)
    )
    x = (1000 * torch.randn(7, 512)).requires_grad_()
    out = attention(x, Context(plan=lower(Causal(), Layout.from_lengths(3, 4))))
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()


def test_a_later_token_changes_no_bit_before_it():
    attention = PerformerAttention(d_model=8, n_heads=2, n_features=32, seed=0)
    x = torch.randn(100, 8)
    other = x.clone()
    other[80] *= 50
    context = Context(plan=lower(Causal(), Layout.from_lengths(100)))
    assert torch.equal(attention(x, context)[:80], attention(other, context)[:80])


def test_no_features_are_refused():
    with pytest.raises(ValueError, match="n_features=0 must be at least 1"):
        PerformerAttention(d_model=8, n_heads=2, n_features=0)
