"""What a device holds and sends is what FSDP2 and DDP really do, counted where the collectives are called."""

from contextlib import nullcontext

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from omniformer.core.layout import Layout
from omniformer.core.ties import tie
from omniformer.core.transformer import Transformer
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.inspection.devices import TRAINED, ddp, fsdp
from omniformer.inspection.report import numbers
from omniformer.parallel import fsdp as real
from omniformer.parallel.tensors import own

TOKENS, ROWS = 6, 11  # no number of devices below divides the rows of the table


class Whole(nn.Module):
    """Ids in, scores out, with a table that embedder and head share and a weight without dimensions."""

    def __init__(self, core):
        super().__init__()
        self.core, self.table = core, nn.Embedding(ROWS, 8)
        self.head, self.temperature = nn.Linear(8, ROWS, bias=False), nn.Parameter(torch.tensor(2.0))
        tie(self, "head.weight", "table.weight")

    def training_step(self, ids):
        x = self.core(self.table(ids), Layout.from_lengths(len(ids)))
        return (self.head(x) * self.temperature).logsumexp(-1).sum()

    forward = validation_step = test_step = predict_step = training_step


class Sent(TorchDispatchMode):
    """What one device of a ring sends, in bytes: of `n` pieces it passes on all but one, of sums twice as many."""

    def __init__(self, n):
        super().__init__()
        self.n, self.n_bytes = n, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._overloadpacket._qualified_op_name
        if name in ("c10d::_allgather_base_", "c10d::_reduce_scatter_base_"):
            self.n_bytes += (self.n - 1) * min(each.nbytes for each in args[:2])
        elif name == "c10d::allreduce_":
            self.n_bytes += sum(2 * (self.n - 1) * each.nbytes // self.n for each in args[0])
        elif name.startswith("c10d::"):
            raise AssertionError(f"{name} is not counted")
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=[2, 3, 8])
def world(request):
    """That many processes, of which the first one is real: collectives return at once."""
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=request.param)
    yield request.param
    distributed.destroy_process_group()


def plain():
    return Transformer(d_model=8, n_layers=3, n_heads=2)


def bare_core_without_blocks_to_gather():
    return ReversibleTransformer(d_model=8, n_layers=2, n_heads=2)


@pytest.mark.parametrize("core", [plain, bare_core_without_blocks_to_gather])
@pytest.mark.parametrize("gathered", [torch.float32, torch.bfloat16])
def test_fsdp_holds_and_sends_what_is_computed(world, core, gathered):
    module = Whole(core())
    share = fsdp(module, world, gathered)
    mesh = init_device_mesh("cpu", (world,))
    narrow = None if gathered == torch.float32 else gathered
    scalars = real.apply(module, mesh, reshard_after_forward=True, param_dtype=narrow)
    with Sent(world) as sent:
        with torch.autocast("cpu", gathered) if narrow else nullcontext():
            loss = module.training_step(torch.arange(TOKENS))
        loss.backward()
        real.average(scalars, mesh)
    assert share.held_bytes == TRAINED * sum(own(each).numel() for each in module.parameters())
    assert share.sent_bytes == sent.n_bytes


def test_ddp_sends_what_is_computed(world):
    module = Whole(plain())
    share = ddp(module, world, torch.float32)
    parallel = nn.parallel.DistributedDataParallel(module, gradient_as_bucket_view=True, init_sync=False)
    added = []

    def hook(_, bucket):
        """In the place of adding up."""
        added.append(bucket.buffer().nbytes)
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    parallel.register_comm_hook(None, hook)
    parallel(torch.arange(TOKENS)).backward()
    assert share.held_bytes == TRAINED * sum(each.numel() for each in module.parameters())
    assert share.whole_bytes == 0
    assert share.sent_bytes == 2 * (world - 1) * sum(added) // world


def test_held_bytes_fall_with_the_number_of_devices_and_what_is_whole_stays():
    with torch.device("meta"):
        module = nn.ModuleDict({"core": Transformer(d_model=64, n_layers=4, n_heads=2), "table": nn.Embedding(640, 64)})
    four, sixteen = (fsdp(module, n, torch.bfloat16) for n in (4, 16))
    assert four.held_bytes == 4 * sixteen.held_bytes
    assert four.whole_bytes == sixteen.whole_bytes
    block = sum(each.numel() for each in module["core"].blocks[0].parameters())
    rest = sum(each.numel() for each in module.parameters()) - 4 * block
    # At the end, all the rest three times (weights, gradients, gradients in float32); in a block's backward pass twice,
    # beside the block, the next one, and the gradient twice.
    assert four.whole_bytes == max((2 + 2 + 4) * rest, (2 + 2) * rest + (2 + 2 + 2 + 4) * block)
    assert sixteen.sent_bytes == 15 * (4 * block * (2 + 2 + 4) + rest * (2 + 4)) // 16


CONFIG = {
    "core": {"_target_": "omniformer.core.transformer.Transformer", "d_model": 8, "n_layers": 2, "n_heads": 2},
    "rule": {"_target_": "omniformer.core.rules.Causal"},
    "seq_len": 10,
    "batch_size": 3,
    "dtype": "float32",
}


def test_one_device_sends_nothing_and_several_are_told_in_one_section():
    alone = numbers(CONFIG)
    assert not any(name.startswith("device/") for name in alone)
    found = numbers(CONFIG | {"devices": 5, "strategy": "ddp"})
    assert found["device/held_bytes"] == 16 * alone["parameters"]
    assert found["device/bytes"] == found["device/held_bytes"] + alone["activation_bytes"]
    assert found["device/flops_per_byte"] == alone["training_flops"] // (2 * 4 * 4 * alone["parameters"] // 5)
