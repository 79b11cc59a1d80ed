"""What a device holds and sends is what FSDP2 and DDP really do, counted where the collectives are called."""

import weakref
from contextlib import nullcontext

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from omniformer.config import BuildError
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

    def __init__(self, core, rows=ROWS):
        super().__init__()
        self.core, self.table = core, nn.Embedding(rows, core.d_model)
        self.head, self.temperature = nn.Linear(core.d_model, rows, bias=False), nn.Parameter(torch.tensor(2.0))
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


class Alive(TorchDispatchMode):
    """The most bytes of tensors that were alive at once."""

    def __init__(self):
        super().__init__()
        self.most, self.known = 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in tree_iter((args, kwargs, out)):
            if isinstance(each, torch.Tensor):
                self.known[each.untyped_storage()._cdata] = weakref.ref(each.untyped_storage())
        alive = [storage for each in self.known.values() if (storage := each()) is not None]
        self.most = max(self.most, sum(storage.nbytes() for storage in alive))
        return out


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


@pytest.mark.quick(3)
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


@pytest.mark.parametrize("world", [8], indirect=True)
@pytest.mark.parametrize(("d_model", "ids"), [(128, 64), (64, 8192)])  # most weights in blocks, or outside of them
def test_what_is_whole_at_the_fullest_moment_is_not_more_than_computed_and_not_much_less(world, d_model, ids):
    module = Whole(Transformer(d_model=d_model, n_layers=4, n_heads=2), ids)
    share = fsdp(module, world, torch.float32)
    real.apply(module, init_device_mesh("cpu", (world,)), reshard_after_forward=True, param_dtype=None)
    with Alive() as alive:
        module.training_step(torch.arange(TOKENS)).backward()
    computed = share.held_bytes // 2 + share.whole_bytes  # no optimizer was there
    assert 0.8 * computed < alive.most < 1.02 * computed  # which leaves the activations of six tokens


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
    # In a block's backward pass weights and gradients of all the rest, the block, the next one, its gradient and the
    # one before in float32; at the end, the gradients of all the rest twice.
    assert four.whole_bytes == max((2 + 2) * rest + (2 + 2 + 2 + 4) * block, (2 + 4) * rest)
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


def test_blocks_that_keep_single_results_are_not_counted_and_told():
    core = CONFIG["core"] | {"checkpoint_blocks": True, "checkpoint_keeps": "products"}
    with pytest.raises(BuildError, match="core.checkpoint_keeps=products: what recomputed blocks keep of single"):
        numbers(CONFIG | {"core": core})
