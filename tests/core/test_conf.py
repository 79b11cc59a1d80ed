"""Every part that `conf/core/<group>/` offers builds, fits into a core and runs."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from omniformer.config import build
from omniformer.core.layout import Layout
from omniformer.core.memory import Memory
from omniformer.core.rules import Full
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A configuration folder whose core is made of the groups alone."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "core").symlink_to(GROUPS)
    (folder / "config.yaml").write_text("defaults:\n  - shape/tiny@core\n  - _self_\n")
    (folder / "shape").mkdir()
    chosen = "\n".join(f"  - /core/{group}@{group}: {name}" for group, name in DEFAULTS.items())
    (folder / "shape" / "tiny.yaml").write_text(
        f"defaults:\n{chosen}\n  - _self_\n"
        "_target_: omniformer.core.transformer.Transformer\nd_model: 12\nn_layers: 1\nn_heads: 2\n"
    )
    return folder


def composed(folder, *overrides):
    with initialize_config_dir(config_dir=str(folder), version_base="1.3"):
        config = compose("config", overrides=list(overrides))
    return OmegaConf.to_container(config.core, resolve=True)


def run(core, condition):
    """One batch of small graphs with coordinates, edges and a memory: whatever a part may ask for."""
    generator = torch.Generator().manual_seed(0)
    axes = core.rotary.n_axes if core.rotary is not None else 2
    line = "RelativeTable" in repr(core) and "relative.yaml" in core.note
    positions = torch.randint(0, 5, (5, 1 if line else axes), generator=generator).float()
    layout = Layout(
        lengths=torch.tensor([3, 2]),
        positions=positions,
        edges=torch.tensor([[0, 1, 3], [1, 2, 4]]),
        edge_features=torch.rand(3, 2),
    )
    memory = Memory(x=torch.randn(4, 12), layout=Layout.from_lengths(1, 3)) if core.reads_memory else None
    return core(torch.randn(5, 12), layout, Full(), memory=memory, condition=condition)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_every_option_builds_and_runs(option, folder):
    group, name = option.parts[0], option.stem
    if group not in DEFAULTS:
        pytest.skip("a group of another kind")
    overrides = [f"core/{group}@core.{group}={name}"]
    if name == "swin" or name == "relative":
        overrides.append("core/rotary@core.rotary=none")
    config = composed(folder, *overrides)
    core = build(config, edge_features=2)
    assert isinstance(core, Transformer)
    core.note = str(option)
    out = run(core, torch.randn(2, 12) if name == "adaptive" else None)
    assert out.shape == (5, 12)
    assert out.isfinite().all()
