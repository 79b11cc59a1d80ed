from functools import partial

import pytest
import torch
from hybrids import decodes_as_it_reads, keeps_samples_apart
from torch.nn import functional as F

from omniformer.core.attention import mamba2 as module
from omniformer.core.attention.mamba2 import Mamba2
from omniformer.core.attention.multihead import Context
from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi
from omniformer.core.block import MixerBlock
from omniformer.core.chunks import chunks_of
from omniformer.core.layer_kinds import LayerKind
from omniformer.core.layout import Layout
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.transformer import Transformer

LENGTHS = (1, 0, 9, 4, 11)


def step_by_step(mixer, x, lengths):
    """Every token of every head in turn, in one loop; nothing is shared with the code but the weights."""
    heads, width, groups, numbers = mixer.n_heads, mixer.head_dim, mixer.n_groups, mixer.state_size
    inner, shared, kernel = heads * width, groups * numbers, len(mixer.conv.weight)
    rows, start = [], 0
    for n in lengths:
        state = [torch.zeros(numbers, width, dtype=x.dtype) for _ in range(heads)]
        projected = x[start : start + n] @ mixer.maps.weight.T
        projected = projected if mixer.maps.bias is None else projected + mixer.maps.bias
        for t in range(n):
            seen = [(i, t - kernel + 1 + i) for i in range(kernel) if t - kernel + 1 + i >= 0]
            taken = sum(mixer.conv.weight[i] * projected[place, inner:-heads] for i, place in seen)
            taken = F.silu(taken if mixer.conv.bias is None else taken + mixer.conv.bias)
            row = []
            for head in range(heads):
                group = head * groups // heads
                value = taken[head * width : (head + 1) * width]
                key = taken[inner + group * numbers : inner + (group + 1) * numbers]
                query = taken[inner + shared + group * numbers : inner + shared + (group + 1) * numbers]
                step = (1 + (projected[t, -heads + head] + mixer.step_bias[head]).exp()).log()
                step = step.clamp(mixer.least_step, mixer.most_step)
                state[head] = state[head] * (-mixer.log_rate[head].exp() * step).exp()
                state[head] = state[head] + step * key[:, None] * value[None]
                row.append(query @ state[head] + mixer.skip[head] * value)
            row = torch.cat(row) * F.silu(projected[t, :inner])
            parts = [each / (each.square().mean() + 1e-5).sqrt() for each in row.chunk(groups)]
            rows.append(mixer.out(torch.cat(parts) * mixer.norm.weight))
        start += n
    return torch.stack(rows)


def shaken(**options):
    torch.manual_seed(0)
    mixer = Mamba2(d_model=8, n_heads=4, head_dim=3, state_size=5, **options).double()
    mixer.draw_weights(0.5, 0.5)
    torch.nn.init.uniform_(mixer.log_rate, -3, 0.5)
    for weight in (mixer.norm.weight, mixer.skip, mixer.conv.bias, mixer.maps.bias):
        if weight is not None:
            torch.nn.init.normal_(weight)
    return mixer


@pytest.mark.quick("limited steps")
@pytest.mark.parametrize(
    "options",
    [{}, {"n_groups": 2, "bias": True, "least_step": 0.4, "most_step": 0.9}, {"n_groups": 4, "conv_bias": False}],
    ids=["one group", "limited steps", "a group each"],
)
def test_rows_of_tokens_equal_the_recurrence_step_by_step(options, monkeypatch):
    monkeypatch.setattr(module, "_SIZE", 4)
    mixer = shaken(**options)
    x = torch.randn(sum(LENGTHS), 8, dtype=torch.float64, requires_grad=True)
    found = mixer(x, Context(plan=lower(Causal(), Layout.from_lengths(*LENGTHS))))
    expected = step_by_step(mixer, x, LENGTHS)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    leaves = [x, *mixer.parameters()]
    for one, other in zip(*(torch.autograd.grad(each.sin().sum(), leaves) for each in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_states_carry_on():
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    n, before = sum(LENGTHS), drawn(len(LENGTHS), 2, 3, 2)
    q, k, v, log_decay = drawn(n, 1, 3), drawn(n, 1, 3), drawn(n, 2, 2), -drawn(n, 2).abs()
    layout = Layout.from_lengths(*LENGTHS)
    out, after = module.state_space(q, k, v, log_decay, chunks_of(layout, 4), before=before)
    outs, states, t = [], [], 0
    for sample, length in enumerate(LENGTHS):
        state = before[sample]
        for _ in range(length):
            state = state * log_decay[t].exp()[:, None, None] + k[t, 0][None, :, None] * v[t][:, None]
            outs.append(q[t, 0] @ state)
            t += 1
        states.append(state)
    torch.testing.assert_close(out, torch.stack(outs), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(after, torch.stack(states), rtol=1e-11, atol=1e-11)


def stack(**options):
    torch.manual_seed(0)
    mixer = partial(Mamba2, state_size=5, kernel=3)
    kinds = {"state": LayerKind(attention=mixer, rotary=None), "full": LayerKind()}
    hybrid = {"rotary": Rotary, "pattern": ["state", "state", "full"], "kinds": kinds}
    return Transformer(d_model=8, n_layers=3, n_heads=2, init_std=0.4, **(options or hybrid)).eval()


@pytest.mark.parametrize(
    "options", [{}, {"attention": partial(Mamba2, state_size=5, kernel=3), "block": MixerBlock}], ids=["hybrid", "pure"]
)
def test_a_stack_decodes_as_it_reads(options, monkeypatch):
    monkeypatch.setattr(module, "_SIZE", 4)
    decodes_as_it_reads(stack(**options), {"tokens": (3, 2, 26), "memory": (3, 2, 5, 8)})


def test_samples_never_meet_and_a_batch_may_be_empty():
    core = stack()
    keeps_samples_apart(core)
    core(torch.zeros(0, 8), Layout.from_lengths(0), Causal()).sum().backward()
    assert [name for name, each in core.named_parameters() if each.grad is None or each.grad.any()] == []


def test_a_longer_text_costs_in_proportion():
    """Rows of pairs grow with the length, not with its square."""
    from torch.utils.flop_counter import FlopCounterMode

    mixer, found = Mamba2(d_model=8, n_heads=2), []
    for length in (256, 512):
        with FlopCounterMode(display=False) as counter:
            mixer(torch.randn(length, 8), Context(plan=lower(Causal(), Layout.from_lengths(length))))
        found.append(counter.get_total_flops())
    assert found[1] == 2 * found[0]


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (Full(), {}, r"Mamba-2 can do Causal\(\); received Full"),
        (Causal() & Window(left=3), {}, r"Mamba-2 can do Causal\(\)"),
        (Causal(), {"pair_bias": ALiBi}, "Mamba-2 has no scores to add a bias to"),
    ],
)
def test_what_it_cannot_do_is_refused(rule, options, message):
    core = Transformer(d_model=8, n_layers=1, n_heads=2, attention=Mamba2, **options)
    with pytest.raises(ValueError, match=message):
        core(torch.zeros(3, 8), Layout.from_lengths(3), rule)


@pytest.mark.parametrize("options", [{"n_groups": 3}, {"n_kv_heads": 2}])
def test_groups_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="must divide n_heads=4, and n_kv_heads="):
        Mamba2(d_model=8, n_heads=4, **options)
