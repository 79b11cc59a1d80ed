from dataclasses import replace

import pytest
import torch

from omniformer.core.attention.multihead import Context, SelfAttention
from omniformer.core.attention.plan import lower
from omniformer.core.block import (
    BareFirstBlock,
    Block,
    CrossBlock,
    GatedCrossBlock,
    MixerBlock,
    ParallelBlock,
    ParallelNormsBlock,
    Parts,
)
from omniformer.core.connection import PreNorm
from omniformer.core.feedforward import FeedForward
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.norm import LayerNorm
from omniformer.core.rules import Causal, Full

PARTS = Parts(
    layer=0,
    d_model=8,
    n_heads=2,
    n_kv_heads=None,
    attention=SelfAttention,
    feedforward=FeedForward,
    norm=LayerNorm,
    connection=PreNorm,
    dropout=0.0,
    stochastic_depth=0.0,
)
LAYOUT = Layout.from_lengths(3, 2)
MEMORY = Memory(x=torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), layout=Layout.from_lengths(1, 3))
CONTEXT = Context(plan=lower(Causal(), LAYOUT), memory=MEMORY, memory_plan=lower(Full(), LAYOUT, MEMORY.layout))


def branches(*connections):
    return [lambda x, c=c: c.branch(c.norm(x), CONTEXT) for c in connections]


def test_a_block_is_attention_then_feedforward():
    block, x = Block(PARTS), torch.randn(5, 8)
    attention, feedforward = branches(block.attention, block.feedforward)
    y = x + attention(x)
    torch.testing.assert_close(block(x, CONTEXT), y + feedforward(y))


def test_only_the_first_block_attends_to_its_input_as_it_comes():
    x = torch.randn(5, 8)
    first, second = BareFirstBlock(PARTS), BareFirstBlock(replace(PARTS, layer=1))
    for block, norm in ((first, lambda x: x), (second, second.attention.norm)):
        y = x + block.attention.branch(norm(x), CONTEXT)
        expected = y + block.feedforward.branch(block.feedforward.norm(y), CONTEXT)
        torch.testing.assert_close(block(x, CONTEXT), expected)


def test_a_parallel_block_adds_both_branches_of_the_same_tokens():
    block, x = ParallelBlock(PARTS), torch.randn(5, 8)
    normed = block.both.norm(x)
    both = block.both.branch
    expected = x + both.attention(normed, CONTEXT) + both.feedforward(normed, CONTEXT)
    torch.testing.assert_close(block(x, CONTEXT), expected)


def test_a_parallel_block_of_two_norms_adds_what_each_connection_adds():
    block, x = ParallelNormsBlock(PARTS), torch.randn(5, 8)
    with torch.no_grad():
        block.feedforward.norm.weight.mul_(2)
    parts = [each.branch(each.norm(x), CONTEXT) for each in (block.attention, block.feedforward)]
    torch.testing.assert_close(block(x, CONTEXT), x + sum(parts))


def test_a_cross_block_reads_the_memory_between_the_two():
    block, x = CrossBlock(PARTS), torch.randn(5, 8)
    attention, cross, feedforward = branches(block.attention, block.cross, block.feedforward)
    y = x + attention(x)
    z = y + cross(y)
    torch.testing.assert_close(block(x, CONTEXT), z + feedforward(z))


def test_a_gated_cross_block_reads_the_memory_before_the_two():
    block, x = GatedCrossBlock(PARTS), torch.randn(5, 8)
    with torch.no_grad():
        block.cross.gate.fill_(0.3)
        block.cross_feedforward.gate.fill_(-0.4)
    cross, cross_feedforward, attention, feedforward = branches(
        block.cross, block.cross_feedforward, block.attention, block.feedforward
    )
    gates = torch.tensor([0.3, -0.4]).tanh()
    y = x + gates[0] * cross(x)
    y = y + gates[1] * cross_feedforward(y)
    y = y + attention(y)
    torch.testing.assert_close(block(x, CONTEXT), y + feedforward(y))


def test_gated_cross_attention_stands_before_every_so_many_layers():
    from dataclasses import replace

    reads = [GatedCrossBlock(replace(PARTS, layer=layer), every=3).reads for layer in range(7)]
    assert reads == [True, False, False, True, False, False, True]
    with pytest.raises(ValueError, match="every=0"):
        GatedCrossBlock(PARTS, every=0)


def test_a_mixer_block_has_no_more_than_its_mixer():
    torch.manual_seed(0)
    block, x, layout = MixerBlock(PARTS), torch.randn(3, 8), Layout.from_lengths(3)
    context = Context(plan=lower(Full(), layout))
    expected = x + block.attention.branch(block.attention.norm(x), context)
    torch.testing.assert_close(block(x, context), expected)
    assert {name.split(".")[0] for name, _ in block.named_parameters()} == {"attention"}
