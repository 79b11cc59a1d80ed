"""Another project's Hydra application composes our groups without a path to them."""

import subprocess
import sys

import pytest
import yaml

from omniformer.config.folder import conf_dir

APP = """
import hydra
from omegaconf import OmegaConf

@hydra.main(config_path="conf", config_name="app", version_base="1.3")
def main(config):
    print(OmegaConf.to_yaml(config, resolve=True))

main()
"""


@pytest.fixture
def app(tmp_path):
    (tmp_path / "conf" / "core").mkdir(parents=True)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "conf" / "core" / "mine.yaml").write_text("_target_: toybox.Core\nd_model: 8\n")
    (tmp_path / "conf" / "app.yaml").write_text(
        "defaults:\n  - train\n  - override core: mine\n  - override modality: text\n  - _self_\nseed: 7\n"
    )

    def run(*arguments):
        import os

        environment = {**os.environ, "OMNIFORMER_RUN_STAMP": "now"}
        done = subprocess.run(
            [sys.executable, "app.py", *arguments], cwd=tmp_path, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_our_groups_and_its_own_are_composed_together(app):
    config = yaml.safe_load(app("debug=fast"))
    assert (config["seed"], config["name"], config["core"]["d_model"]) == (7, "text", 8)
    assert config["trainer"]["max_epochs"] == 1
    assert config["paths"]["output_dir"] == "outputs/text/now"


def test_the_search_path_names_us_last_of_all_sources_of_files(app):
    lines = [line for line in app("--info", "searchpath").splitlines() if "file://" in line]
    assert str(conf_dir()) in lines[-1]
    assert "omniformer" in lines[-1]
    assert len([line for line in lines if str(conf_dir()) in line]) == 1
