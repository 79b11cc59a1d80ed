import multiprocessing
from datetime import timedelta

import pytest
import torch
from torch import distributed

from omniformer.tasks.gathering import gather

SIZES = (3, 0, 2)


def all_rows() -> torch.Tensor:
    return torch.randn(sum(SIZES), 2, 3, generator=torch.Generator().manual_seed(0))


def loss(rows: torch.Tensor) -> torch.Tensor:
    flat = rows.flatten(1)
    return (flat @ flat.T).logsumexp(1).mean()


def work(rank: int, store: str, answers) -> None:
    torch.set_num_threads(1)
    rendezvous = distributed.FileStore(store, len(SIZES))
    distributed.init_process_group(
        "gloo", store=rendezvous, rank=rank, world_size=len(SIZES), timeout=timedelta(seconds=60)
    )
    own = all_rows().split(SIZES)[rank].clone().requires_grad_()
    rows = gather(own)
    (gradient,) = torch.autograd.grad(loss(rows), own)
    answers.put((rank, rows.detach().tolist(), gradient.tolist()))
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_ranks_see_all_rows_and_their_mean_gradient_is_that_of_the_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    ranks = [context.Process(target=work, args=(i, str(tmp_path / "store"), answers)) for i in range(len(SIZES))]
    for rank in ranks:
        rank.start()
    found = {rank: (rows, gradient) for rank, rows, gradient in (answers.get(timeout=60) for _ in ranks)}
    for rank in ranks:
        rank.join(timeout=60)
    whole = all_rows().requires_grad_()
    (expected,) = torch.autograd.grad(loss(whole), whole)
    for i, part in enumerate(expected.split(SIZES)):
        rows, gradient = found[i]
        torch.testing.assert_close(torch.tensor(rows), whole.detach())
        torch.testing.assert_close(torch.tensor(gradient).reshape(part.shape) / len(SIZES), part)


def test_without_other_ranks_rows_stay_as_they_are():
    rows = torch.zeros(2, 3)
    assert gather(rows) is rows
