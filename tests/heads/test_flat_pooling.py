"""All tokens of a sample as one vector."""

from functools import partial

import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.core.transformer import Transformer
from omniformer.heads import FlatPool, RegressionHead


def test_tokens_stand_end_to_end_in_their_order():
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    out = FlatPool(d_model=2, n_tokens=3)(x, Layout.from_lengths(3, 0, 3))
    torch.testing.assert_close(out, torch.stack([x[:3].flatten(), torch.zeros(6), x[3:].flatten()]))


@pytest.mark.parametrize("lengths", [(3, 2), (3, 4)])
def test_a_sample_of_another_length_is_refused_by_name(lengths):
    pool = FlatPool(d_model=2, n_tokens=3)
    with pytest.raises(ValueError, match=rf"sample 1 has {lengths[1]} tokens, .* set task.head.pool.n_tokens"):
        pool(torch.zeros(sum(lengths), 2), Layout.from_lengths(*lengths))


def test_a_head_is_as_wide_as_all_tokens_and_gradients_stay_in_their_sample():
    head = RegressionHead(d_model=2, n_outputs=4, pool=partial(FlatPool, n_tokens=3))
    torch.nn.init.normal_(head.values.weight)
    x = torch.randn(6, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(head(x, Layout.from_lengths(3, 3))[0].sum(), x)
    assert gradient[:3].all() and not gradient[3:].any()


def test_without_a_last_norm_fresh_layers_leave_a_linear_map_of_what_was_given():
    torch.manual_seed(0)
    core = Transformer(
        d_model=8, n_layers=2, n_heads=2, output_init="zero", final_norm=False
    ).eval()  # fresh layers add nothing
    head = RegressionHead(d_model=8, n_outputs=2, pool=partial(FlatPool, n_tokens=3))
    torch.nn.init.normal_(head.values.weight)
    layout = Layout.from_lengths(3)

    def model(x):
        return head(core(x, layout), layout)

    a, b = torch.randn(3, 8), torch.randn(3, 8)
    torch.testing.assert_close(model(2 * a + b), 2 * model(a) + model(b) - 2 * model(torch.zeros(3, 8)))
