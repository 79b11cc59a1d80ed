"""What nodes add up to, seen as a whole."""

from functools import partial

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.heads import ClassificationHead, DenseSumPool, RegressionHead, SumPool

LAYOUT = Layout.from_lengths(2, 0, 3)


def test_the_sum_of_each_sample_mapped_and_cut_off_below():
    pool, x = DenseSumPool(d_model=4, d_out=3), torch.randn(5, 4)
    torch.nn.init.normal_(pool.map.bias)
    sums = torch.stack([x[:2].sum(0), torch.zeros(4), x[2:].sum(0)])
    torch.testing.assert_close(pool(x, LAYOUT), torch.relu(sums @ pool.map.weight.T + pool.map.bias))
    smooth = DenseSumPool(d_model=4, d_out=3, activation="tanh")
    smooth.load_state_dict(pool.state_dict())
    torch.testing.assert_close(smooth(x, LAYOUT), torch.tanh(sums @ pool.map.weight.T + pool.map.bias))


def test_samples_are_not_mixed():
    x = torch.randn(5, 4, requires_grad=True)
    pool = DenseSumPool(d_model=4, activation="tanh")  # a ReLU may cut off all that a sample adds up to
    (gradient,) = torch.autograd.grad(pool(x, LAYOUT)[0].sum(), x)
    assert gradient[:2].any() and not gradient[2:].any()


@pytest.mark.parametrize("d_out", [None, 3])
def test_heads_are_as_wide_as_what_it_gives(d_out):
    pool = partial(DenseSumPool, d_out=d_out)
    made = [ClassificationHead(d_model=4, n_classes=2, pool=pool), RegressionHead(d_model=4, pool=pool)]
    assert [head.last_map.in_features for head in made] == [d_out or 4] * 2
    assert [head(torch.zeros(5, 4), LAYOUT).shape for head in made] == [(3, 2), (3, 1)]


def test_what_a_token_adds_depends_on_the_others_which_a_map_of_the_sum_alone_cannot_learn():
    """Whether there are exactly two tokens: three counts on a line, of which the middle one is high."""
    torch.manual_seed(0)
    x, layout, wanted = torch.ones(6, 1), Layout.from_lengths(1, 2, 3), torch.tensor([[0.0], [1.0], [0.0]])
    losses = {}
    for pool in (SumPool, partial(DenseSumPool, d_out=8)):
        head = RegressionHead(d_model=1, pool=pool)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
        for _ in range(300):
            loss = (head(x, layout) - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[pool] = loss.item()
    plain, dense = losses.values()
    assert plain > 0.2 > 0.01 > dense
