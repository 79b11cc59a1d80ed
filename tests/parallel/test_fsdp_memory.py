"""What each process holds of a model that is divided falls as one by their number; what is whole at a time does not."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from ranks import together
from task_cases import TEXT, text
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from whole_steps import backward

from omniformer.batch import Sample, collate
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.parallel import fsdp
from omniformer.parallel.tensors import own
from omniformer.tasks import CausalLM, TrainingModule
from omniformer.training.optimizers import AdamW

pytestmark = pytest.mark.timeout(900)
D_MODEL, N_LAYERS = 64, 8


def module() -> TrainingModule:
    torch.manual_seed(0)
    head = NextTokenHead(d_model=D_MODEL, vocab_size=TEXT.vocab_size)
    core = Transformer(d_model=D_MODEL, n_layers=N_LAYERS, n_heads=4)
    embedders = {"text": IdEmbedder(d_model=D_MODEL, vocab_size=TEXT.vocab_size)}
    model = OmniFormer(core=core, embedders=embedders, heads={"it": head})
    return TrainingModule(model=model.train(), tasks={"it": CausalLM(head=head)})


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes in memory, with what they are padded by, each once."""
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage() for each in map(own, tensors)}
    return sum(each.nbytes() for each in storages.values())


def held(rank: int, world: int) -> dict[str, int]:
    """Bytes on a process behind a step, and of the weights that were whole at its fullest moment."""
    trained = module()
    mesh = init_device_mesh("cpu", (world,))
    fsdp.apply(trained, mesh, reshard_after_forward=True, param_dtype=None)
    optimizer = AdamW()(trained)
    whole: list[int] = []

    def look(*given: Any) -> None:
        whole.append(size(each for each in trained.parameters() if not isinstance(each, DTensor)))

    for unit in fsdp.units(trained):
        unit.register_forward_pre_hook(look)  # behind that by which it is gathered
        unit.register_full_backward_pre_hook(look)
    backward(trained, [{"it": collate([Sample(id="a", pieces=[text("abcdefgh")])])}])
    optimizer.step()
    states = [each for state in optimizer.state.values() for each in state.values()]
    return {
        "weights": size(trained.parameters()),
        "gradients": size(each.grad for each in trained.parameters() if each.grad is not None),
        "optimizer": size(states),
        "whole": max(whole),
        "a block": sum(each.numel() * 4 for each in module().model.core.blocks[0].parameters()),
        "all": sum(each.numel() * 4 for each in module().parameters()),
    }


@pytest.fixture(scope="module", params=[pytest.param(n, marks=pytest.mark.slow) if n != 2 else n for n in (1, 2, 4)])
def told(request, tmp_path_factory) -> list[dict[str, int]]:
    return together(request.param, held, tmp_path_factory.mktemp(f"of{request.param}"))


def test_each_process_holds_its_share(told):
    for each in told:
        share = each["all"] / len(told)
        assert each["weights"] == each["gradients"] == pytest.approx(share, rel=0.01)
        assert each["optimizer"] == pytest.approx(2 * share, rel=0.01)  # two running means


def test_whole_at_a_time_are_a_block_or_two_and_what_is_no_block(told):
    for each in told:
        rest = each["all"] - N_LAYERS * each["a block"]
        assert each["a block"] + rest <= each["whole"] <= 2 * each["a block"] + rest
