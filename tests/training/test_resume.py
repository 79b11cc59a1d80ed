"""A run goes on as what it was; what does not fit is told by name, and nothing of it is touched."""

import pytest
import torch
import yaml
from torch import nn

from omniformer.config import ConfigError
from omniformer.training.checkpoint_io import CorruptCheckpointError, DurableCheckpointIO
from omniformer.training.resume import check_fits, check_same_run, newest_same_run

CONFIG = {
    "seed": 0,
    "resume": None,
    "optim": {"lr": 0.1, "betas": [0.9, 0.95]},
    "trainer": {"max_epochs": 2, "devices": 1, "precision": "32-true"},
    "data": {"batch_size": 4, "num_workers": 0, "source": {"data_root": "data"}},
    "members": {"a": {"data": {"num_workers": 1, "batch_size": 2}}},
    "callbacks": {"recent": {"every_minutes": 2.0}, "ema": {"decay": 0.9}},
    "logger": {"csv": {"path": "x"}},
}


def changed(key, value):
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    *path, last = key.split(".")
    node = config
    for part in path:
        node = node[part]
    node[last] = value
    return config


@pytest.fixture
def begun(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resume", "here"),
        ("trainer.max_epochs", 9),
        ("trainer.devices", 2),
        ("data.num_workers", 4),
        ("data.source.data_root", "other"),
        ("members.a.data.num_workers", 4),
        ("callbacks.recent.every_minutes", 1.0),
        ("logger", None),
    ],
)
def test_length_devices_and_records_of_a_run_may_change(begun, key, value):
    check_same_run(changed(key, value), begun)


def test_a_run_that_names_a_part_where_it_stood_before_goes_on(begun):
    towers = [{"_target_": "omniformer.core.recurrent.Recurrent", "d_model": 8}]
    (begun / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"core": {"towers": towers}}))
    now = [{"_target_": "omniformer.core.variants.recurrent.Recurrent", "d_model": 8}]
    check_same_run(CONFIG | {"core": {"towers": now}}, begun)
    now[0]["d_model"] = 9
    with pytest.raises(ConfigError, match=r"core\.towers is .*'d_model': 9"):
        check_same_run(CONFIG | {"core": {"towers": now}}, begun)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 1),
        ("optim.lr", 0.2),
        ("optim.betas", [0.9, 0.99]),
        ("trainer.precision", "bf16-mixed"),
        ("data.batch_size", 8),
        ("members.a.data.batch_size", 8),
        ("callbacks.ema.decay", 0.5),
    ],
)
def test_what_a_run_is_may_not_and_is_named_with_both_values(begun, key, value):
    with pytest.raises(ConfigError) as caught:
        check_same_run(changed(key, value), begun)
    assert f"{key} is {value!r} here and " in str(caught.value)
    assert "model.pretrained=" in str(caught.value)


def test_a_checkpoint_of_no_run_is_not_compared_and_a_damaged_run_is_told(tmp_path):
    check_same_run(CONFIG, tmp_path)
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is damaged"):
        check_same_run(CONFIG, tmp_path)


def test_weights_of_another_model_are_named(tmp_path):
    path = tmp_path / "a.ckpt"
    DurableCheckpointIO().save_checkpoint({"state_dict": nn.Linear(2, 3).state_dict()}, path)
    check_fits(nn.Linear(2, 3), path)
    with pytest.raises(ConfigError, match=r"weight is \[3, 4\] here and \[3, 2\] there; give the core"):
        check_fits(nn.Linear(4, 3), path)
    with pytest.raises(ConfigError, match=r"bias is absent here and \[3\] there"):
        check_fits(nn.Linear(2, 3, bias=False), path)
    DurableCheckpointIO().save_checkpoint({"weights": torch.zeros(1)}, path)
    with pytest.raises(CorruptCheckpointError):
        check_fits(nn.Linear(2, 3), path)


def test_the_newest_run_that_was_begun_alike_is_found_and_others_are_passed_over_by_name(tmp_path, capsys):
    runs = {"old": CONFIG, "same": CONFIG, "longer": changed("trainer.max_epochs", 1), "other": changed("seed", 1)}
    for name, config in runs.items():
        DurableCheckpointIO().save_checkpoint({"run": name}, tmp_path / name / "checkpoints" / "last.ckpt")
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config))
    folders = sorted(tmp_path.iterdir())
    assert newest_same_run(CONFIG, folders) == tmp_path / "longer"
    assert capsys.readouterr().err == f"resume=auto: passes over {tmp_path / 'other'}, another run: {SEED}\n"
    assert newest_same_run(changed("seed", 1), folders) == tmp_path / "other"
    assert newest_same_run(changed("seed", 2), folders) is None
    assert capsys.readouterr().err.count("passes over") == 4


@pytest.mark.filterwarnings("ignore:.*falling back")
def test_a_run_of_damaged_checkpoints_alone_is_refused_by_name_and_that_of_others_is_not(tmp_path):
    file = tmp_path / "same" / "checkpoints" / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"run": 1}, file)
    (tmp_path / "same" / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ConfigError, match=rf"every checkpoint .* is damaged: {file}; put a whole copy .*resume=null"):
        newest_same_run(CONFIG, [tmp_path / "same"])
    assert newest_same_run(changed("seed", 1), [tmp_path / "same"]) is None
    DurableCheckpointIO().save_checkpoint({"run": 2}, tmp_path / "good" / "checkpoints" / "last.ckpt")
    (tmp_path / "good" / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    assert newest_same_run(CONFIG, sorted(tmp_path.iterdir())) == tmp_path / "good"


SEED = "seed is 0 here and 1 there"
