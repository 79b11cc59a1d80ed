import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.heads.denoising import DenoisingHead
from omniformer.heads.noise import Cosine, Linear

LAYOUT = Layout.from_lengths(2, 0, 3)


def made(**options) -> DenoisingHead:
    torch.manual_seed(0)
    head = DenoisingHead(d_model=8, features=4, d_condition=6, schedule=Cosine(n_steps=100), **options)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return head


def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(6, 4, generator=chance), torch.randn(6, 4, generator=chance)
    return clean, noise, torch.tensor([0, 3, 20, 50, 80, 95])


def test_an_untrained_head_predicts_zero_at_every_step():
    head = DenoisingHead(d_model=8, features=4, d_condition=6)
    out = head(torch.randn(5, 8), LAYOUT, condition=head.condition(torch.tensor([0, 500, 999])))
    assert torch.equal(out, torch.zeros(5, 4))


def test_the_output_is_that_of_the_paper_by_hand():
    head, x = made(), torch.randn(5, 8)
    c = head.condition(torch.tensor([5, 40, 90]))
    rows = []
    for i, sample in enumerate([0, 0, 2, 2, 2]):
        shift, scale = (torch.nn.functional.silu(c[sample]) @ head.modulation.weight.T + head.modulation.bias).chunk(2)
        normed = (x[i] - x[i].mean()) / (x[i].var(unbiased=False) + 1e-5).sqrt()
        rows.append(head.values.weight @ (normed * (1 + scale) + shift) + head.values.bias)
    torch.testing.assert_close(head(x, LAYOUT, condition=c), torch.stack(rows))


def test_steps_are_told_apart_and_only_the_step_matters():
    head = made()
    c = head.condition(torch.tensor([7, 8, 7]))
    assert torch.equal(c[0], c[2]) and not torch.isclose(c[0], c[1]).all()


@pytest.mark.parametrize("predicts", ["noise", "velocity"])
def test_a_right_prediction_separates_what_was_mixed(predicts):
    head, (clean, noise, t) = made(predicts=predicts), drawn()
    mixed = head.mix(clean, noise, t)
    found = head.separate(head.target(clean, noise, t), mixed, t)
    torch.testing.assert_close(found, (clean, noise), rtol=1e-4, atol=1e-4)


def test_mixing_keeps_the_variance_of_values_whose_variance_is_one():
    head = made()
    clean, noise = torch.randn(20_000, 1), torch.randn(20_000, 1)
    for t in (0, 30, 60, 99):
        assert head.mix(clean, noise, torch.full((20_000,), t)).var().item() == pytest.approx(1.0, abs=0.05)


def test_velocity_is_the_derivative_of_the_mixture_by_the_angle():
    head, (clean, noise, t) = made(predicts="velocity"), drawn()
    angle = head.schedule.alphas[t].sqrt().acos()[:, None].float()
    by_angle = angle.cos() * noise - angle.sin() * clean
    torch.testing.assert_close(head.target(clean, noise, t), by_angle, rtol=1e-4, atol=1e-5)


def test_shares_of_signal_and_noise_stay_exact_in_half_precision():
    head, (clean, noise, t) = made(), drawn()
    assert torch.equal(head.mix(clean, noise, t), made().to(torch.bfloat16).mix(clean, noise, t))


def test_another_schedule_mixes_otherwise():
    clean, noise, t = drawn()
    head = DenoisingHead(d_model=8, features=4, d_condition=6, schedule=Linear(n_steps=100))
    assert head.n_steps == 100
    alpha = Linear(n_steps=100).alphas[t][:, None].float()
    torch.testing.assert_close(head.mix(clean, noise, t), alpha.sqrt() * clean + (1 - alpha).sqrt() * noise)


def test_a_call_that_does_not_tell_the_step_is_refused():
    with pytest.raises(ValueError, match="needs the step of each sample"):
        made()(torch.zeros(5, 8), LAYOUT)


def test_an_unknown_prediction_is_refused():
    with pytest.raises(ValueError, match="predicts='picture' is not known"):
        made(predicts="picture")
