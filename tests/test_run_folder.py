import pytest
import yaml

from omniformer.run_folder import begun_run


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
