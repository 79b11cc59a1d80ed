import torch

from omniformer.core.attention.gated import GatedAttention
from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.rules import Causal


def test_what_heads_collect_is_multiplied_by_a_sigmoid_of_the_token():
    torch.manual_seed(0)
    attention = GatedAttention(d_model=12, n_heads=4, n_kv_heads=2).double()
    x, layout = torch.randn(6, 12, dtype=torch.float64), Layout.from_lengths(4, 2)
    q, k, v = attention.qkv(x).unflatten(1, (8, 3)).split([4, 2, 2], dim=1)
    rows = []
    for i in range(6):
        keys = slice(0 if i < 4 else 4, i + 1)
        heads = [(k[keys, h // 2] @ q[i, h] / 3**0.5).softmax(0) @ v[keys, h // 2] for h in range(4)]
        rows.append(torch.cat(heads) / (1 + (-attention.gate(x[i])).exp()))
    expected = attention.out(torch.stack(rows))
    torch.testing.assert_close(attention(x, Context(plan=lower(Causal(), layout))), expected, rtol=1e-10, atol=1e-10)
    assert (attention.projections["gate"].first, attention.projections["gate"].last) == (0, 12)
