import pytest
import torch

from omniformer.core.layout import Layout
from omniformer.heads.attention_pooling import MultiheadAttentionPool

LAYOUT = Layout.from_lengths(2, 0, 3)


def test_each_sample_is_read_as_by_the_attention_of_torch():
    torch.manual_seed(0)
    pool = MultiheadAttentionPool(d_model=6, n_heads=3)
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(5, 6)
    attention = torch.nn.MultiheadAttention(6, 3, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(pool.qkv.weight)
        attention.in_proj_bias.copy_(pool.qkv.bias)
        attention.out_proj.load_state_dict(pool.out.state_dict())
    rows = []
    for tokens in (x[:2], x[2:]):
        y = attention(pool.query[None, None], tokens[None], tokens[None])[0][0, 0]
        rows.append(y + pool.feedforward(pool.norm(y)))
    torch.testing.assert_close(pool(x, LAYOUT), torch.stack([rows[0], torch.zeros(6), rows[1]]))


def test_samples_never_mix():
    x = torch.randn(5, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(MultiheadAttentionPool(d_model=6, n_heads=2)(x, LAYOUT)[0].sum(), x)
    assert gradient[:2].any() and not gradient[2:].any()


@pytest.mark.parametrize("n_samples", [0, 2])
def test_without_a_token_every_weight_has_a_gradient_of_zero(n_samples):
    pool = MultiheadAttentionPool(d_model=4)
    pool(torch.zeros(0, 4, requires_grad=True), Layout.from_lengths(*[0] * n_samples)).sum().backward()
    assert [name for name, weight in pool.named_parameters() if weight.grad is None or weight.grad.any()] == []


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="n_heads=3 does not divide d_model=8"):
        MultiheadAttentionPool(d_model=8, n_heads=3)
