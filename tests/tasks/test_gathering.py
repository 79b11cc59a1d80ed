import pytest
import torch
from ranks import together
from torch import distributed

from omniformer.tasks.gathering import gather

SIZES = (3, 0, 2)


def all_rows() -> torch.Tensor:
    return torch.randn(sum(SIZES), 2, 3, generator=torch.Generator().manual_seed(0))


def loss(rows: torch.Tensor) -> torch.Tensor:
    flat = rows.flatten(1)
    return (flat @ flat.T).logsumexp(1).mean()


def work(rank: int, world: int) -> tuple[torch.Tensor, torch.Tensor]:
    own = all_rows().split(SIZES)[rank].clone().requires_grad_()
    rows = gather(own)
    (gradient,) = torch.autograd.grad(loss(rows), own)
    distributed.barrier()
    return rows.detach(), gradient


@pytest.mark.filterwarnings("ignore")
def test_ranks_see_all_rows_and_their_mean_gradient_is_that_of_the_whole(tmp_path):
    whole = all_rows().requires_grad_()
    (expected,) = torch.autograd.grad(loss(whole), whole)
    found = together(len(SIZES), work, tmp_path)
    for (rows, gradient), part in zip(found, expected.split(SIZES), strict=True):
        torch.testing.assert_close(rows, whole.detach())
        torch.testing.assert_close(gradient / len(SIZES), part)


def test_without_other_ranks_rows_stay_as_they_are():
    rows = torch.zeros(2, 3)
    assert gather(rows) is rows
