import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.layout import Layout

LENGTHS = st.lists(st.integers(0, 6), min_size=0, max_size=6)


@settings(max_examples=50, deadline=None)
@given(LENGTHS)
def test_every_token_knows_its_sample_and_its_place(lengths):
    layout = Layout(lengths=torch.tensor(lengths, dtype=torch.long))
    expected = [(sample, place) for sample, length in enumerate(lengths) for place in range(length)]
    assert list(zip(layout.sample.tolist(), layout.index.tolist(), strict=True)) == expected
    assert layout.view().length.tolist() == [lengths[sample] for sample, _ in expected]
    assert (layout.n_tokens, len(layout), layout.n_samples) == (sum(lengths), sum(lengths), len(lengths))


def test_tokens_after_cached_ones_continue_their_count():
    layout = Layout(lengths=torch.tensor([2, 1]), start=torch.tensor([5, 0]))
    assert layout.index.tolist() == [5, 6, 0]


def test_places_overrule_the_order_in_which_tokens_lie():
    layout = Layout(lengths=torch.tensor([2, 1]), places=torch.tensor([0, 7, 3]))
    assert layout.index.tolist() == [0, 7, 3]


@settings(max_examples=30, deadline=None)
@given(LENGTHS.filter(len))
def test_packing_a_padded_batch_and_padding_it_again_changes_nothing(lengths):
    longest = max(lengths)
    valid = torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
    padded = torch.randn(len(lengths), longest, 2) * valid[..., None]
    layout = Layout.from_padded(valid)
    assert layout.lengths.tolist() == lengths
    torch.testing.assert_close(layout.pad(padded[valid]), padded, rtol=0, atol=0)


def test_padding_before_a_token_is_refused_with_the_row_that_has_it():
    with pytest.raises(ValueError, match=r"row 1 is not: \[False, True\]"):
        Layout.from_padded(torch.tensor([[True, False], [False, True]]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lengths": torch.tensor([1, -1])}, r"non-negative.*\[1, -1\]"),
        ({"lengths": torch.tensor([2]), "positions": torch.zeros(3, 1)}, r"positions has 3 rows; lengths \[2\] need 2"),
        ({"lengths": torch.tensor([2]), "start": torch.zeros(2)}, "start has 2 rows"),
        ({"lengths": torch.tensor([2]), "features": {"x": torch.zeros(1)}}, r"features\['x'\] has 1 rows"),
        ({"lengths": torch.tensor([2]), "pairs": {"x": torch.zeros(2)}}, r"pairs\['x'\] has 2 rows; .* need 4"),
        ({"lengths": torch.tensor([2]), "edges": torch.tensor([[0], [2]])}, "name token 2; the lengths allow 0 to 1"),
        ({"lengths": torch.tensor([2]), "edges": torch.tensor([[0.0], [1.0]])}, r"whole numbers.*float32 \[2, 1\]"),
        (
            {"lengths": torch.tensor([2, 1]), "edges": torch.tensor([[0, 0], [1, 2]])},
            "edge 1 joins token 0 of sample 0 to token 2 of sample 1",
        ),
    ],
)
def test_fields_that_do_not_fit_are_refused_with_both_numbers(fields, message):
    with pytest.raises(ValueError, match=message):
        Layout(**fields)


def test_a_missing_fact_is_named_when_it_is_asked_for():
    view = Layout.from_lengths(2).view()
    for ask, name in (
        (lambda: view.prefix, "prefix"),
        (lambda: view.modality, "modality"),
        (lambda: view.feature("x"), "x"),
    ):
        with pytest.raises(ValueError, match=name):
            ask()


def test_moving_a_layout_keeps_every_field_and_lengths_on_the_host():
    layout = Layout(
        lengths=torch.tensor([2, 1]),
        start=torch.tensor([1, 0]),
        edges=torch.tensor([[0], [1]]),
        features={"x": torch.zeros(3)},
        pairs={"d": torch.zeros(5)},
    )
    moved = layout.to("meta")
    assert moved.device == torch.device("meta") and moved.lengths.device.type == "cpu"
    assert all(t.device.type == "meta" for t in (moved.edges, moved.features["x"], moved.pairs["d"], moved.sample))
    assert layout.to("cpu").index.tolist() == layout.index.tolist()


def test_a_fact_is_computed_once_for_each_layout():
    layout, calls = Layout.from_lengths(1), []
    for _ in range(2):
        assert layout.memo("fact", lambda: calls.append(1) or "value") == "value"
    assert len(calls) == 1
    Layout.from_lengths(1).memo("fact", lambda: calls.append(1))
    assert len(calls) == 2
