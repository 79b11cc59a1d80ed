"""What the two distributions say of themselves, and the one of somebody else that has our import name."""

import subprocess
import sys
import tomllib
from pathlib import Path

import omniformer_tokenizers
import pytest
from packaging.requirements import Requirement

import omniformer
from omniformer.foreign import warn_of_foreign

REPOSITORY = Path(__file__).parents[2]


def project(folder):
    return tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_both_distributions_are_one_release_and_pin_each_other():
    ours, tokenizers = project("."), project("tokenizers")
    assert ours["version"] == tokenizers["version"] == omniformer.__version__
    needed = {each.name: each for each in map(Requirement, ours["dependencies"])}
    assert str(needed[tokenizers["name"]].specifier) == f"=={tokenizers['version']}"


@pytest.mark.parametrize("package", [omniformer, omniformer_tokenizers])
def test_both_packages_say_that_they_are_typed(package):
    assert (Path(package.__file__).parent / "py.typed").is_file()


def test_a_foreign_distribution_of_our_import_name_is_told_at_import(tmp_path):
    (tmp_path / "omniformer-0.1.1.dist-info").mkdir()
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import omniformer"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"the distribution omniformer 0.1.1 in {tmp_path} is somebody else's" in done.stderr
    assert "run pip uninstall omniformer, then install omniformer-framework again" in done.stderr


def test_our_own_distributions_are_not_told(tmp_path, recwarn):
    (tmp_path / "omniformer_framework-0.1.0.dist-info").mkdir()
    (tmp_path / "omniformer_framework_tokenizers-0.1.0.dist-info").mkdir()
    warn_of_foreign([str(tmp_path), str(tmp_path / "nowhere")])
    assert not recwarn.list
