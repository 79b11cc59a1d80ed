from functools import partial

import pytest
import torch
from hybrids import decodes_as_it_reads, keeps_samples_apart
from torch.nn import functional as F

from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi
from omniformer.core.layer_kinds import LayerKind
from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.transformer import Transformer
from omniformer.core.variants import gated_delta as module
from omniformer.core.variants.gated_delta import GatedDelta

LENGTHS = (1, 0, 9, 4, 11)


def step_by_step(attention, x, lengths):
    """Every token of every head in turn, in one loop; nothing is shared with the code but the weights."""
    heads, kv, width = attention.n_heads, attention.n_kv_heads, attention.head_dim
    rows, start = [], 0
    for n in lengths:
        memory = [torch.zeros(width, width, dtype=x.dtype) for _ in range(kv)]
        projected = attention.qkv(x[start : start + n])
        kernel = len(attention.conv.weight)
        for t in range(n):
            seen = [(i, t - kernel + 1 + i) for i in range(kernel) if t - kernel + 1 + i >= 0]
            mixed = F.silu(sum(attention.conv.weight[i] * projected[place] for i, place in seen)).view(-1, width)
            token = x[start + t]
            rates = attention.rates.weight @ token
            row = []
            for head in range(kv):
                key, value = mixed[heads + head], mixed[heads + kv + head]
                key = key / key.norm()
                speed = (1 + (rates[head] + attention.rate_bias[head]).exp()).log()
                memory[head] = memory[head] * (-attention.log_rate[head].exp() * speed).exp()
                strength = 1 / (1 + (-rates[kv + head]).exp())
                wrong = value - memory[head].T @ key
                memory[head] = memory[head] + strength * key[:, None] * wrong[None]
            for head in range(heads):
                query = mixed[head] / mixed[head].norm() / width**0.5
                found = memory[head * kv // heads].T @ query
                row.append(found / (found.square().mean() + 1e-6).sqrt() * attention.norm.weight)
            row = torch.stack(row) * F.silu(attention.gate(token)).view(heads, width)
            rows.append(attention.out(row.flatten()))
        start += n
    return torch.stack(rows)


def shaken(**options):
    torch.manual_seed(0)
    attention = GatedDelta(d_model=8, n_heads=4, head_dim=3, **options).double()
    attention.draw_weights(0.5, 0.5)
    torch.nn.init.uniform_(attention.log_rate, -3, 0.5)
    torch.nn.init.normal_(attention.norm.weight)
    return attention


@pytest.mark.parametrize("n_kv_heads", [1, 2, 4])
def test_rows_of_tokens_equal_the_recurrence_step_by_step(n_kv_heads, monkeypatch):
    monkeypatch.setattr(module, "_SIZE", 4)
    attention = shaken(n_kv_heads=n_kv_heads)
    x = torch.randn(sum(LENGTHS), 8, dtype=torch.float64, requires_grad=True)
    found = attention(x, Context(plan=lower(Causal(), Layout.from_lengths(*LENGTHS))))
    expected = step_by_step(attention, x, LENGTHS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)  # sums are in single precision
    leaves = [x, *attention.parameters()]
    for one, other in zip(*(torch.autograd.grad(each.sin().sum(), leaves) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * max(1.0, float(other.abs().max())))


@pytest.mark.parametrize("carried", [False, True])
def test_the_sums_of_rows_are_exact_and_carry_on(carried):
    """In double precision, against the recurrence of one head."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n, before = sum(LENGTHS), drawn(len(LENGTHS), 1, 3, 2) if carried else None
    q, k, v = drawn(n, 1, 3), F.normalize(drawn(n, 1, 3), dim=-1), drawn(n, 1, 2)
    log_decay, strength = -drawn(n, 1).abs(), drawn(n, 1).sigmoid()
    layout = Layout.from_lengths(*LENGTHS)
    out, after = module.gated_delta(q, k, v, log_decay, strength, module.chunks_of(layout, 4), before=before)
    outs, memories, t = [], [], 0
    for sample, length in enumerate(LENGTHS):
        memory = torch.zeros(3, 2, dtype=torch.float64) if before is None else before[sample, 0]
        for _ in range(length):
            memory = memory * log_decay[t].exp()
            memory = memory + strength[t] * torch.outer(k[t, 0], v[t, 0] - k[t, 0] @ memory)
            outs.append(q[t, 0] @ memory)
            t += 1
        memories.append(memory)
    torch.testing.assert_close(out[:, 0], torch.stack(outs), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(after[:, 0], torch.stack(memories), rtol=1e-11, atol=1e-11)


def hybrid():
    torch.manual_seed(0)
    kinds = {"delta": LayerKind(attention=partial(GatedDelta, kernel=3), rotary=None), "full": LayerKind()}
    core = Transformer(d_model=8, n_layers=3, n_heads=2, rotary=Rotary, pattern=["delta", "delta", "full"], kinds=kinds)
    return core.eval()


def test_a_hybrid_stack_decodes_as_it_reads(monkeypatch):
    monkeypatch.setattr(module, "_SIZE", 4)
    decodes_as_it_reads(hybrid(), {"tokens": (3, 2, 24), "memory": (3, 2, 4, 4)})


def test_samples_never_meet_and_a_batch_may_be_empty():
    core = hybrid()
    keeps_samples_apart(core)
    assert core(torch.zeros(0, 8), Layout.from_lengths(0), Causal()).shape == (0, 8)


def test_fresh_heads_forget_as_published():
    torch.manual_seed(0)
    core = Transformer(d_model=64, n_layers=1, n_heads=64, attention=GatedDelta)
    attention = core.blocks[0].attention.branch
    step, rate = F.softplus(attention.rate_bias.detach()), attention.log_rate.detach().exp()
    assert 0.00099 <= float(step.min()) < 0.01 < 0.05 < float(step.max()) <= 0.1001
    assert 1 <= float(rate.min()) < 3 < 12 < float(rate.max()) <= 16.001


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (Full(), {}, r"the gated delta rule can do Causal\(\); received Full"),
        (Causal() & Window(left=3), {}, r"the gated delta rule can do Causal\(\)"),
        (Causal(), {"pair_bias": ALiBi}, "the gated delta rule has no scores to add a bias to"),
    ],
)
def test_what_it_cannot_do_is_refused(rule, options, message):
    core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=GatedDelta, **options)
    with pytest.raises(ValueError, match=message):
        core(torch.zeros(3, 8), Layout.from_lengths(3), rule)
