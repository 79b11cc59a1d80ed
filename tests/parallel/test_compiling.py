import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from ranks import together
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh

from omniformer.core import Causal, Layout, Transformer
from omniformer.core.attention.dense import Dense
from omniformer.core.rotary import Rotary
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.parallel import context, fsdp, tensor_parallel
from omniformer.parallel.compiling import Compiling, Trainer
from omniformer.parallel.tensors import whole

RAGGED = [(4, 4), (3, 9), (5, 2, 8), (6, 6, 6), (9, 4, 3, 5)]


def module(core):
    held = SimpleNamespace(model=SimpleNamespace(core=core))
    return SimpleNamespace(global_step=len(RAGGED)), held


@pytest.fixture
def compiled():
    """Compiles a core for a test, and leaves it and torch as they were."""
    begun = []

    def make(core, how, backend="eager"):
        each = Compiling(how, backend)
        each.setup(*module(core), "fit")
        begun.append((each, core))
        return each

    yield make
    for each, core in begun:
        each.teardown(*module(core), "fit")
    torch._dynamo.reset()


def core():
    torch.manual_seed(0)
    drawn = Transformer(d_model=16, n_layers=2, n_heads=2, rotary=Rotary)
    for each in drawn.parameters():  # gains too: the sum of squares behind a plain norm has no gradient
        nn.init.normal_(each, std=0.3)
    return drawn


class Trained(nn.Module):
    """A core behind the steps that Lightning calls."""

    def __init__(self, core):
        super().__init__()
        self.core = core

    def training_step(self, *arguments):
        return self.core(*arguments)

    validation_step = test_step = predict_step = training_step


def outcome(core, lengths, rule):
    """Output and every gradient."""
    core.zero_grad()
    layout = Layout.from_lengths(*lengths)
    x = torch.randn(layout.n_tokens, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    out = getattr(core, "training_step", core)(x, layout, rule)
    out.square().sum().backward()
    return [out.detach(), x.grad, *(each.grad for each in core.parameters())]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", ["blocks", "whole"])
def test_a_compiled_core_computes_the_same_and_lengths_need_few_programs(compiled, how):
    plain, ours = core(), core()
    each = compiled(ours, how)
    for lengths in RAGGED:
        for a, b in zip(outcome(ours, lengths, Causal()), outcome(plain, lengths, Causal()), strict=True):
            torch.testing.assert_close(a, b)
    # One where all samples are equally long, and few where they are not; the blocks share them.
    assert 1 <= each.made <= 3


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch's own, behind a break of the graph
def test_any_number_of_long_samples_needs_the_same_programs(compiled):
    plain, ours = core(), core()
    each, made = compiled(ours, "blocks"), []
    for n in (8, 9, 12, 10):
        lengths = range(80, 80 + n)
        assert len(Dense(Causal(), *[Layout.from_lengths(*lengths)] * 2).buckets) == n
        for a, b in zip(outcome(ours, lengths, Causal()), outcome(plain, lengths, Causal()), strict=True):
            torch.testing.assert_close(a, b)
        made.append(each.made)
    assert made[-1] == made[1]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", ["blocks", "whole"])
def test_inductor_computes_the_same_within_rounding(compiled, how):
    plain, ours = core(), core()
    compiled(ours, how, "inductor")
    for lengths in RAGGED[:3]:
        for a, b in zip(outcome(ours, lengths, Causal()), outcome(plain, lengths, Causal()), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def shared(kind, rank, world):
    """How far a core that is compiled, then divided, is from a plain one, and how many programs it took."""
    plain, ours = core(), core()
    each, orders = Compiling("blocks", "aot_eager"), {}
    each.setup(*module(ours), "fit")
    mesh = init_device_mesh("cpu", (world,))
    if kind == "tensor":
        orders = {name: order.argsort() for name, order in tensor_parallel.apply(ours, mesh).items()}
    if kind == "context":
        context.apply(ours)
    ours = Trained(ours)
    if kind != "tensor":
        fsdp.apply(ours, mesh, reshard_after_forward=True, param_dtype=None)
    far = []
    for lengths in RAGGED[:3]:
        want, (out, x, *weights) = outcome(plain, lengths, Causal()), outcome(ours, lengths, Causal())
        distributed.all_reduce(x)
        named = {name: whole(weight) for (name, _), weight in zip(plain.named_parameters(), weights, strict=True)}
        found = [out, x / world, *tensor_parallel.reordered(named, orders).values()]
        far += [float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, want, strict=True)]
    return max(far), each.made


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch's own, of a block's input
@pytest.mark.parametrize("kind", ["fsdp", "tensor", "context"])
def test_compiled_blocks_that_processes_share_compute_the_same(kind, tmp_path):
    for far, made in together(2, partial(shared, kind), tmp_path, patience=900):
        assert far < 1e-5
        # Equally long samples or not, and of the sum of two processes, which is of another type.
        assert 1 <= made <= 4


@pytest.mark.slow
@pytest.mark.parametrize("how", ["blocks", "whole"])
def test_a_copy_that_is_made_meanwhile_calls_its_own_blocks(compiled, how):
    ours = core()
    compiled(ours, how)
    copied = copy.deepcopy(ours)
    for each in ours.parameters():
        nn.init.zeros_(each)
    for a, b in zip(outcome(copied, RAGGED[0], Causal()), outcome(core(), RAGGED[0], Causal()), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("how", ["blocks", "whole"])
def test_behind_the_training_nothing_is_left_of_it(how):
    ours, limit = core(), torch._dynamo.config.recompile_limit
    names = list(ours.state_dict())
    each = Compiling(how, "eager")
    each.setup(*module(ours), "fit")
    assert list(ours.state_dict()) == names
    each.teardown(*module(ours), "fit")
    assert torch._dynamo.config.recompile_limit == limit
    assert "through" not in vars(ours)
    assert not any("forward" in vars(block) for block in ours.blocks)


@pytest.mark.parametrize(
    ("core", "called"),
    [
        (lambda: Recurrent(d_model=8, n_layers=1), "Recurrent"),
        (lambda: ReversibleTransformer(d_model=8, n_layers=1, n_heads=2), "ReversibleTransformer"),
    ],
)
def test_a_core_of_which_no_program_would_run_is_told(core, called):
    with pytest.raises(ValueError, match=f"=blocks: {called} is no stack of blocks that are called one .* core: off"):
        Compiling("blocks").setup(*module(core()), "fit")


def test_off_adds_nothing_to_the_trainer():
    def kinds(how):
        trainer = Trainer(compile=how, accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
        return [type(each) for each in trainer.callbacks]

    assert Compiling not in kinds("off")
    assert Compiling in kinds("blocks")
