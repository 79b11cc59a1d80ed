import pytest
import torch

from omniformer.core import rules
from omniformer.core.attention.plan import lower
from omniformer.core.biases import ALiBi, RelativeTable, T5Buckets
from omniformer.core.layout import Layout
from omniformer.core.padded import PaddedLayout
from omniformer.core.scores import SoftCap

LENGTHS = (3, 0, 5, 1)
RULES = [
    rules.Full(),
    rules.Causal(),
    rules.Window(left=1, right=2),
    rules.Causal() & (rules.Window(left=1) | rules.Sinks(1)),
    rules.Causal() | rules.Prefix(),
    ~rules.Self(),
    rules.Global(first=1) | rules.Strided(2),
    rules.BlockWindow(2, left=1, right=0),
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
    found = lower(rule, PaddedLayout(valid=mask, prefix=prefix)).attend(*rows, **options)
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
    _, found, expected = both(rules.Causal(), "left", bias=bias, score=score, scale=0.3)
    torch.testing.assert_close(found, expected)


def test_a_bias_of_coordinates_reads_those_of_the_rows():
    bias, mask = RelativeTable(n_heads=4, max_distances=[2, 2], init_std=1.0), valid("right")
    positions, rows = drawn(mask.numel(), 2) * 3, [drawn(mask.numel(), 4, 8) for _ in range(3)]
    kept = mask.flatten()
    layout = Layout(lengths=torch.tensor(LENGTHS), positions=positions[kept])
    expected = lower(rules.Full(), layout).attend(*(each[kept] for each in rows), bias=bias)
    found = lower(rules.Full(), PaddedLayout(valid=mask, positions=positions)).attend(*rows, bias=bias)[kept]
    torch.testing.assert_close(found, expected)


def test_what_stands_in_padding_changes_nothing():
    mask = valid("right")
    rows = [drawn(mask.numel(), 2, 8) for _ in range(3)]
    other = [torch.where(mask.flatten()[:, None, None], each, 100.0) for each in rows]
    first, second = (
        lower(rules.Full(), PaddedLayout(valid=mask)).attend(*each)[mask.flatten()] for each in (rows, other)
    )
    assert torch.equal(first, second)


def test_layers_that_share_a_bias_ask_it_once():
    asked = []

    def bias(query, key):
        asked.append(1)
        return torch.zeros(1, 1, 1, 1).expand(2, *torch.broadcast_shapes(query.token.shape, key.token.shape))

    lowered, rows = lower(rules.Full(), PaddedLayout(valid=valid("right"))), drawn(20, 2, 8)
    for _ in range(3):
        lowered.attend(rows, rows, rows, bias=bias)
    assert len(asked) == 1


def test_the_layout_chooses_the_kernel_whatever_a_core_insists_on():
    plan = lower(rules.Causal(), PaddedLayout(valid=valid("left")), kernel="dense")
    assert plan.explain() == "kernel 'padded' for Causal(): the program must serve batches of any lengths"


def test_packed_samples_are_not_read_as_rows():
    with pytest.raises(ValueError, match="kernel 'padded' reads padded rows only"):
        lower(rules.Causal(), Layout.from_lengths(2, 2), kernel="padded")
    with pytest.raises(ValueError, match="kernel 'padded' reads padded rows only"):
        lower(rules.Causal(), PaddedLayout(valid=torch.ones(2, 2).bool()), Layout.from_lengths(2, 2))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (rules.Neighbours() | rules.Self(), "Neighbours cannot be exported: it follows the edges of the graph at hand"),
        (
            rules.Causal() & ~rules.RandomBlocks(2, 1),
            "RandomBlocks cannot be exported: it draws blocks by the length of each",
        ),
        (rules.Modalities([[0]]), "Modalities cannot be exported: it looks up which modalities are there"),
        (rules.Global(feature="seen"), r"Global\(first=0, feature='seen'\) cannot be exported: it reads a feature"),
    ],
    ids=["edges", "random", "modalities", "feature"],
)
def test_rules_that_read_what_padded_rows_do_not_hold_refuse_them(rule, said):
    with pytest.raises(ValueError, match=said):
        lower(rule, PaddedLayout(valid=valid("right")))
