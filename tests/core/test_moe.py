"""The mixture in plain loops; beside Mixtral it stands in test_against_huggingface.py."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.feedforward import GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.moe import ClampedSwiGLU, MixtureOfExperts
from omniformer.core.rules import Causal, Full
from omniformer.core.transformer import Transformer


def build(n_experts=4, top_k=2, **others):
    torch.manual_seed(0)
    moe = MixtureOfExperts(6, n_experts=n_experts, top_k=top_k, d_ff=10, **others)
    moe.draw_weights(0.5, 0.5)
    return moe


def one_token(moe, x):
    """A token by all its experts, each written out."""
    logits = moe.router.weight @ x
    chosen = sorted(range(len(logits)), key=lambda i: -logits[i].item())[: moe.top_k]
    weights = logits[chosen].softmax(0)
    out = torch.zeros_like(x)
    for weight, i in zip(weights, chosen, strict=True):
        gate, up = (moe.gate_up[i] @ x).chunk(2)
        out = out + weight * (moe.down[i] @ (F.silu(gate) * up))
    return out


@settings(max_examples=25, deadline=None)
@given(n_tokens=st.integers(0, 9), n_experts=st.integers(1, 5), top_k=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_token_is_served_by_its_best_experts(n_tokens, n_experts, top_k, seed):
    moe = build(n_experts, min(top_k, n_experts))
    x = torch.randn(n_tokens, 6, generator=torch.Generator().manual_seed(seed))
    out = moe(x)
    assert out.shape == x.shape
    for mine, token in zip(out, x, strict=True):
        torch.testing.assert_close(mine, one_token(moe, token), rtol=1e-4, atol=1e-5)


def test_no_token_is_dropped_when_all_want_the_same_expert():
    moe = build(top_k=1)
    with torch.no_grad():
        moe.router.weight.zero_()
        moe.router.weight[2] = 1.0
    x = torch.rand(50, 6) + 0.1
    expected = torch.stack([one_token(moe, token) for token in x])
    torch.testing.assert_close(moe(x), expected, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_router_and_every_expert_even_without_tokens():
    moe = build(n_experts=8)
    moe(torch.randn(3, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in moe.parameters())
    assert moe.router.weight.grad.abs().sum() > 0
    moe.zero_grad()
    moe(torch.zeros(0, 6)).sum().backward()
    assert all(not parameter.grad.any() for parameter in moe.parameters())


def core(**others):
    torch.manual_seed(0)
    moe = partial(MixtureOfExperts, n_experts=4, **others)
    return Transformer(d_model=8, n_layers=3, n_heads=2, feedforward=moe, init_std=0.3)


def test_losses_and_load_reach_the_caller_through_the_core():
    model, losses, stages = core(), {}, {}
    model(torch.randn(20, 8), Layout.from_lengths(12, 8), Causal(), losses=losses, stages=stages)
    assert set(losses) == {"load_balance", "router_z"}
    assert all(loss.requires_grad and loss.shape == () for loss in losses.values())
    for layer in range(3):
        assert stages[f"blocks.{layer}.expert_load"].sum().item() == pytest.approx(1.0)


def test_losses_come_weighted():
    torch.manual_seed(0)
    x, layout = torch.randn(20, 8), Layout.from_lengths(20)
    plain, heavy = {}, {}
    core(load_balance=1.0, router_z=1.0)(x, layout, losses=plain)
    core(load_balance=0.5, router_z=0.25)(x, layout, losses=heavy)
    torch.testing.assert_close(heavy["load_balance"], plain["load_balance"] * 0.5)
    torch.testing.assert_close(heavy["router_z"], plain["router_z"] * 0.25)


def test_load_balance_is_one_when_experts_are_asked_equally_and_more_when_not():
    moe, losses = MixtureOfExperts(4, n_experts=4, top_k=1, load_balance=1.0), {}
    with torch.no_grad():
        moe.router.weight.copy_(torch.eye(4) * 9)

    def balance(x):
        context = Context(plan=lower(Full(), Layout.from_lengths(len(x))))
        moe(x, context)
        return context.report.losses["load_balance"][0].item(), context.report.stages["blocks.0.expert_load"].tolist()

    even, load = balance(torch.eye(4))
    assert even == pytest.approx(1.0)
    assert load == [0.25] * 4
    uneven, load = balance(torch.eye(4)[[1, 1, 1, 2]])
    assert uneven > 2
    assert load == [0, 0.75, 0.25, 0]
    assert losses == {}


def test_training_on_the_balance_loss_alone_evens_out_the_load():
    torch.manual_seed(0)
    moe = MixtureOfExperts(8, n_experts=4, top_k=1, load_balance=1.0)
    x = torch.randn(256, 8) + 1.0
    moe.draw_weights(0.5, 0.5)
    optimizer = torch.optim.Adam(moe.router.parameters(), lr=0.05)

    plan, loads = lower(Full(), Layout.from_lengths(256)), []
    for _ in range(60):
        context = Context(plan=plan)
        moe(x, context)
        optimizer.zero_grad()
        context.report.losses["load_balance"][0].backward()
        optimizer.step()
        loads.append(context.report.stages["blocks.0.expert_load"].max().item())
    assert loads[0] > 0.4
    assert loads[-1] < 0.35


def test_impossible_numbers_are_told():
    for top_k in (0, 5):
        with pytest.raises(ValueError, match=f"top_k={top_k} must be between 1 and n_experts=4"):
            build(top_k=top_k)


def test_the_router_decides_in_float32_also_under_autocast():
    moe, x = build(), torch.randn(40, 6)
    context = Context(plan=lower(Full(), Layout.from_lengths(40)))
    moe(x, context)
    mixed = Context(plan=context.plan)
    with torch.autocast("cpu", torch.bfloat16):
        moe(x, mixed)
    assert torch.equal(mixed.report.losses["router_z"][0], context.report.losses["router_z"][0])


@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_an_exported_program_computes_every_expert_and_keeps_those_chosen(top_k, monkeypatch):
    moe, x = build(top_k=top_k), torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    expected = moe(x)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr(moe, "_mix", None)  # which asks the host how many tokens chose each
    torch.testing.assert_close(moe(x), expected)


def _clamped(gate, value):
    gate, value = min(gate, 0.7), max(min(value, 0.7), -0.7)
    return gate / (1 + math.exp(-2.0 * gate)) * (value + 1)


@pytest.mark.parametrize("width", [8, 6], ids=["one product", "rows that it cannot read"])
def test_offsets_and_another_meeting_of_gate_and_values(width):
    torch.manual_seed(0)
    gate = ClampedSwiGLU(alpha=2.0, limit=0.7)
    moe = MixtureOfExperts(width, n_experts=4, d_ff=12, bias=True, gate=gate)
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(9, width)
    for mine, token in zip(moe(x), x, strict=True):
        logits, expected = moe.router(token), torch.zeros(width)
        chosen = sorted(range(4), key=lambda i: -logits[i].item())[:2]
        for weight, i in zip(logits[chosen].softmax(0), chosen, strict=True):
            gates, values = (moe.gate_up[i] @ token + moe.gate_up_bias[i]).chunk(2)
            inside = torch.tensor([_clamped(*pair) for pair in zip(gates.tolist(), values.tolist(), strict=True)])
            expected = expected + weight * (moe.down[i] @ inside + moe.down_bias[i])
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)


def test_one_product_of_all_experts_is_a_product_for_each_bit_for_bit(monkeypatch):
    moe = MixtureOfExperts(8, n_experts=5, top_k=2, d_ff=12)
    moe.draw_weights(0.5, 0.5)
    with torch.no_grad():
        moe.router.weight[3] = 0.0  # which leaves some experts with little to do
    x, results = torch.randn(20, 8), []
    calls = []
    product = F.grouped_mm
    monkeypatch.setattr(F, "grouped_mm", lambda *given, **how: calls.append(1) or product(*given, **how))
    for readable in (16, 10**9):
        monkeypatch.setattr("omniformer.core.moe._ROW_BYTES", readable)
        moe.zero_grad()
        out = moe(x)
        out.square().sum().backward()
        results.append([out.detach(), *(parameter.grad for parameter in moe.parameters())])
    assert len(calls) == 2
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_a_shared_expert_is_used_by_every_token_beside_the_chosen_ones():
    torch.manual_seed(0)
    moe = build(shared=partial(GatedFeedForward, d_ff=5))
    x = torch.randn(7, 6)
    expected = torch.stack([one_token(moe, token) for token in x]) + moe.shared(x)
    torch.testing.assert_close(moe(x), expected, rtol=1e-4, atol=1e-5)


def test_mixed_precision_computes_the_experts_in_the_narrow_type():
    moe = MixtureOfExperts(8, n_experts=3, d_ff=16)
    moe.draw_weights(0.5, 0.5)
    x = torch.randn(6, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = moe(x)
    torch.testing.assert_close(mixed.float(), moe(x), rtol=0.05, atol=0.05)
    assert not torch.equal(mixed.float(), moe(x))
