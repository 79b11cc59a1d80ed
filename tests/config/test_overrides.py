from pathlib import Path

import pytest

from omniformer.config import ConfigError
from omniformer.config.overrides import default_groups, group_options, read, repair

GROUPS = ["core", "modality", "experiment", "extra"]
DEFAULTS = ["core", "modality", "experiment"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("modality=text", "modality=text"),
        ("+experiment=x", "experiment=x"),
        ("++core=tiny", "core=tiny"),
        ("+extra=x", "+extra=x"),
        ("extra=x", "extra=x"),
        ("core.d_model=8", "++core.d_model=8"),
        ("+core.d_model=8", "++core.d_model=8"),
        ("++core.d_model=8", "++core.d_model=8"),
        ("seed=1,2", "++seed=1,2"),
        ("data_root=a=b", "++data_root=a=b"),
        ("name=two\nlines", "++name=two\nlines"),
        ("~callbacks.stop", "~callbacks.stop"),
        ("core@members.x.core=tiny", "core@members.x.core=tiny"),
        ("hydra.run.dir=x", "hydra.run.dir=x"),
        ("hydra/launcher=x", "hydra/launcher=x"),
        ("--config-dir=x", "--config-dir=x"),
        ("-m", "-m"),
        ("nonsense", "nonsense"),
    ],
)
def test_every_spelling_becomes_the_one_that_hydra_takes(typed, meant):
    assert repair([typed], GROUPS, DEFAULTS) == [meant]
    assert repair([meant], GROUPS, DEFAULTS) == [meant]


def test_a_group_without_options_yet_says_where_to_put_one():
    with pytest.raises(ConfigError, match=r"local=mine: there is no local/mine\.yaml yet; .* --config-dir"):
        repair(["local=mine"], GROUPS, [*DEFAULTS, "local"])


def test_options_of_groups_come_from_all_folders(tmp_path):
    for name in ("a/core/tiny", "b/core/mine", "b/deep/er/x", "a/train"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = group_options([tmp_path / "a", tmp_path / "b"])
    assert found == {"core": ["mine", "tiny"], "deep/er": ["x"]}


def test_groups_of_the_defaults_list_are_read(tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text("defaults:\n  - _self_\n  - core: tiny\n  - optional local: default\n  - other\nseed: 0\n")
    assert default_groups(file) == {"core", "local"}


def test_hydras_options_are_read_in_every_spelling():
    for arguments in (["--config-dir", "x"], ["--config-dir=x"], ["-cd", "x"]):
        assert read(["seed=1", *arguments, "--resolve"]).config_dir == Path("x")
    assert read(["-m"]).sweep
    assert read(["-c", "job"]).cfg == "job"


def test_options_between_overrides_go_before_them():
    given = ["modality=vision", "--config-dir", "my_conf", "debug=fast", "~logger", "-m"]
    expected = ["--config-dir", "my_conf", "-m", "modality=vision", "debug=fast", "~logger"]
    assert repair(given, ["modality", "debug"], ["modality", "debug"]) == expected
