"""Every rule that `conf/rule/` offers builds, and can take the place of a task's own."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from omniformer.config import build
from omniformer.core.layout import Layout
from omniformer.core.rules import Rule

CONF = Path(__file__).parents[3] / "conf"
NAMES = sorted(path.stem for path in (CONF / "rule").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_named_rule_builds_and_draws(name):
    rule = build(OmegaConf.to_container(OmegaConf.load(CONF / "rule" / f"{name}.yaml")))
    assert isinstance(rule, Rule)
    layout = Layout(lengths=torch.tensor([3]), edges=torch.tensor([[0], [1]]), modality=torch.tensor([0, 1, 1]))
    assert rule.draw(layout)


def test_a_named_rule_takes_the_place_of_the_task_s_own():
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        config = compose("train", overrides=["modality=text", "+rule@task.rule=mistral", "task.rule.window=16"])
    assert str(build(OmegaConf.to_container(config.task.rule))) == "(Causal() & Window(left=15))"
