"""What a device of a group sends and keeps is what the real division does, counted where the collectives are called."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from omniformer.config import BuildError
from omniformer.core.attention.multihead import SelfAttention
from omniformer.core.block import CrossBlock
from omniformer.core.feedforward import GatedFeedForward
from omniformer.core.layout import Layout
from omniformer.core.norm import RMSNorm
from omniformer.core.rules import Causal
from omniformer.core.ties import tie
from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.heads import NextTokenHead
from omniformer.inspection.groups import context, ids, tensor
from omniformer.inspection.report import numbers, share_of_device
from omniformer.inspection.whole import build_on_meta
from omniformer.parallel import context as real_context
from omniformer.parallel import tensor_parallel, vocabulary
from omniformer.parallel.tensors import own

SIZE = 4
_SILENT = ("wait_tensor", "_wrap_tensor_autograd")
LENGTHS = (16, 8)  # each divides between twice as many
CORES = {
    "plain": dict,
    "gated, grouped heads": lambda: {
        "n_kv_heads": 4,
        "attention": partial(SelfAttention, qk_norm=RMSNorm),
        "feedforward": partial(GatedFeedForward, d_ff=32),
    },
    "recomputed": lambda: {"checkpoint_blocks": 2},
}


class Sent(TorchDispatchMode):
    """The bytes that one device of a ring sends."""

    def __init__(self):
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._overloadpacket._qualified_op_name
        if name in ("c10d::allgather_", "c10d::allreduce_"):
            times, sent = (1, args[1]) if name == "c10d::allgather_" else (2 / SIZE, args[0])
            self.n_bytes += int(times * (SIZE - 1) * sum(each.nbytes for each in sent))
        elif name == "_c10d_functional::all_reduce":
            self.n_bytes += 2 * (SIZE - 1) * args[0].nbytes // SIZE
        elif name.startswith(("c10d::", "_c10d_functional::")) and not name.endswith(_SILENT):
            raise AssertionError(f"{name} is not counted")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def group():
    """That many processes, of which the first one is real: collectives return at once."""
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=SIZE)
    yield init_device_mesh("cpu", (SIZE,))
    distributed.destroy_process_group()


def made(name, device):
    with torch.device(device):
        return Transformer(d_model=32, n_layers=3, n_heads=8, **CORES[name]())


def sent(core):
    x = torch.randn(sum(LENGTHS), 32, requires_grad=True)
    with Sent() as counted:
        core.train()(x, Layout.from_lengths(*LENGTHS), Causal()).sum().backward()
    return counted.n_bytes


@pytest.mark.parametrize("name", CORES)
def test_a_group_sends_what_is_computed(group, name):
    layout = Layout.from_lengths(*LENGTHS)
    divided, part = made(name, "cpu"), tensor(made(name, "meta"), 8, SIZE, layout, Causal(), torch.float32)
    tensor_parallel.apply(divided, group)
    assert part.sent_bytes == sent(divided) and part.copies == 2
    held = [own(each).shape for each in divided.parameters()]
    assert [each.shape for each in part.core.parameters()] == held
    divided, part = made(name, "cpu"), context(made(name, "meta"), 8, SIZE, layout, Causal(), torch.float32)
    real_context.apply(divided)
    assert part.sent_bytes == sent(divided) and part.copies == 8


CONFIG = {
    "core": {"_target_": "omniformer.core.transformer.Transformer", "d_model": 16, "n_layers": 2, "n_heads": 4},
    "rule": {"_target_": "omniformer.core.rules.Causal"},
    "seq_len": 64,
    "batch_size": 2,
    "dtype": "float32",
    "devices": 8,
}


def test_a_device_of_a_group_keeps_less_and_holds_as_much_as_its_pieces():
    plain, layers, tokens = (
        numbers(CONFIG | {"strategy": name, "group_size": 4}) for name in ("fsdp", "tensor", "context")
    )
    whole = plain["activation_bytes"]
    assert whole / 4 < layers["device/kept_bytes"] < whole and plain["device/kept_bytes"] == whole
    assert whole / 4 < tokens["device/kept_bytes"] < whole / 2
    narrow = CONFIG | {"dtype": "bfloat16", "strategy": "tensor", "group_size": 4}
    assert share_of_device(build_on_meta(narrow), narrow, numbers(narrow)) == {
        name: each for name, each in numbers(narrow).items() if name.startswith("device/")
    }
    assert tokens["device/held_bytes"] == plain["device/held_bytes"] <= layers["device/held_bytes"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"group_size": 3}, "group_size=3 does not divide devices=8"),
        ({"devices": 1}, "strategy=tensor divides a model between devices, and devices=1 is one"),
        ({"group_size": 8}, "size=8 does not divide n_heads=4"),
    ],
)
def test_what_cannot_be_divided_is_told(changed, told):
    with pytest.raises(BuildError, match=told):
        numbers(CONFIG | {"strategy": "tensor"} | changed)


def test_cores_that_read_several_sequences_are_refused():
    core = Transformer(d_model=8, n_layers=1, n_heads=2, block=CrossBlock)
    with pytest.raises(ValueError, match="strategy=context is known of a Transformer that reads one sequence, and"):
        context(core, 2, 2, Layout.from_lengths(2), Causal(), torch.float32)


def vocabulary_parts(device):
    """A table of ids, and a head that is tied to it."""
    with torch.device(device):
        text, head = IdEmbedder(d_model=16, vocab_size=12), NextTokenHead(d_model=16, vocab_size=12, bias=True)
    parts = nn.ModuleDict({"text": text, "it": head})
    tie(parts, "it.ids.weight", "text.table.weight")
    return parts


def test_tables_and_scores_of_ids_are_sent_as_is_computed(group):
    whole, divided = vocabulary_parts("meta"), vocabulary_parts("cpu")
    mine, n_bytes = ids(whole, SIZE, Layout.from_lengths(*LENGTHS), torch.float32)
    assert whole["it"].ids.weight.shape == (12, 16)
    embedders, heads = {"text": divided["text"]}, {"it": divided["it"]}
    vocabulary.apply(SimpleNamespace(embedders=embedders, heads=heads, modules=divided.modules), group)
    with Sent() as counted:
        x = divided["text"].table(torch.arange(sum(LENGTHS)) % 12)
        divided["it"].ids(x).to_local().sum().backward()
    assert n_bytes == counted.n_bytes
    held = [own(each).shape for each in divided.parameters()]
    assert [each.shape for each in nn.ModuleDict(mine).parameters()] == held
