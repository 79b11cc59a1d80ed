import pytest
import torch
from torch.nn import functional as F

from omniformer.core.norm import GroupRMSNorm, LayerNorm, RMSNorm, ZeroCenteredRMSNorm


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
    norm, x = LayerNorm(4, eps=0.5, **options), torch.randn(3, 4)
    assert len(list(norm.parameters())) == n_parameters
    expected = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 0.5).sqrt()
    for learned, join in zip(norm.parameters(), (torch.mul, torch.add), strict=False):  # the gain, then the offset
        torch.nn.init.normal_(learned)
        expected = join(expected, learned)
    torch.testing.assert_close(norm(x), expected)


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


@pytest.mark.parametrize("shape", [(6, 8), (3, 2, 8), (0, 8), (8,)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_root_mean_square_that_learns_is_pytorchs_to_the_last_bit(shape, dtype):
    norm = RMSNorm(8).to(dtype)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    expected = F.rms_norm(x, (8,), norm.weight, 1e-6)
    out, grad = norm(x), torch.randn(shape, dtype=dtype)
    assert torch.equal(out, expected) and out.dtype == dtype
    with torch.no_grad():
        assert torch.equal(norm(x), out)
    found, wanted = (torch.autograd.grad(each, [x, norm.weight], grad) for each in (out, expected))
    near = {torch.bfloat16: 2e-2, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(found, wanted, rtol=near, atol=near)


def test_derivatives_of_the_first_and_second_order_are_right():
    x, weight = torch.randn(2, 3, 4).double().requires_grad_(), torch.rand(4).double().requires_grad_()

    def normalised(x, weight):
        return torch.func.functional_call(RMSNorm(4), {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(normalised, (x, weight)) and torch.autograd.gradgradcheck(normalised, (x, weight))


def test_what_a_transform_of_functions_asks_of_it_is_what_autograd_gives():
    x, weight = torch.randn(3, 4), torch.rand(4)

    def total(x):
        return torch.func.functional_call(RMSNorm(4), {"weight": weight}, (x,)).square().sum()

    each = torch.func.vmap(torch.func.grad(total))(x)
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(each, torch.autograd.grad(total(leaf), leaf)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_groups_of_features_are_normalised_by_themselves(dtype):
    norm, x = GroupRMSNorm(6, n_groups=3), torch.randn(5, 6, dtype=torch.float64)
    torch.nn.init.normal_(norm.weight)
    x, norm = x.to(dtype), norm.to(dtype)
    pairs = x.double().view(5, 3, 2)
    expected = (pairs / (pairs.square().mean(-1, keepdim=True) + 1e-5).sqrt()).flatten(1) * norm.weight.double()
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 2e-2, "atol": 1e-2}
    torch.testing.assert_close(norm(x).double(), expected, **tolerance)
    with pytest.raises(ValueError, match="n_groups=4 does not divide d_model=6"):
        GroupRMSNorm(6, n_groups=4)
