"""Every part that `conf/core/<group>/` offers builds, fits into a core and runs."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from omniformer.config import build
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Causal, Full
from omniformer.core.transformer import Transformer

GROUPS = Path(__file__).parents[2] / "conf" / "core"
OPTIONS = sorted(path.relative_to(GROUPS) for path in GROUPS.glob("*/*.yaml"))
DEFAULTS = {
    "attention": "qk_norm",
    "feedforward": "relu2",
    "norm": "rms",
    "connection": "pre",
    "block": "sequential",
    "rotary": "two_axes",
    "pair_bias": "none",
}

# Options that need a core of their own kind.
CORES = {"reversible": "omniformer.core.variants.reversible.ReversibleTransformer"}
# Those whose order of tokens is their position, one after the other.
IN_ORDER = ("gated_delta", "mamba2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A configuration folder with a core that is made of the groups alone."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "core").mkdir()
    for group in DEFAULTS:
        (folder / "core" / group).symlink_to(GROUPS / group)
    (folder / "config.yaml").write_text("defaults:\n  - core: mine\n")
    chosen = "\n".join(f"  - {group}: {name}" for group, name in DEFAULTS.items())
    target = "_target_: omniformer.core.transformer.Transformer"
    sizes = "d_model: 12\nn_layers: 1\nn_heads: 2"
    (folder / "core" / "mine.yaml").write_text(f"defaults:\n{chosen}\n  - _self_\n{target}\n{sizes}\n")
    with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
        yield folder


def composed(*overrides):
    return OmegaConf.to_container(compose("config", overrides=list(overrides)).core, resolve=True)


def chosen(option):
    """What composing gives, without Hydra: this takes a hundredth of the time."""
    node, text = OmegaConf.load(GROUPS / option), (GROUPS / option).read_text()
    core = OmegaConf.create({"core": {"d_model": 12, **({} if "@package core" in text else {option.parts[0]: node})}})
    if "@package core" in text:
        core = OmegaConf.merge(core, {"core": node})
    return OmegaConf.to_container(core.core, resolve=True)


def run(core, positions, condition, rule):
    """One batch of small graphs with coordinates, edges and a memory: whatever a part may ask for."""
    layout = Layout(
        lengths=torch.tensor([3, 2]),
        positions=positions,
        edges=torch.tensor([[0, 1, 3], [1, 2, 4]]),
        edge_features=torch.rand(3, 2),
    )
    memory = Memory(x=torch.randn(4, 12), layout=Layout.from_lengths(1, 3)) if core.reads_memory else None
    return core(torch.randn(5, 12), layout, rule, memory=memory, condition=condition)


@pytest.fixture(scope="module")
def default(folder):
    return composed()


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_every_option_builds_and_runs(option, default):
    group, name = option.parts[0], option.stem
    if group not in DEFAULTS:
        pytest.skip("a group of another owner")
    target = CORES.get(name, default["_target_"])
    parts = {**default, **chosen(option), "_target_": target} | ({"rotary": None} if name in IN_ORDER else {})
    core = build(parts, "core", edge_features=2)
    assert isinstance(core, Transformer)
    axes = 1 if name == "relative" or group == "rotary" else 2
    condition, rule = torch.randn(2, 12) if name == "adaptive" else None, Causal() if name in IN_ORDER else Full()
    out = run(core, torch.rand(5, axes) * 5, condition, rule)
    assert out.shape == (5, 12)
    assert out.isfinite().all()


@pytest.mark.quick(2)
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "option",
    [
        "attention/soft_cap",
        "feedforward/swiglu",
        "norm/layer",
        "connection/adaptive",
        "block/parallel",
        "rotary/none",
        "pair_bias/alibi",
    ],
)
def test_an_option_on_the_command_line_replaces_the_default_whole(option):
    group, name = option.split("/")
    expected = chosen(Path(f"{option}.yaml"))[group]
    assert composed(f"core/{group}={name}")[group] == expected
