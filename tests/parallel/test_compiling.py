import copy
from types import SimpleNamespace

import pytest
import torch

from omniformer.core import Causal, Layout, Transformer
from omniformer.core.attention.dense import Dense
from omniformer.core.rotary import Rotary
from omniformer.core.variants.recurrent import Recurrent
from omniformer.core.variants.reversible import ReversibleTransformer
from omniformer.parallel.compiling import Compiling, Trainer

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
    return Transformer(d_model=16, n_layers=2, n_heads=2, rotary=Rotary)


def outcome(core, lengths, rule):
    """Output and every gradient."""
    core.zero_grad()
    layout = Layout.from_lengths(*lengths)
    x = torch.randn(layout.n_tokens, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    out = core(x, layout, rule)
    out.square().sum().backward()
    return [out, x.grad, *(each.grad for each in core.parameters())]


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
    assert all(block._compiled_call_impl is None for block in ours.blocks)
    copy.deepcopy(ours)


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
