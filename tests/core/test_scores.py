from functools import partial

import pytest
import torch

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal, Neighbours, Self
from omniformer.core.scores import SoftCap
from omniformer.core.transformer import Transformer


def test_capped_scores_keep_order_and_never_pass_the_cap():
    scores = torch.linspace(-500, 500, 101)
    capped = SoftCap(cap=30.0)(scores)
    assert capped.abs().max() <= 30.0
    assert (capped.diff() >= 0).all()
    torch.testing.assert_close(SoftCap(cap=1e4)(scores / 500), scores / 500, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", ["dense", "edges", "reference"])
def test_every_kernel_caps_scores_before_the_softmax(kernel):
    torch.manual_seed(0)
    edges = torch.randint(0, 6, (2, 9))
    layout = Layout(lengths=torch.tensor([6]), edges=edges)
    q, k, v = torch.randn(3, 6, 2, 4) * 5
    rule = Neighbours() | Self()
    out = lower(rule, layout, kernel=kernel).attend(q, k, v, score=SoftCap(cap=2.0))
    scores = 2 * (torch.einsum("qhd,khd->hqk", q, k) / 2 / 2).tanh()
    weights = scores.masked_fill(~rule.mask(layout), -torch.inf).softmax(-1)
    torch.testing.assert_close(out, torch.einsum("hqk,khd->qhd", weights, v), rtol=1e-5, atol=1e-5)


def test_a_core_takes_a_cap_as_a_part():
    torch.manual_seed(0)
    core = Transformer(
        d_model=8, n_layers=1, n_heads=2, init_std=2.0, attention=partial(SelfAttention, score=SoftCap(cap=1.0))
    )
    layout, x = Layout.from_lengths(5), torch.randn(5, 8)
    attention, plan = core.blocks[0].attention, lower(Causal(), layout)
    q, k, _ = attention.branch.project(attention.norm(x), Context(plan=plan))
    weights = plan.weights(q, k, score=attention.branch.score)[0]
    # Scores between -1 and 1 leave no key less than 1 / (1 + 4 e^2) of the weight.
    assert weights[:, -1].min() > 1 / (1 + 4 * torch.e**2)


def test_an_impossible_cap_is_told():
    with pytest.raises(ValueError, match="cap=0"):
        SoftCap(cap=0)
