"""Padded rows are one more layout: a core says of them what it says of packed samples."""

from functools import partial

import pytest
import torch
from exporting import CORE, shaken
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.biases import ALiBi, RelativeTable, T5Buckets
from omniformer.core.block import CrossBlock, GatedCrossBlock, ParallelBlock
from omniformer.core.connection import AdaptiveNorm, PostNorm, SandwichNorm
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.moe import MixtureOfExperts
from omniformer.core.norm import RMSNorm
from omniformer.core.padded import PaddedLayout, admit, beside, counted
from omniformer.core.registers import Registers
from omniformer.core.rotary import Rotary
from omniformer.core.rules import Causal, Full, Global, Prefix, Self, Sinks, Strided, Window
from omniformer.core.scores import SoftCap
from omniformer.core.towers import Towers
from omniformer.core.variants.linear import LinearAttention
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.recurrent_decoder import RecurrentDecoder
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.core.variants.value_residual import ValueResidualAttention
from omniformer.heads import AttentionPool, DenseFirstToken, FirstAndMean, FirstToken, LastToken, MeanPool, SumPool

ROTARY = partial(Rotary, n_axes=2)
CORES = {
    "plain": CORE(),
    "grouped, rotary, normalised": CORE(
        n_kv_heads=2, rotary=ROTARY, norm=RMSNorm, attention=partial(SelfAttention, qk_norm=RMSNorm)
    ),
    "buckets shared by layers, no scale": CORE(pair_bias=T5Buckets, attention=partial(SelfAttention, scale=1.0)),
    "table of coordinates": CORE(pair_bias=partial(RelativeTable, max_distances=[2, 3])),
    "slopes of each layer and shared ones, soft cap": CORE(
        pair_bias=ALiBi, attention=partial(SelfAttention, pair_bias=ALiBi, score=SoftCap(cap=2.0))
    ),
    "norms behind": CORE(connection=PostNorm, final_norm=False),
    "sandwich, side by side": CORE(connection=SandwichNorm, block=ParallelBlock),
    "experts": CORE(feedforward=partial(MixtureOfExperts, n_experts=3)),
    "first values": CORE(attention=ValueResidualAttention, rotary=ROTARY),
    "reversible": ReversibleTransformer(d_model=16, n_layers=2, n_heads=4, rotary=ROTARY),
    "towers": Towers(towers=[CORE(n_layers=1), CORE(rotary=ROTARY)], rules=[Full(), Causal()]),
}
READERS = {
    "cross": CORE(block=CrossBlock, rotary=ROTARY),
    "gates before every second layer": CORE(n_layers=3, block=partial(GatedCrossBlock, every=2), n_kv_heads=2),
}
for _core in (*CORES.values(), *READERS.values()):
    shaken(_core)

RULES = [
    Full(),
    Causal(),
    Window(left=2, right=1),
    Causal() & (Window(left=1) | Sinks(1)),
    Causal() | Prefix(),
    ~Self(),
    Global(first=1) | Strided(2),
]
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 7))


@st.composite
def masks(draw):
    """Batches of any size, with padding on either side and in between, some rows of nothing else."""
    n_samples, seq = draw(SIZES)
    places = draw(st.lists(st.booleans(), min_size=n_samples * seq, max_size=n_samples * seq))
    return torch.tensor(places).view(n_samples, seq)


def drawn(valid, width=16, seed=0):
    """Rows of all places, and both layouts of those that hold a token."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(valid.numel(), width, generator=generator)
    positions = torch.randint(5, (valid.numel(), 2), generator=generator).float()
    prefix = torch.arange(len(valid)) % 3
    kept, modality = valid.flatten(), torch.ones(valid.numel(), dtype=torch.long)
    packed = Layout(lengths=valid.sum(1), positions=positions[kept], prefix=prefix, modality=modality[kept])
    return x, packed, PaddedLayout(valid=valid, positions=positions, prefix=prefix, modality=modality)


@pytest.mark.quick(3)
@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
@settings(max_examples=15, deadline=None)
@given(valid=masks(), rule=st.sampled_from(RULES))
@torch.no_grad()
def test_a_core_says_of_padded_rows_what_it_says_of_packed_samples(core, valid, rule):
    x, packed, padded = drawn(valid)
    found = core(x, padded, rule)
    torch.testing.assert_close(found[valid.flatten()], core(x[valid.flatten()], packed, rule), rtol=1e-4, atol=1e-5)
    assert found.isfinite().all()


@pytest.mark.parametrize("core", READERS.values(), ids=READERS)
@settings(max_examples=15, deadline=None)
@given(valid=masks(), rule=st.sampled_from(RULES), data=st.data())
@torch.no_grad()
def test_a_memory_of_padded_rows_is_read_as_one_of_packed_samples(core, valid, rule, data):
    given_valid = torch.tensor(data.draw(st.lists(st.booleans(), min_size=3, max_size=3))).expand(len(valid), 3)
    (x, packed, padded), (m, packed_memory, padded_memory) = drawn(valid), drawn(given_valid, seed=1)
    found = core(x, padded, rule, memory=Memory(x=m, layout=padded_memory))
    kept, known = valid.flatten(), given_valid.flatten()
    expected = core(x[kept], packed, rule, memory=Memory(x=m[known], layout=packed_memory))
    torch.testing.assert_close(found[kept], expected, rtol=1e-4, atol=1e-5)


def test_what_stands_in_padding_changes_nothing_and_learns_nothing():
    valid = torch.tensor([[True, True, False], [False, True, False]])
    x, _, padded = drawn(valid)
    x.requires_grad_()
    CORES["grouped, rotary, normalised"](x, padded, Causal())[valid.flatten()].square().sum().backward()
    assert x.grad is not None
    assert not x.grad[~valid.flatten()].any()
    assert x.grad[valid.flatten()].all()


def test_padding_is_one_value_in_a_padded_tensor():
    layout = PaddedLayout(valid=torch.tensor([[True, False], [False, True]]))
    rows = torch.tensor([[1.0], [torch.nan], [torch.nan], [4.0]])
    assert layout.pad(rows).flatten().tolist() == [1, 0, 0, 4]
    assert layout.pad(rows, -1.0).flatten().tolist() == [1, -1, -1, 4]


def test_the_last_columns_keep_their_places_and_coordinates():
    valid = torch.tensor([[True, False, True, True], [False, True, True, False]])
    _, _, layout = drawn(valid)
    last = layout.last(2)
    for name in ("index", "positions", "modality"):
        whole = getattr(layout, name).unflatten(0, valid.shape)
        assert torch.equal(getattr(last, name).unflatten(0, (2, 2)), whole[:, 2:])
    assert torch.equal(last.valid, valid[:, 2:])
    assert last.index.tolist() == [1, 2, 1, 1]
    assert torch.equal(last.prefix, layout.prefix)


@torch.no_grad()
def test_parts_side_by_side_are_one_sequence_a_sample():
    first, second = torch.tensor([[True, False], [False, False]]), torch.tensor([[True], [True]])
    (x, one, rows), (y, other, more) = drawn(first), drawn(second, seed=1)
    narrow = PaddedLayout(valid=second, positions=more.positions[:, :1], modality=more.modality * 0)
    both, layout = beside([(x, rows), (y, narrow)])
    assert layout.valid.tolist() == [[True, False, True], [False, False, True]]
    positions = torch.cat([one.positions, other.positions * torch.tensor([1, 0])])
    packed = Layout(lengths=torch.tensor([2, 1]), positions=positions, modality=torch.tensor([1, 0, 0]))
    tokens = torch.cat([x[:1], y])
    for name in ("index", "positions", "modality"):
        assert torch.equal(getattr(layout, name)[layout.valid.flatten()], getattr(packed, name))
    core = CORES["table of coordinates"]
    torch.testing.assert_close(core(both, layout, Causal())[layout.valid.flatten()], core(tokens, packed, Causal()))


def test_places_are_counted_over_tokens_alone():
    assert counted(torch.tensor([[False, True, False, True]])).tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize(
    "pool", [MeanPool, SumPool, FirstToken, FirstAndMean, LastToken, DenseFirstToken, AttentionPool]
)
@settings(max_examples=10, deadline=None)
@given(valid=masks())
@torch.no_grad()
def test_heads_find_padding_behind_the_samples(pool, valid):
    pool = shaken(pool(d_model=6))
    rows, packed, padded = drawn(valid, width=6)
    x, layout = padded.packed(rows)
    kept = valid.flatten()
    assert torch.equal(x[: int(kept.sum())], rows[kept])
    assert layout.lengths.tolist() == [*packed.lengths.tolist(), int((~kept).sum())]
    torch.testing.assert_close(pool(x, layout)[:-1], pool(rows[kept], packed))


def test_a_batch_without_padding_has_an_empty_sample_behind_it():
    layout = PaddedLayout(valid=torch.ones(2, 2, dtype=torch.bool))
    x, packed = layout.packed(torch.randn(4, 2))
    assert packed.lengths.tolist() == [2, 2, 0]
    assert MeanPool(d_model=2)(x, packed).isfinite().all()


@pytest.mark.parametrize(
    ("core", "said"),
    [
        (CORE(attention=LinearAttention), "LinearAttention cannot be exported: it chunks, hashes or sums tokens"),
        (CORE(connection=partial(AdaptiveNorm, d_condition=3)), "AdaptiveNorm cannot be exported: it is steered by a"),
        (Recurrent(d_model=16, n_layers=1), "core Recurrent cannot be exported: only a Transformer, Towers or a pair"),
        (RecurrentDecoder(d_model=16), "core RecurrentDecoder cannot be exported: only a Transformer,"),
        (Registers(core=CORE()), "core Registers cannot be exported: only a Transformer, Towers or a pair"),
    ],
    ids=["attention", "connection", "recurrent", "recurrent decoder", "registers"],
)
def test_what_cannot_read_padded_rows_says_so_instead_of_reading_them_wrongly(core, said):
    x, _, padded = drawn(torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=said):
        admit(core)
    with pytest.raises(ValueError, match=said):
        core(x, padded, Causal())
