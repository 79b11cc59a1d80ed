"""Installed plug-ins: their groups and classes are found without a word on the command line, and nothing else is."""

import subprocess
import sys
from pathlib import Path

import pytest

import omniformer
from omniformer.config.plugins import installed, searched
from omniformer.help import main as ask
from omniformer.plugins import main as plugins
from omniformer.train import main as train

EXAMPLE = Path(__file__).parents[2] / "examples" / "accelerometer_plugin"
TINY = ["trainer.max_epochs=1", "data.source.n_train=24", "core.d_model=16", "core.n_layers=1", "core.n_heads=2"]


def declare(place: Path, name: str, value: str, monkeypatch) -> None:
    """What an installer leaves of a package that declares an entry point."""
    info = place / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[omniformer.plugins]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(str(place))


@pytest.fixture
def example(tmp_path, monkeypatch):
    place = tmp_path / "site"
    declare(place, "accelerometer", "omniformer_accelerometer", monkeypatch)
    (place / "omniformer_accelerometer").symlink_to(EXAMPLE / "omniformer_accelerometer")
    yield place
    sys.modules.pop("omniformer_accelerometer", None)


def test_a_plug_in_is_found_without_running_it(example, capsys):
    (found,) = (each for each in installed() if each.name == "accelerometer")
    assert (found.package, found.release) == ("omniformer_accelerometer", "accelerometer 1.0")
    assert "omniformer_accelerometer" not in sys.modules
    assert searched(Path("own"), Path("mine")) == [Path("own"), Path("mine"), found.conf]
    plugins([])
    assert "  modality=acceleration\n" in capsys.readouterr().out


def test_its_groups_and_classes_are_used_and_a_folder_of_it_still_asks_for_consent(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(["modality=acceleration", *TINY])
    (tmp_path / "rest.acc").write_text("0,0,1\n" * 60)
    folder = tmp_path / "outputs" / "acceleration" / "latest" / "model"
    with pytest.raises(
        ValueError, match=r"AccelerationTokenizer.* is not allowed.*add --allow-targets omniformer_accelerometer"
    ):
        omniformer.load(folder)
    predictor = omniformer.load(folder, allow_targets=["omniformer_accelerometer"])
    (prediction,) = predictor.predict(tmp_path / "rest.acc")
    assert prediction.label in ("sits", "walks", "jumps")
    config = folder / "tokenizers" / "acceleration" / "acceleration" / "tokenizer_config.json"
    config.write_text(config.read_text().replace("AccelerationTokenizer", "Movements"))
    with pytest.raises(ValueError, match="Movements, which is no tokenizer"):
        omniformer.load(folder, allow_targets=["omniformer_accelerometer"])


def test_its_keys_have_help(example, capsys):
    ask(["tokenizer.window", "modality=acceleration"])
    assert "half a second" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["there_is_no_such_package", "json:loads", "os"])
def test_a_declaration_that_names_no_package_is_passed_over_with_one_line(value, tmp_path, monkeypatch, capsys):
    declare(tmp_path / "site", "broken", value, monkeypatch)
    for _ in range(2):  # as a command asks several times
        assert all(each.name != "broken" for each in installed())
    assert capsys.readouterr().err.count(f"broken of broken 1.0 declares {value!r}") == 1


@pytest.mark.slow
def test_an_installed_wheel_is_a_plug_in(tmp_path):
    def run(*arguments: str, **options) -> str:
        return subprocess.run(arguments, check=True, capture_output=True, text=True, **options).stdout

    run("uv", "build", "--wheel", "-q", "--out-dir", str(tmp_path), str(EXAMPLE))
    (wheel,) = tmp_path.glob("*.whl")
    run("uv", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "site"), str(wheel))
    command = ["-m", "omniformer.train", "modality=acceleration", *TINY]
    said = run(sys.executable, *command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""})
    assert "test/accuracy" in said
