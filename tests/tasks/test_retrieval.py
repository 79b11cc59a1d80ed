import math

import pytest
import torch
from ranks import together
from torch import distributed

from omniformer.tasks.retrieval import Retrieval

NAN = math.nan


def unit(n, d, seed) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def recalls_by_hand(a, b, keys, k) -> float:
    """The share of queries with a candidate of their key among the k nearest, by sorting."""
    hits = 0
    for i in range(len(a)):
        order = sorted(range(len(b)), key=lambda j: -float(a[i] @ b[j]))
        hits += any(keys[j] == keys[i] for j in order[:k])
    return hits / len(a)


def test_recall_over_all_batches_equals_sorting_by_hand():
    a, b = unit(23, 4, 1), unit(23, 4, 2) + unit(23, 4, 1)
    metric = Retrieval(["x", "y"], d_embedding=4)
    for rows in torch.arange(23).split(5):
        metric.update(torch.stack([a[rows], b[rows]], dim=1), torch.zeros(len(rows), dtype=torch.long))
    found = metric.compute()
    keys = list(range(23))
    for k in (1, 5, 10):
        assert found[f"x_to_y/recall@{k}"].item() == pytest.approx(recalls_by_hand(a, b, keys, k))
        assert found[f"y_to_x/recall@{k}"].item() == pytest.approx(recalls_by_hand(b, a, keys, k))
    assert found["recall@1"] == (found["x_to_y/recall@1"] + found["y_to_x/recall@1"]) / 2


def test_with_labels_any_sample_of_the_label_is_a_hit():
    a, b, labels = unit(20, 3, 3), unit(20, 3, 4), torch.arange(20) % 4
    metric = Retrieval(["x", "y"], d_embedding=3, same_label=True)
    metric.update(torch.stack([a, b], dim=1), labels)
    assert metric.compute()["x_to_y/recall@5"].item() == pytest.approx(recalls_by_hand(a, b, labels.tolist(), 5))


def test_samples_without_one_of_the_two_are_neither_query_nor_candidate():
    vectors = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[NAN, NAN], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    metric = Retrieval(["x", "y"], d_embedding=2)
    metric.update(vectors, torch.zeros(3, dtype=torch.long))
    assert metric.compute()["x_to_y/recall@1"] == 1


def test_a_model_that_puts_all_in_one_place_scores_chance():
    metric = Retrieval(["x", "y"], d_embedding=2)
    metric.update(torch.ones(10, 2, 2), torch.zeros(10, dtype=torch.long))
    assert metric.compute()["x_to_y/recall@1"].item() == pytest.approx(0.1)
    assert metric.compute()["x_to_y/recall@5"].item() == pytest.approx(0.5)


def test_ties_among_several_right_ones_are_drawn_without_replacement():
    metric = Retrieval(["x", "y"], d_embedding=2, same_label=True, ks=(2,))
    metric.update(torch.ones(5, 2, 2), torch.tensor([0, 0, 1, 1, 1]))
    miss = {0: (3 / 5) * (2 / 4), 1: (2 / 5) * (1 / 4)}
    expected = (2 * (1 - miss[0]) + 3 * (1 - miss[1])) / 5
    assert metric.compute()["x_to_y/recall@2"].item() == pytest.approx(expected)


def test_directions_without_samples_are_not_a_number_and_leave_the_mean_alone():
    vectors = torch.stack([torch.eye(2), torch.eye(2), torch.full((2, 2), NAN)], dim=1)
    metric = Retrieval(["x", "y", "z"], d_embedding=2)
    with pytest.warns(UserWarning, match="before"):
        assert metric.compute()["recall@1"].isnan()
    metric.reset()
    metric.update(vectors, torch.zeros(2, dtype=torch.long))
    found = metric.compute()
    assert found["x_to_z/recall@1"].isnan()
    assert found["recall@1"] == 1


def test_vectors_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \[3, 2, 4\]; expected \[3, 2, 5\]"):
        Retrieval(["x", "y"], d_embedding=5).update(torch.zeros(3, 2, 4), torch.zeros(3))


def measure_on_a_rank(rank: int, world: int) -> dict[str, float]:
    metric = Retrieval(["x", "y"], d_embedding=4)
    if rank == 0:
        metric.update(torch.stack([unit(6, 4, 1), unit(6, 4, 2)], dim=1), torch.zeros(6, dtype=torch.long))
    found = {name: float(value) for name, value in metric.compute().items()}
    distributed.barrier()
    return found


@pytest.mark.filterwarnings("ignore")
def test_a_rank_that_saw_no_sample_reports_what_the_others_found(tmp_path):
    first, second = together(2, measure_on_a_rank, tmp_path)
    assert first == second
    assert first["x_to_y/recall@5"] == pytest.approx(recalls_by_hand(unit(6, 4, 1), unit(6, 4, 2), list(range(6)), 5))
