import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.cache import KVCache
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Causal, Full, Window
from omniformer.core.variants.recurrent import Recurrent

CELLS = pytest.mark.parametrize("cell", ["lstm", "gru"])


@settings(max_examples=10, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    cell=st.sampled_from(["lstm", "gru"]),
    bidirectional=st.booleans(),
)
def test_packed_rows_equal_separate_sequences_of_torch(lengths, cell, bidirectional):
    torch.manual_seed(0)
    core = Recurrent(d_model=8, n_layers=2, cell=cell, bidirectional=bidirectional)
    x = torch.randn(sum(lengths), 8)
    out = core(x, Layout.from_lengths(*lengths))
    for mine, sample in zip(out.split(lengths), x.split(lengths), strict=True):
        if len(sample):
            for layer in core.layers:
                sample = layer(sample[:, None])[0][:, 0]
        torch.testing.assert_close(mine, sample, rtol=1e-5, atol=1e-6)


@CELLS
def test_gradients_reach_every_weight_even_in_a_batch_without_tokens(cell):
    core = Recurrent(d_model=8, n_layers=2, cell=cell)
    for lengths in ([3, 0, 2], [0, 0]):
        core.zero_grad()
        core(torch.randn(sum(lengths), 8), Layout.from_lengths(*lengths)).sum().backward()
        assert all(p.grad is not None for p in core.parameters())


@CELLS
def test_a_sample_changes_no_bit_of_its_neighbours_even_when_it_is_nan(cell):
    core = Recurrent(d_model=8, n_layers=2, cell=cell, bidirectional=True)
    layout = Layout.from_lengths(5, 3, 4)
    x = torch.randn(12, 8)
    other = x.clone()
    other[5:8] = torch.nan
    before, after = core(x, layout), core(other, layout)
    assert torch.equal(before[:5], after[:5])
    assert torch.equal(before[8:], after[8:])


@CELLS
def test_a_token_changes_no_bit_before_it(cell):
    core = Recurrent(d_model=8, n_layers=2, cell=cell)
    x = torch.randn(9, 8)
    other = x.clone()
    other[6] += 1
    before, after = (core(each, Layout.from_lengths(9), Causal()) for each in (x, other))
    assert torch.equal(before[:6], after[:6])
    assert not torch.equal(before[6:], after[6:])


@CELLS
@torch.no_grad()
def test_decoding_step_by_step_equals_one_pass_even_after_samples_change_places(cell):
    torch.manual_seed(1)
    core = Recurrent(d_model=8, n_layers=2, cell=cell)
    sequences = [torch.randn(n, 8) for n in (5, 7, 4)]
    right = [core(x, Layout.from_lengths(len(x))) for x in sequences]
    cache = KVCache(n_layers=2, n_samples=3)
    read = [0, 0, 0]
    order = [0, 1, 2]

    def step(lengths):
        layout, _ = cache.extend(torch.tensor(lengths))
        new = torch.cat([sequences[i][read[i] : read[i] + n] for i, n in zip(order, lengths, strict=True)])
        for i, n, out in zip(order, lengths, core(new, layout, Causal(), cache=cache).split(lengths), strict=True):
            torch.testing.assert_close(out, right[i][read[i] : read[i] + n], rtol=1e-5, atol=1e-6)
            read[i] += n

    step([3, 2, 0])
    step([1, 1, 2])
    cache.reorder(torch.tensor([2, 0, 1]))
    order = [2, 0, 1]
    step([1, 0, 2])
    step([1, 1, 2])
    assert read == [5, 7, 4]


def test_stages_hold_every_layer():
    stages = {}
    out = Recurrent(d_model=8, n_layers=2)(torch.randn(3, 8), Layout.from_lengths(3), stages=stages)
    assert list(stages) == ["layers.0", "layers.1"]
    assert torch.equal(stages["layers.1"], out)


def test_what_it_would_read_against_a_rule_is_refused():
    layout = Layout.from_lengths(3)
    x = torch.randn(3, 8)
    with pytest.raises(ValueError, match=r"reads every token before, which Window\(left=1"):
        Recurrent(d_model=8, n_layers=1)(x, layout, Window(left=1))
    with pytest.raises(ValueError, match=r"reads every token of its sample, which Causal\(\) forbids"):
        Recurrent(d_model=8, n_layers=1, bidirectional=True)(x, layout, Causal())
    with pytest.raises(ValueError, match="cannot decode step by step"):
        Recurrent(d_model=8, n_layers=1, bidirectional=True)(x, layout, Full(), cache=KVCache(n_layers=1, n_samples=1))
    with pytest.raises(ValueError, match="neither a memory nor a condition"):
        Recurrent(d_model=8, n_layers=1)(x, layout, memory=Memory(x=x, layout=layout))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="d_model=7 must be even"):
        Recurrent(d_model=7, n_layers=1, bidirectional=True)
    with pytest.raises(ValueError, match="cell='rnn' is unknown; choose one of 'lstm', 'gru'"):
        Recurrent(d_model=8, n_layers=1, cell="rnn")
    with pytest.raises(ValueError, match="n_layers=0 must be at least 1"):
        Recurrent(d_model=8, n_layers=0)
