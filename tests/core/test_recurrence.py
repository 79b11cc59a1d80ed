import pytest
import torch
from torch.nn import functional as F

from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.recurrence import draw_rates, in_float32, refuse_unless_causal, wide
from omniformer.core.rules import Causal, Full


def test_sums_are_in_single_precision_at_least():
    x = torch.randn(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with in_float32(x):
            assert (x @ x).dtype == torch.float32
    assert [wide(x.to(dtype)).dtype for dtype in (torch.bfloat16, torch.float64)] == [torch.float32, torch.float64]


def test_rates_and_steps_lie_where_they_were_published():
    rate, step = torch.zeros(500), torch.zeros(500)
    draw_rates(rate, step)
    assert 1 <= float(rate.exp().min()) < 2 < 15 < float(rate.exp().max()) <= 16.001
    step = F.softplus(step)
    assert 0.00099 <= float(step.min()) < 0.002 < 0.08 < float(step.max()) <= 0.1001


def test_only_a_causal_rule_over_the_tokens_themselves_will_do():
    layout, other = Layout.from_lengths(2), Layout.from_lengths(3)
    refuse_unless_causal("it", lower(Causal(), layout))
    with pytest.raises(ValueError, match=r"it can do Causal\(\); received Full"):
        refuse_unless_causal("it", lower(Full(), layout))
    with pytest.raises(ValueError, match="it cannot read keys of other tokens"):
        refuse_unless_causal("it", lower(Causal(), layout, other))
    with pytest.raises(ValueError, match="it has no scores to add a bias to"):
        refuse_unless_causal("it", lower(Causal(), layout), bias=object())
