import torch

from omniformer.core.layout import Layout
from omniformer.core.rules import Causal
from omniformer.core.transformer import Transformer
from omniformer.core.variants.value_residual import ValueResidualAttention

LAYOUT = Layout.from_lengths(4, 2)


def build():
    torch.manual_seed(0)
    return Transformer(d_model=8, n_layers=3, n_heads=2, attention=ValueResidualAttention, init_std=0.3)


def test_later_layers_attend_to_values_mixed_with_those_of_the_first():
    core, seen = build(), []
    with torch.no_grad():
        for block, share in zip(core.blocks, (0.9, 0.25, 1.0), strict=True):
            block.attention.branch.share.fill_(share)
    for block in core.blocks:
        attention = block.attention.branch

        def watch(q, k, v, plan, bias, attention=attention, attend=attention.attend):
            seen.append(v)
            return attend(q, k, v, plan, bias)

        attention.attend = watch
    own = []
    for block in core.blocks:
        block.attention.branch.qkv.register_forward_hook(
            lambda module, inputs, output: own.append(output.chunk(3, dim=1)[2].view(6, 2, 4))
        )
    core(torch.randn(6, 8), LAYOUT, Causal())
    assert torch.equal(seen[0], own[0])
    torch.testing.assert_close(seen[1], 0.25 * own[0] + 0.75 * own[1])
    torch.testing.assert_close(seen[2], own[0])


def test_the_share_learns_and_begins_at_one_half():
    core = build()
    assert [block.attention.branch.share.item() for block in core.blocks] == [0.5] * 3
    core(torch.randn(6, 8), LAYOUT, Causal()).square().sum().backward()
    core.zero_grad()
    core(torch.randn(6, 8), LAYOUT, Causal())[:, 0].sum().backward()
    gradients = [block.attention.branch.share.grad.item() for block in core.blocks]
    assert gradients[0] == 0
    assert gradients[1] != 0
    assert gradients[2] != 0
