import pytest
import torch

from omniformer.core.norm import LayerNorm, RMSNorm, ZeroCenteredRMSNorm


def test_rms_norm_divides_by_the_root_mean_square_alone():
    norm, x = RMSNorm(5), torch.randn(3, 5)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(1.0, 6.0))
    for out, row in zip(norm(x), x, strict=True):
        root = (sum(value**2 for value in row.tolist()) / 5 + 1e-6) ** 0.5
        assert out.tolist() == pytest.approx(
            [value / root * gain for value, gain in zip(row.tolist(), range(1, 6), strict=True)]
        )


def test_layer_norm_has_mean_zero_and_variance_one():
    out = LayerNorm(64)(torch.randn(3, 64) * 5 + 2)
    torch.testing.assert_close(out.mean(-1), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(out.var(-1, unbiased=False), torch.ones(3), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("options", "n_parameters"), [({}, 2), ({"bias": False}, 1), ({"gain": False}, 0)])
def test_layer_norm_learns_what_it_is_told_to(options, n_parameters):
    assert len(list(LayerNorm(4, **options).parameters())) == n_parameters


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_norms_of_nothing_are_nothing(norm):
    assert norm(4)(torch.zeros(0, 4)).shape == (0, 4)


def test_a_zero_centered_gain_is_one_plus_its_weight_in_float32_whatever_the_dtype():
    norm = ZeroCenteredRMSNorm(3, eps=0.5)
    assert norm.weight.tolist() == [0.0, 0.0, 0.0]
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.25, -0.5, 0.001]))
    x = torch.tensor([[1.0, -2.0, 3.0], [4.0, 0.0, -1.0]])
    expected = x.double() / (x.double().square().mean(-1, keepdim=True) + 0.5).sqrt() * (1 + norm.weight.double())
    torch.testing.assert_close(norm(x).double(), expected, rtol=1e-6, atol=1e-6)
    # In bfloat16 itself 1 + 0.001 would be 1.
    rounded = norm.to(torch.bfloat16)(x.bfloat16())
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + 0.5).sqrt() * (1 + norm.weight.double())
    assert torch.equal(rounded, exact.float().bfloat16())
