import pytest
import torch

from omniformer.core.routing import ChosenOfSoftmax, SigmoidRouting, SoftmaxOfChosen

LOGITS = torch.tensor([[0.5, -1.0, 2.0, 1.0], [3.0, 0.0, 0.1, -2.0]])


def test_a_softmax_of_the_chosen_adds_up_to_one_and_a_choice_of_the_softmax_does_not():
    whole = LOGITS.softmax(-1)
    weights, experts = ChosenOfSoftmax(n_experts=4, top_k=2)(LOGITS)
    assert experts.tolist() == [[2, 3], [0, 2]]
    torch.testing.assert_close(weights, whole.gather(1, experts))
    ours, same = SoftmaxOfChosen(n_experts=4, top_k=2)(LOGITS)
    assert torch.equal(same, experts)
    torch.testing.assert_close(ours, weights / weights.sum(-1, keepdim=True))


def test_an_offset_changes_who_is_chosen_and_not_what_the_chosen_count():
    routing = SigmoidRouting(n_experts=4, top_k=2, scale=2.5)
    routing.offset += torch.tensor([0.0, 5.0, 0.0, 0.0])
    weights, experts = routing(LOGITS)
    assert experts.tolist() == [[1, 2], [1, 0]]
    scores = LOGITS.sigmoid().gather(1, experts)
    torch.testing.assert_close(weights, 2.5 * scores / scores.sum(-1, keepdim=True))


def test_only_the_best_groups_are_looked_at_each_as_good_as_its_two_best():
    # The best expert, number 0, stands in the group that is worse as a whole.
    logits = torch.tensor([[4.0, -9.0, 1.0, 1.5]])
    _, experts = SigmoidRouting(n_experts=4, top_k=2, n_groups=2, top_groups=1)(logits)
    assert sorted(experts[0].tolist()) == [2, 3]
    _, experts = SigmoidRouting(n_experts=4, top_k=2, n_groups=2)(logits)
    assert sorted(experts[0].tolist()) == [0, 3]


def test_evening_out_moves_a_loads_extremes_towards_each_other():
    routing = SigmoidRouting(n_experts=2, top_k=1)
    routing.even_out(torch.tensor([0.9, 0.1]), step=0.5)
    assert routing.offset.tolist() == [-0.5, 0.5]
    assert not list(routing.parameters())


@pytest.mark.parametrize(
    "sizes",
    [
        {"top_k": 5},
        {"top_k": 2, "n_groups": 3},
        {"top_k": 3, "n_groups": 2, "top_groups": 1},
        {"top_k": 1, "n_groups": 4},
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(ValueError, match="must"):
        SigmoidRouting(n_experts=4, **sizes)
