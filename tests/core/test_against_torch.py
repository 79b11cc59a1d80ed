"""The core beside PyTorch's own layers with the same weights: outputs, and gradients of inputs and weights."""

from functools import partial

import pytest
import torch
from torch import nn

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.block import CrossBlock
from omniformer.core.connection import PostNorm, PreNorm
from omniformer.core.feedforward import FeedForward
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Causal, Full
from omniformer.core.transformer import Transformer

OUTPUTS = {"rtol": 1.3e-6, "atol": 1e-5}
GRADIENTS = {"rtol": 1e-4, "atol": 1e-6}
LENGTHS = (5, 1, 9)


def ragged(lengths=LENGTHS, width=16, seed=0):
    layout = Layout.from_lengths(*lengths)
    generator = torch.Generator().manual_seed(seed)
    return layout, torch.randn(sum(lengths), width, generator=generator, requires_grad=True)


def padding(layout):
    """PyTorch's key_padding_mask: True where a token does NOT take part."""
    longest = int(layout.lengths.max())
    return torch.arange(longest) >= layout.lengths[:, None]


def copy_attention(theirs, ours):
    with torch.no_grad():
        ours.qkv.weight.copy_(theirs.in_proj_weight)
        ours.qkv.bias.copy_(theirs.in_proj_bias)
        ours.out.weight.copy_(theirs.out_proj.weight)
        ours.out.bias.copy_(theirs.out_proj.bias)


def copy_cross(theirs, ours):
    with torch.no_grad():
        d = ours.out.weight.shape[0]
        ours.q.weight.copy_(theirs.in_proj_weight[:d])
        ours.q.bias.copy_(theirs.in_proj_bias[:d])
        ours.kv.weight.copy_(theirs.in_proj_weight[d:])
        ours.kv.bias.copy_(theirs.in_proj_bias[d:])
        ours.out.weight.copy_(theirs.out_proj.weight)
        ours.out.bias.copy_(theirs.out_proj.bias)


def copy_feedforward(theirs, ours):
    ours.up.load_state_dict(theirs.linear1.state_dict())
    ours.down.load_state_dict(theirs.linear2.state_dict())


def shake(module):
    """Weights of no special kind: PyTorch starts offsets at zero and gains at one, which would hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def compare(ours, theirs, parameters):
    """Outputs, then gradients of the same random weighted sum with respect to pairs of tensors."""
    torch.testing.assert_close(ours, theirs, **OUTPUTS)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    mine, yours = zip(*parameters, strict=True)
    gradients = torch.autograd.grad((ours * weights).sum(), mine)
    expected = torch.autograd.grad((theirs * weights).sum(), yours)
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, **GRADIENTS)


@pytest.mark.parametrize("rule", [Full(), Causal()])
def test_self_attention_equals_torch_multihead_attention_on_ragged_batches(rule):
    theirs = shake(nn.MultiheadAttention(16, 4, batch_first=True))
    ours = SelfAttention(d_model=16, n_heads=4)
    copy_attention(theirs, ours)
    layout, x = ragged()
    y = x.detach().clone().requires_grad_()
    padded = layout.pad(y)
    mask = torch.ones(padded.shape[1], padded.shape[1], dtype=torch.bool).triu(1) if rule == Causal() else None
    expected, _ = theirs(padded, padded, padded, key_padding_mask=padding(layout), attn_mask=mask, need_weights=False)
    out = ours(x, Context(plan=lower(rule, layout)))
    pairs = [(x, y), (ours.qkv.weight, theirs.in_proj_weight), (ours.qkv.bias, theirs.in_proj_bias)]
    compare(out, expected[~padding(layout)], [*pairs, (ours.out.weight, theirs.out_proj.weight)])


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_core_equals_torch_transformer_encoder(norm_first, activation):
    layer = nn.TransformerEncoderLayer(
        16, 4, dim_feedforward=40, dropout=0.0, activation=activation, batch_first=True, norm_first=norm_first
    )
    theirs = shake(
        nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16) if norm_first else None, enable_nested_tensor=False)
    )
    ours = Transformer(
        d_model=16,
        n_layers=2,
        n_heads=4,
        connection=PreNorm if norm_first else PostNorm,
        final_norm=norm_first,
        feedforward=partial(FeedForward, d_ff=40, activation=activation),
    )
    for block, their in zip(ours.blocks, theirs.layers, strict=True):
        copy_attention(their.self_attn, block.attention.branch)
        copy_feedforward(their, block.feedforward.branch)
        block.attention.norm.load_state_dict(their.norm1.state_dict())
        block.feedforward.norm.load_state_dict(their.norm2.state_dict())
    if norm_first:
        ours.norm.load_state_dict(theirs.norm.state_dict())
    layout, x = ragged()
    y = x.detach().clone().requires_grad_()
    expected = theirs(layout.pad(y), src_key_padding_mask=padding(layout))[~padding(layout)]
    first, last = ours.blocks[0], theirs.layers[0]
    compare(
        ours(x, layout),
        expected,
        [
            (x, y),
            (first.attention.branch.qkv.weight, last.self_attn.in_proj_weight),
            (first.feedforward.branch.up.weight, last.linear1.weight),
            (first.attention.norm.weight, last.norm1.weight),
        ],
    )


@pytest.mark.parametrize("norm_first", [True, False])
def test_cross_blocks_equal_torch_transformer_decoder(norm_first):
    layer = nn.TransformerDecoderLayer(16, 4, dim_feedforward=40, dropout=0.0, batch_first=True, norm_first=norm_first)
    theirs = shake(nn.TransformerDecoder(layer, 2, norm=nn.LayerNorm(16) if norm_first else None))
    ours = Transformer(
        d_model=16,
        n_layers=2,
        n_heads=4,
        block=CrossBlock,
        connection=PreNorm if norm_first else PostNorm,
        final_norm=norm_first,
        feedforward=partial(FeedForward, d_ff=40, activation="relu"),
    )
    for block, their in zip(ours.blocks, theirs.layers, strict=True):
        copy_attention(their.self_attn, block.attention.branch)
        copy_cross(their.multihead_attn, block.cross.branch)
        copy_feedforward(their, block.feedforward.branch)
        for connection, norm in (
            (block.attention, their.norm1),
            (block.cross, their.norm2),
            (block.feedforward, their.norm3),
        ):
            connection.norm.load_state_dict(norm.state_dict())
    if norm_first:
        ours.norm.load_state_dict(theirs.norm.state_dict())
    layout, x = ragged()
    memory_layout, memory = ragged((3, 7, 2), seed=5)
    y, other = x.detach().clone().requires_grad_(), memory.detach().clone().requires_grad_()
    longest = int(layout.lengths.max())
    expected = theirs(
        layout.pad(y),
        memory_layout.pad(other),
        tgt_mask=torch.ones(longest, longest, dtype=torch.bool).triu(1),
        tgt_key_padding_mask=padding(layout),
        memory_key_padding_mask=padding(memory_layout),
    )[~padding(layout)]
    out = ours(x, layout, Causal(), memory=Memory(x=memory, layout=memory_layout))
    block, their = ours.blocks[0], theirs.layers[0]
    pairs = [(x, y), (memory, other), (block.cross.branch.out.weight, their.multihead_attn.out_proj.weight)]
    compare(out, expected, pairs)


def test_feedforward_equals_two_convolutions_of_width_one():
    ours = shake(FeedForward(6, d_ff=10, activation="relu"))
    up, down = nn.Conv1d(6, 10, 1), nn.Conv1d(10, 6, 1)
    with torch.no_grad():
        for conv, linear in ((up, ours.up), (down, ours.down)):
            conv.weight.copy_(linear.weight[..., None])
            conv.bias.copy_(linear.bias)
    x = torch.randn(7, 6)
    torch.testing.assert_close(ours(x), down(up(x.T[None]).relu())[0].T)
