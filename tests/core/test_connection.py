from functools import partial

import pytest
import torch
from torch import nn

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.connection import (
    AdaptiveNorm,
    BranchNorm,
    LayerScale,
    PostNorm,
    PreNorm,
    SandwichNorm,
    ScaledBranch,
    TanhGate,
)
from omniformer.core.layout import Layout
from omniformer.core.norm import LayerNorm
from omniformer.core.rules import Full

WIDTH = 6
LAYOUT = Layout.from_lengths(3, 2)


class Branch(nn.Module):
    """Any map of the tokens."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, context):
        return self.map(x).tanh()


def build(kind, **others):
    torch.manual_seed(0)
    connection = kind(Branch(), d_model=WIDTH, norm=LayerNorm, **others)
    with torch.no_grad():
        for parameter in connection.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    return connection


def context(condition=None):
    return Context(plan=lower(Full(), LAYOUT), condition=condition)


def normalised(x, norm):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


FORMULAS = {
    PreNorm: lambda c, x: x + c.branch.map(normalised(x, c.norm)).tanh(),
    PostNorm: lambda c, x: normalised(x + c.branch.map(x).tanh(), c.norm),
    BranchNorm: lambda c, x: x + normalised(c.branch.map(x).tanh(), c.norm),
    ScaledBranch: lambda c, x: x + c.scale * c.branch.map(normalised(x, c.norm)).tanh(),
    SandwichNorm: lambda c, x: x + normalised(c.branch.map(normalised(x, c.norm)).tanh(), c.norm_out),
    LayerScale: lambda c, x: x + c.gain * c.branch.map(normalised(x, c.norm)).tanh(),
    TanhGate: lambda c, x: x + torch.tanh(c.gate) * c.branch.map(normalised(x, c.norm)).tanh(),
}


@pytest.mark.parametrize("kind", FORMULAS, ids=lambda kind: kind.__name__)
def test_each_connection_computes_its_formula(kind):
    connection, x = build(kind, **({"scale": 0.3} if kind is ScaledBranch else {})), torch.randn(5, WIDTH)
    expected = FORMULAS[kind](connection, x)
    torch.testing.assert_close(connection(x, context()), expected)
    torch.testing.assert_close(x + connection.update(x, context()), expected)


def test_adaptive_norm_shifts_scales_and_gates_by_the_condition_of_each_sample():
    connection, x = build(AdaptiveNorm, d_condition=4), torch.randn(5, WIDTH)
    condition = torch.randn(2, 4)
    out = connection(x, context(condition))
    for token, sample in zip(range(5), [0, 0, 0, 1, 1], strict=True):
        c = condition[sample]
        shift, scale, gate = connection.modulation(c * c.sigmoid()).chunk(3)
        inner = normalised(x[token], connection.norm) * (1 + scale) + shift
        torch.testing.assert_close(out[token], x[token] + gate * connection.branch.map(inner).tanh())


@pytest.mark.parametrize("kind", [TanhGate, partial(AdaptiveNorm, d_condition=4)])
def test_gated_connections_begin_as_the_identity_bit_for_bit_and_still_learn(kind):
    connection, x = build(kind), torch.randn(5, WIDTH)
    connection.reset_parameters()
    out = connection(x, context(torch.randn(2, 4)))
    assert torch.equal(out, x)
    out.square().sum().backward()
    opened = connection.gate if isinstance(connection, TanhGate) else connection.modulation.weight
    assert opened.grad.abs().sum() > 0


def test_layer_scale_begins_with_its_initial_gain():
    connection = build(LayerScale, initial_gain=0.01)
    connection.reset_parameters()
    assert torch.equal(connection.gain, torch.full((WIDTH,), 0.01))


@pytest.mark.parametrize("kind", FORMULAS, ids=lambda kind: kind.__name__)
def test_dropout_and_stochastic_depth_act_in_training_alone(kind):
    connection, x = build(kind, dropout=0.5, stochastic_depth=0.5), torch.randn(5, WIDTH)
    outs = [connection(x, context()) for _ in range(8)]
    assert any(not torch.equal(outs[0], out) for out in outs[1:])
    connection.eval()
    torch.testing.assert_close(connection(x, context()), FORMULAS[kind](connection, x))


def test_a_skipped_sample_passes_unchanged():
    connection, x = build(PreNorm, stochastic_depth=0.5), torch.randn(5, WIDTH)
    torch.manual_seed(1)
    for _ in range(20):
        moved = (connection(x, context()) != x).any(-1)
        assert moved[:3].all() or not moved[:3].any()
        assert moved[3:].all() or not moved[3:].any()
