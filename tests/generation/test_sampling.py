import pytest
import torch

from omniformer.generation import Sampler

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]])


def test_greedy_takes_the_most_probable():
    assert Sampler(temperature=0)(torch.tensor([[0.0, 5.0], [3.0, 1.0]])).tolist() == [1, 0]


def test_temperature_divides_the_scores():
    torch.testing.assert_close(Sampler(temperature=0.5).probabilities(LOGITS), (LOGITS.double() * 2).softmax(-1))


def test_top_k_keeps_the_k_most_probable_in_proportion():
    expected = torch.tensor([[2.0, 1.0]]).double().softmax(-1)
    found = Sampler(temperature=1, top_k=2).probabilities(LOGITS)
    torch.testing.assert_close(found[:, :2], expected)
    assert not found[:, 2:].any()


@pytest.mark.parametrize(("top_p", "kept"), [(0.01, 1), (0.6, 1), (0.7, 2), (0.95, 3), (1.0, 4)])
def test_top_p_keeps_the_fewest_ids_with_that_probability(top_p, kept):
    # Probabilities are 0.644, 0.237, 0.087, 0.032.
    assert (Sampler(temperature=1, top_p=top_p).probabilities(LOGITS) > 0).sum() == kept


def test_min_p_drops_what_is_far_less_probable_than_the_best():
    assert (Sampler(temperature=1, min_p=0.3).probabilities(LOGITS) > 0).tolist() == [[True, True, False, False]]


def test_draws_follow_the_distribution():
    sampler = Sampler(temperature=1.0, seed=3)
    n = 20_000
    drawn = sampler(LOGITS.expand(n, -1)).bincount(minlength=4)
    expected = LOGITS[0].double().softmax(-1) * n
    chi_square = ((drawn - expected) ** 2 / expected).sum()
    assert chi_square < 16.27  # 3 degrees of freedom: 0.1 %


def test_the_same_seed_draws_the_same():
    many = LOGITS.expand(50, -1)
    assert torch.equal(Sampler(seed=1)(many), Sampler(seed=1)(many))
    assert not torch.equal(Sampler(seed=1)(many), Sampler(seed=2)(many))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"min_p": 0.0}, "min_p=0.0"),
    ],
)
def test_numbers_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**options)
