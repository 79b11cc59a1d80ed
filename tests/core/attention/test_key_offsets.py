import pytest
import torch

from omniformer.core.attention.cross import CrossAttention
from omniformer.core.attention.key_offsets import CrossAttentionWithoutKeyOffset, SelfAttentionWithoutKeyOffset
from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Causal, Full


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_softmax_does_not_see_the_missing_offset(n_kv_heads):
    torch.manual_seed(0)
    sizes = {"d_model": 8, "n_heads": 4, "n_kv_heads": n_kv_heads}
    without, ordinary = SelfAttentionWithoutKeyOffset(**sizes), SelfAttention(**sizes)
    ordinary.out.load_state_dict(without.out.state_dict())
    ordinary.qkv.weight.data.copy_(without.qkv.weight)
    keys = slice(8, 8 + 2 * n_kv_heads)
    ordinary.qkv.bias.data[: keys.start], ordinary.qkv.bias.data[keys.stop :] = without.qkv.bias.split(
        [8, 2 * n_kv_heads]
    )
    layout = Layout.from_lengths(5, 3)
    context = Context(plan=lower(Causal(), layout))
    x = torch.randn(8, 8)
    torch.testing.assert_close(without(x, context), ordinary(x, context))  # whatever offset the ordinary keys have


def test_cross_attention_does_not_see_it_either():
    torch.manual_seed(1)
    without, ordinary = (kind(d_model=8, n_heads=2) for kind in (CrossAttentionWithoutKeyOffset, CrossAttention))
    for name in ("q", "out"):
        getattr(ordinary, name).load_state_dict(getattr(without, name).state_dict())
    ordinary.kv.weight.data.copy_(without.kv.weight)
    ordinary.kv.bias.data[8:] = without.kv.bias
    layout, source = Layout.from_lengths(3, 2), Layout.from_lengths(4, 6)
    memory = Memory(x=torch.randn(10, 8), layout=source)
    plan = lower(Full(), layout)
    context = Context(plan=plan, memory=memory, memory_plan=lower(Full(), layout, source))
    x = torch.randn(5, 8)
    torch.testing.assert_close(without(x, context), ordinary(x, context))
