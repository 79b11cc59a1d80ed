"""Tables and scores of ids that processes divide give what whole ones give."""

from typing import Any

import pytest
import torch
from ranks import together
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import loss_parallel
from whole_steps import error

from omniformer.core.transformer import Transformer
from omniformer.embedders import IdEmbedder
from omniformer.heads import NextTokenHead
from omniformer.model import OmniFormer
from omniformer.parallel import vocabulary
from omniformer.parallel.tensors import own, whole

N_IDS = 12
IDS = torch.tensor([0, 11, 5, 6, 3])


def made(n_ids: int = N_IDS, **options: Any) -> OmniFormer:
    torch.manual_seed(0)
    core = Transformer(d_model=8, n_layers=1, n_heads=2)
    embedders = {"text": IdEmbedder(d_model=8, vocab_size=n_ids)}
    model = OmniFormer(
        core=core, embedders=embedders, heads={"it": NextTokenHead(d_model=8, vocab_size=n_ids, **options)}
    )
    for each in model.parameters():
        nn.init.normal_(each, std=0.5)
    return model


def passed(model: Any, smoothing: float) -> dict[str, Tensor]:
    """What is found in a table and lost at a head, in parts as long texts are, and all gradients."""
    head = model.heads["it"]
    x = model.embedders["text"].table(IDS)
    losses = head.losses(x, IDS.flip(0), most=2 * N_IDS, label_smoothing=smoothing)
    losses.square().sum().backward()
    assert type(x) is Tensor  # and not one on its way, out of which no compiled program gives gradients back
    beside = {name: whole(each.grad) for name, each in model.named_parameters() if each.grad is not None}
    return {"x": x.detach(), "losses": losses.detach(), "scores": head.scores(x).detach()} | beside


CASES = {
    "tied": ({}, 0.0),
    "untied, with offsets": ({"tied": False, "bias": True}, 0.0),
    "scores cut smoothly": ({"score": torch.tanh}, 0.0),
    "label smoothing": ({}, 0.1),
}


def work(rank: int, world: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (options, smoothing) in CASES.items():
        model: Any = made(**options)
        vocabulary.apply(model, init_device_mesh("cpu", (world,)))
        with loss_parallel():
            found[name] = passed(model, smoothing)
        held = [own(each).shape[0] for each in (model.embedders["text"].table.weight, model.heads["it"].ids.weight)]
        found[name]["held"], tied = held, model.heads["it"].ids.weight is model.embedders["text"].table.weight
        assert tied == options.get("tied", True)
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Any]]:
    return together(2, work, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("name", CASES)
def test_losses_scores_and_gradients_are_those_of_whole_tables(two, name):
    options, smoothing = CASES[name]
    alone = passed(made(**options), smoothing)
    for told in two:
        assert told[name].pop("held") == [N_IDS // 2] * 2
        assert error(told[name], alone) < 2e-6


def compiled(rank: int, world: int) -> tuple[Tensor, Tensor]:
    """The gradient of a table behind which a compiled program stands, and that of a whole one."""
    program, tables = torch.compile(lambda x: 2 * x, backend="aot_eager"), []
    for model in (divided := made(), made()):
        if model is divided:
            vocabulary.apply(model, init_device_mesh("cpu", (world,)))
        tables.append(model.embedders["text"].table)
        program(tables[-1](IDS)).square().sum().backward()
    return whole(tables[0].weight.grad), tables[1].weight.grad


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch's own, of what a program reads
def test_gradients_come_back_out_of_compiled_programs(tmp_path):
    for found, wanted in together(2, compiled, tmp_path):
        torch.testing.assert_close(found, wanted)


def named(model: OmniFormer, size: int = 2) -> tuple[int, list[str]]:
    tables, heads = vocabulary.divisible(model, [*model.embedders.values()], dict(model.heads.items()), size)
    return len(tables), list(heads)


def test_what_cannot_be_divided_stays_whole():
    assert named(made()) == (1, ["it"])
    assert named(made(n_ids=11)) == (0, [])
    assert named(made(), size=5) == (0, [])
    assert named(made(kept_bias=True)) == (0, [])  # the head, and the table that it is tied to
    assert named(made(kept_bias=True, tied=False)) == (1, [])


def test_what_shares_weights_with_something_that_stays_whole_does_too():
    model = made()
    model.heads["other"] = nn.Linear(8, N_IDS, bias=False)
    assert named(model) == (1, ["it"])
    model.heads["other"].weight = model.embedders["text"].table.weight
    assert named(model) == (0, [])
