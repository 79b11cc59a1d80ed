import contextlib

import pytest
import yaml

from omniformer.config import ConfigError
from omniformer.config.called import typed
from omniformer.run_folder import begun_run, refuse_used


def fail_in(output, steps: int) -> None:
    with begun_run({"name": "mine"}, output, lambda: steps):
        assert yaml.safe_load((output / "config.yaml").read_text()) == {"name": "mine"}
        raise ValueError("no picture")


def test_a_run_that_fails_before_its_first_step_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no picture"):
        fail_in(tmp_path / "outputs" / "mine" / "monday", 0)
    assert not list(tmp_path.iterdir())


def test_what_stands_beside_it_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tuesday").mkdir()
    with pytest.raises(ValueError, match="no picture"):
        fail_in(tmp_path / "mine" / "monday", 0)
    assert [each.name for each in (tmp_path / "mine").iterdir()] == ["tuesday"]


def test_a_run_that_fails_later_or_goes_on_keeps_its_folder(tmp_path):
    with pytest.raises(ValueError, match="no picture"):
        fail_in(tmp_path / "later", 1)
    (tmp_path / "resumed").mkdir()
    (tmp_path / "resumed" / "metrics.csv").write_text("step,epoch,name,value\n")
    with pytest.raises(ValueError, match="no picture"):
        fail_in(tmp_path / "resumed", 0)
    assert (tmp_path / "later" / "config.yaml").is_file() and (tmp_path / "resumed" / "config.yaml").is_file()


def begin(root, name: str, steps: int = 1, fails: bool = False) -> None:
    config = {"name": "mine", "paths": {"output_root": str(root)}}
    with contextlib.suppress(ValueError), begun_run(config, root / "mine" / name, lambda: steps):
        if fails:
            raise ValueError("no picture")


def test_latest_leads_to_the_newest_run_that_has_begun(tmp_path):
    latest = tmp_path / "mine" / "latest"
    begin(tmp_path, "monday", steps=0, fails=True)
    assert not list(tmp_path.iterdir())
    begin(tmp_path, "monday")
    assert latest.readlink().name == "monday" and (latest / "config.yaml").is_file()
    begin(tmp_path, "tuesday", steps=0, fails=True)
    assert latest.readlink().name == "monday"
    begin(tmp_path, "wednesday", steps=3, fails=True)
    assert latest.readlink().name == "wednesday"
    assert sorted(each.name for each in (tmp_path / "mine").iterdir()) == ["latest", "monday", "wednesday"]


def test_no_link_is_made_beside_a_folder_that_was_chosen_by_hand_or_over_something_else(tmp_path):
    config = {"name": "mine", "paths": {"output_root": str(tmp_path / "outputs")}}
    with begun_run(config, tmp_path / "here", lambda: 1):
        pass
    (tmp_path / "mine" / "latest").mkdir(parents=True)
    begin(tmp_path, "monday")
    assert not (tmp_path / "mine" / "latest").is_symlink() and not (tmp_path / "latest").exists()


def test_the_folder_of_another_run_is_refused(tmp_path):
    (tmp_path / "checkpoints").mkdir()  # as a run leaves it that was killed before its first checkpoint
    refuse_used(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds a run already \(metrics.json\); resume=.* goes on with it"):
        refuse_used(tmp_path)


def test_the_command_that_made_a_run_stands_above_its_settings(tmp_path):
    with typed(["train", "name=my run"]), begun_run({"name": "my run"}, tmp_path, lambda: 1):
        pass
    first, *rest = (tmp_path / "config.yaml").read_text().splitlines()
    assert first == "# omniformer train 'name=my run'"
    assert rest == ["name: my run"]
