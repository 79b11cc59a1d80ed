"""Cores that a strategy cannot divide are refused by name, of their description."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from omniformer.config import build
from omniformer.config.folder import conf_dir
from omniformer.parallel import context, tensor_parallel
from omniformer.parallel.compiling import Compiling
from omniformer.parallel.parts import DIVISIBLE, check_parts, check_stacks

SHIPPED = sorted(each.stem for each in Path(conf_dir(), "core").glob("*.yaml"))
PARTS = [
    *(
        "core/block=messages",
        "core/block=parallel",
        "core/pair_bias=alibi",
        "core/attention=linear",
        "core/attention=gated",
    ),
    *("core/attention=sinks", "core/feedforward=swiglu", "core/feedforward=experts"),
]
DIVIDE = {"ContextParallel": context.apply, "TensorParallel": lambda core: tensor_parallel._divisible(core, 1)}


def described(*choices: str) -> dict:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("inspect", list(choices)), resolve=True)["core"]


def compiles(core: nn.Module) -> None:
    each, trainer = Compiling("blocks", "eager"), SimpleNamespace(global_step=0)
    each.setup(trainer, module := SimpleNamespace(model=SimpleNamespace(core=core)), "fit")
    each.teardown(trainer, module, "fit")


def refused(call, *arguments) -> bool:
    try:
        call(*arguments)
    except ValueError:
        return True
    return False


def test_the_names_are_those_of_the_classes_that_are_divided():
    assert DIVISIBLE["ContextParallel"].layers == tuple(each.__name__ for each in context._KINDS)
    assert DIVISIBLE["TensorParallel"].layers == tuple(each.__name__ for each in tensor_parallel._KINDS)


@pytest.mark.quick("tiny", "gru_tiny", "core/block=messages", "core/pair_bias=alibi")
@pytest.mark.parametrize("choice", [*SHIPPED, *PARTS])
def test_a_description_is_refused_where_what_is_built_of_it_is(choice):
    core = described(*([f"core={choice}"] if "/" not in choice else ["core=tiny", choice]))
    with torch.device("meta"):
        built = {kind: refused(divide, build(core, "core")) for kind, divide in DIVIDE.items()}
        compiled = refused(compiles, build(core, "core"))
    assert {kind: refused(check_parts, kind, core) for kind in DIVIDE} == built
    assert refused(check_stacks, "blocks", core) == compiled


@pytest.mark.parametrize(
    ("strategy", "choices", "told"),
    [
        ("ContextParallel", ["core=gru_tiny"], "the blocks of a Transformer, and core is a Recurrent; choose"),
        ("TensorParallel", ["core=gru_pair_tiny"], "and core.encoder is a Recurrent; choose trainer=fsdp"),
        (
            "TensorParallel",
            ["core=tiny", "core/feedforward=experts"],
            "core.feedforward, a MixtureOfExperts; it divides",
        ),
        ("TensorParallel", ["core=tiny", "core/pair_bias=alibi"], "cannot divide core.pair_bias, a ALiBi"),
    ],
)
def test_the_part_is_named(strategy, choices, told):
    with pytest.raises(ValueError, match=told):
        check_parts(strategy, described(*choices))


def test_a_core_without_a_stack_is_not_compiled():
    with pytest.raises(ValueError, match="trainer.compile=whole: Recurrent is no stack of blocks .* this core: off"):
        check_stacks("whole", described("core=gru_tiny"))
    check_stacks("off", described("core=gru_tiny"))
    check_stacks("blocks", {"_target_": "mine.Core"})
    check_stacks("blocks", None)


def test_what_no_block_has_and_what_is_not_ours_is_not_asked():
    core = described("core=tiny")
    experts = described("core=tiny", "core/feedforward=experts")["feedforward"]
    own = {"one": {"feedforward": core["feedforward"]}}
    check_parts("TensorParallel", core | {"feedforward": experts, "kinds": own, "pattern": ["one"]})
    check_parts("TensorParallel", core | {"attention": {"_target_": "mine.Attention"}})
    check_parts("FSDP", core | {"feedforward": experts})
    check_parts("TensorParallel", None)
    with pytest.raises(ValueError, match="MixtureOfExperts"):
        check_parts("TensorParallel", core | {"feedforward": experts, "kinds": {"one": {}}, "pattern": ["one"]})


def test_nothing_is_imported_for_it():
    code = "import sys, omniformer.parallel.parts; print('torch' in sys.modules, 'omniformer.core' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False False\n"
