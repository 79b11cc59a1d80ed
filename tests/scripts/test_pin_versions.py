"""Pins go into the settings and come out of them, and an environment is compared with them."""

import importlib.util
from pathlib import Path

import pytest
from packaging.requirements import Requirement

SCRIPTS = Path(__file__).parents[2] / "scripts"
SETTINGS = '[project]\nname = "a"\n\n[tool.uv]\ndefault-groups = ["dev"]\n\n[tool.other]\nkey = 1\n'


@pytest.fixture(scope="module")
def pins():
    spec = importlib.util.spec_from_file_location("pin_versions", SCRIPTS / "pin_versions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pins_are_written_below_the_settings_of_uv_and_read_back(pins):
    text = pins.written(SETTINGS, ["b==1.0", "c==2.0 ; sys_platform == 'linux'"])
    assert [str(pin) for pin in pins.pinned(text)] == ["b==1.0", 'c==2.0; sys_platform == "linux"']
    assert text.index("constraint-dependencies") < text.index("[tool.other]")


def test_new_pins_replace_the_old_ones_and_nothing_else(pins):
    assert pins.written(pins.written(SETTINGS, ["b==1.0"]), ["b==2.0"]) == pins.written(SETTINGS, ["b==2.0"])
    assert pins.unpinned(pins.written(SETTINGS, ["b==1.0"])).split() == SETTINGS.split()


def test_an_environment_differs_by_another_version_and_by_what_no_pin_names(pins):
    wanted = [Requirement("b==1.0"), Requirement("c==1.0 ; python_version < '3'"), Requirement("C==2.0")]
    assert pins.differences(wanted, {"b": "1.0", "c": "2.0"}) == []
    assert pins.differences(wanted, {"b": "1.1", "d": "3.0"}) == ["b 1.1: pinned to 1.0", "d 3.0: not pinned"]


def test_what_is_pinned_but_not_installed_is_no_fault(pins):
    assert pins.differences([Requirement("b==1.0")], {}) == []


def test_our_own_distributions_are_not_compared(pins):
    assert not {name for name in pins.installed() if name.startswith("omniformer")}


def test_the_check_names_each_difference_and_fails(pins, monkeypatch):
    monkeypatch.setattr(pins, "installed", lambda: {"torch": "1.0"})
    with pytest.raises(SystemExit, match=r"torch 1\.0: pinned to"):
        pins.main(["--check"])


def test_the_repository_has_pins_that_record_no_address(pins):
    settings = (SCRIPTS.parent / "pyproject.toml").read_text(encoding="utf-8")
    found = pins.pinned(settings)
    assert {"torch", "torchvision", "torchaudio", "torch-geometric", "lightning"} <= {pin.name for pin in found}
    assert not any(pin.url for pin in found)
