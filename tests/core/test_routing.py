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


def test_after_a_step_the_offsets_of_experts_that_were_asked_too_often_fall_and_the_others_rise():
    routing = SigmoidRouting(n_experts=4, top_k=2, step=0.5)
    routing(LOGITS)  # asks 2 twice, 3 and 0 once, 1 never
    routing(LOGITS[:1])
    routing.stepped(lambda counts: counts)
    assert routing.offset.tolist() == [0.5, 0.5, -0.5, -0.5]
    routing.stepped(lambda counts: counts)  # nothing was asked since
    assert routing.offset.tolist() == [0.5, 0.5, -0.5, -0.5]
    assert not list(routing.parameters()) and list(routing.state_dict()) == ["offset"]


def test_processes_that_train_together_count_together_and_who_evaluates_counts_nothing():
    routing = SigmoidRouting(n_experts=4, top_k=2, step=0.5)
    with torch.no_grad():
        routing(LOGITS)
    routing.eval()(LOGITS)
    elsewhere = torch.tensor([0, 0, 0, 9])
    routing.stepped(lambda counts: counts + elsewhere)
    assert routing.offset.tolist() == [0.5, 0.5, 0.5, -0.5]
    still = SigmoidRouting(n_experts=4, top_k=2, step=0)
    still(LOGITS)
    still.stepped(lambda counts: counts)
    assert not still.offset.any()


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
