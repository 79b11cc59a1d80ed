import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omniformer.core.attention.rows import Gather, token_rows


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.data())
def test_rows_and_gradients_are_those_of_plain_indexing(n_rows, data):
    wanted = data.draw(st.lists(st.integers(-1, n_rows - 1), max_size=12))
    index = torch.tensor(wanted, dtype=torch.long)
    x = torch.randn(n_rows, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(len(wanted), 2, 3, dtype=torch.float64)
    rows = Gather(index, n_rows)(x)
    zero = torch.zeros(2, 3, dtype=torch.float64)
    expected = torch.stack([zero, *(x[i] if i >= 0 else zero for i in wanted)])[1:]
    assert torch.equal(rows, expected)
    (grad,) = torch.autograd.grad(rows, x, weight)
    by_hand = torch.zeros_like(x)
    for place, i in enumerate(wanted):
        if i >= 0:
            by_hand[i] += weight[place]
    torch.testing.assert_close(grad, by_hand)


def test_a_row_of_zeros_is_zero_even_where_the_first_row_is_nan():
    x = torch.tensor([[torch.nan], [1.0]], requires_grad=True)
    rows = Gather(torch.tensor([-1, 1]), 2)(x)
    rows.sum().backward()
    assert rows.flatten().tolist() == [0.0, 1.0] and x.grad.flatten().tolist() == [0.0, 1.0]


def test_gradients_have_gradients():
    gather = Gather(torch.tensor([2, -1, 0, 2]), 3)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: gather(x).pow(3), x)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=5), st.sampled_from([None, 6]))
def test_a_short_row_repeats_its_own_last_token_and_says_which_places_are_real(lengths, width):
    first = [10 * row for row in range(len(lengths))]
    tokens, valid = token_rows(torch.tensor(first, dtype=torch.long), torch.tensor(lengths, dtype=torch.long), width)
    width = max(lengths, default=0) if width is None else width
    assert tokens.shape == valid.shape == (len(lengths), width)
    for row, (begin, length) in enumerate(zip(first, lengths, strict=True)):
        assert valid[row].tolist() == [place < length for place in range(width)]
        assert tokens[row].tolist() == [begin + max(min(place, length - 1), 0) for place in range(width)]
