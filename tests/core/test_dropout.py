import pytest
import torch

from omniformer.core.dropout import Dropout, kept


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_of_the_features_is_dropped_and_the_mean_stays(share):
    torch.manual_seed(0)
    out = Dropout(share)(torch.ones(400, 501))
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert float(out.mean()) == pytest.approx(1, abs=0.02 / (1 - share))
    assert out[out != 0].unique().tolist() == pytest.approx([1 / (1 - share)], rel=1e-4)


def test_features_are_dropped_independently_of_each_other():
    torch.manual_seed(0)
    dropped = (kept(torch.ones(4000, 64), 0.3) == 0).double()
    found = torch.corrcoef(dropped.T) - torch.eye(64)
    assert float(found.abs().max()) < 0.08


def test_a_share_that_is_nearly_nothing_or_nearly_all_is_neither():
    torch.manual_seed(0)
    x = torch.ones(1_000_000)
    assert 1 <= int((kept(x, 1e-9) == 0).sum()) < 60
    assert 1 <= int((kept(x, 0.999999) != 0).sum()) < 60


def test_a_gradient_passes_where_a_feature_did_and_a_seed_draws_the_same_again():
    dropout, x = Dropout(0.5), torch.ones(7, 3, requires_grad=True)
    torch.manual_seed(1)
    first = dropout(x)
    first.sum().backward()
    torch.manual_seed(1)
    assert torch.equal(x.grad, first) and torch.equal(dropout(x), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_dtype_stays_and_nothing_may_be_dropped_of_nothing(dtype):
    assert Dropout(0.5)(torch.ones(3, 5, dtype=dtype)).dtype == dtype
    assert Dropout(0.5)(torch.ones(0, 5, dtype=dtype)).shape == (0, 5)


def test_nothing_is_dropped_or_drawn_outside_training_or_of_a_share_of_zero():
    x, before = torch.randn(3, 5), torch.get_rng_state()
    assert torch.equal(Dropout(0.5).eval()(x), x) and torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(torch.get_rng_state(), before)
