import pytest
import torch

from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi, RelativeTable, T5Buckets
from omniformer.core.layout import Layout
from omniformer.core.rules import BlockWindow, Causal, Full, Global, Prefix, Self, Sinks, Strided, Window
from omniformer.core.scores import SoftCap
from omniformer.export.padded import PaddedLayout, StepCache, apart, places, plan
from omniformer.heads import AttentionPool, DenseFirstToken, FirstToken, LastToken, MeanPool, SumPool

LENGTHS = (3, 0, 5, 1)
RULES = [
    Full(),
    Causal(),
    Window(left=1, right=2),
    Causal() & (Window(left=1) | Sinks(1)),
    Causal() | Prefix(),
    ~Self(),
    Global(first=1) | Strided(2),
    BlockWindow(2, left=1, right=0),
]


def valid(side):
    place = torch.arange(max(LENGTHS))
    return torch.stack([place < n if side == "right" else place >= max(LENGTHS) - n for n in LENGTHS])


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def both(rule, side, **options):
    """Attention of the same tokens, packed and padded, with rows of padding that hold something else."""
    mask = valid(side)
    rows = [drawn(mask.numel(), heads, 8) for heads in (4, 2, 2)]
    prefix = torch.tensor([2, 0, 1, 0])
    layout = Layout(lengths=torch.tensor(LENGTHS), prefix=prefix)
    expected = lower(rule, layout, kernel="reference").attend(*(each[mask.flatten()] for each in rows), **options)
    found = plan(rule, PaddedLayout(mask, prefix=prefix)).attend(*rows, **options)
    return found, found[mask.flatten()], expected


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_padded_rows_attend_as_packed_tokens_do(rule, side):
    whole, found, expected = both(rule, side)
    torch.testing.assert_close(found, expected)
    assert whole.isfinite().all()


@pytest.mark.parametrize("bias", [ALiBi(n_heads=4), T5Buckets(n_heads=4, init_std=1.0)], ids=["alibi", "t5"])
@pytest.mark.parametrize("score", [None, SoftCap(cap=2.0)], ids=["plain", "soft cap"])
def test_biases_and_scores_see_places_and_not_columns(bias, score):
    _, found, expected = both(Causal(), "left", bias=bias, score=score, scale=0.3)
    torch.testing.assert_close(found, expected)


def test_a_bias_of_coordinates_reads_those_of_the_rows():
    bias, mask = RelativeTable(n_heads=4, max_distances=[2, 2], init_std=1.0), valid("right")
    positions, rows = drawn(mask.numel(), 2) * 3, [drawn(mask.numel(), 4, 8) for _ in range(3)]
    kept = mask.flatten()
    layout = Layout(lengths=torch.tensor(LENGTHS), positions=positions[kept])
    expected = lower(Full(), layout).attend(*(each[kept] for each in rows), bias=bias)
    found = plan(Full(), PaddedLayout(mask, positions=positions)).attend(*rows, bias=bias)[kept]
    torch.testing.assert_close(found, expected)


def test_what_stands_in_padding_changes_nothing():
    mask = valid("right")
    rows = [drawn(mask.numel(), 2, 8) for _ in range(3)]
    other = [torch.where(mask.flatten()[:, None, None], each, 100.0) for each in rows]
    first, second = (plan(Full(), PaddedLayout(mask)).attend(*each)[mask.flatten()] for each in (rows, other))
    assert torch.equal(first, second)


def test_layers_that_share_a_bias_ask_it_once():
    asked = []

    def bias(query, key):
        asked.append(1)
        return torch.zeros(1, 1, 1, 1).expand(2, *torch.broadcast_shapes(query.token.shape, key.token.shape))

    lowered, rows = plan(Full(), PaddedLayout(valid("right"))), drawn(20, 2, 8)
    for _ in range(3):
        lowered.attend(rows, rows, rows, bias=bias)
    assert len(asked) == 1


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pool", [MeanPool, SumPool, FirstToken, LastToken, DenseFirstToken, AttentionPool])
def test_heads_find_padding_behind_the_samples(pool, side):
    mask, pool = valid(side), pool(d_model=6)
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    rows = drawn(mask.numel(), 6)
    packed, layout = apart(rows, PaddedLayout(mask))
    assert torch.equal(packed[: sum(LENGTHS)], rows[mask.flatten()])
    expected = pool(rows[mask.flatten()], Layout.from_lengths(*LENGTHS))
    torch.testing.assert_close(pool(packed, layout)[:-1], expected)


def test_a_batch_without_padding_has_an_empty_sample_behind_it():
    packed, layout = apart(drawn(4, 2), PaddedLayout(torch.ones(2, 2, dtype=torch.bool)))
    assert layout.lengths.tolist() == [2, 2, 0]
    assert MeanPool(d_model=2)(packed, layout).isfinite().all()


@pytest.mark.parametrize("rule", [Causal(), Causal() & Window(left=2)], ids=str)
def test_a_step_attends_to_earlier_tokens_and_to_itself(rule):
    held = torch.tensor([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0]]).bool()
    index, rows = places(held), [drawn(10, 2, 4).view(2, 5, 2, 4) + i for i in range(3)]
    whole = plan(rule, PaddedLayout(held)).attend(*(each.flatten(0, 1) for each in rows)).view(2, 5, 2, 4)
    now = PaddedLayout(held[:, 3:], index=index[:, 3:])
    past = [each[:, :3].transpose(1, 2) for each in rows[1:]]
    cache = StepCache(now, PaddedLayout(held, index=index), [past[0]], [past[1]])
    k, v = cache.layers[0].append(*(each[:, 3:].flatten(0, 1) for each in rows[1:]))
    found = cache.plan(rule).attend(rows[0][:, 3:].flatten(0, 1), k, v).view(2, 2, 2, 4)
    torch.testing.assert_close(found[held[:, 3:]], whole[:, 3:][held[:, 3:]])
    assert torch.equal(cache.layers[0].keys.transpose(1, 2), rows[1])
