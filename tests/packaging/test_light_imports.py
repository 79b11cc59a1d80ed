"""What costs nothing: the packages themselves, and every question that can be answered without a model."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "lightning", "torchmetrics", "torchvision", "torchaudio", "torch_geometric", "sklearn", "scipy"]
CHECK = f"import sys; loaded = [name for name in {HEAVY} if name in sys.modules]; assert not loaded, loaded"


def python(code, folder, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["omniformer", "omniformer.config", "omniformer_tokenizers"])
def test_importing_a_package_loads_no_heavy_library(module, tmp_path):
    python(f"import {module}; {CHECK}", tmp_path)


@pytest.mark.slow
def test_a_training_loads_no_library_that_only_simple_methods_need(tmp_path):
    python("import omniformer.experiment, sys; assert 'sklearn' not in sys.modules", tmp_path)


@pytest.mark.quick(4)
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("train", ["--help"]),
        ("train", ["--cfg", "job"]),
        ("train", ["--cfg", "job", "modality=text", "core=small"]),
        ("evaluate", ["--help"]),
        ("predict", ["--help"]),
        ("generate", ["--help"]),
        ("export", ["--help"]),
        ("__main__", ["--help"]),
        ("help", ["optim.lr"]),
        ("complete", ["bash", "omniformer train trainer."]),
    ],
)
def test_a_question_to_a_command_loads_no_heavy_library(module, arguments, tmp_path):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{module}', *{arguments!r}]\n"
        f"try:\n    runpy.run_module('omniformer.{module}', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
    )
    assert len(python(code + CHECK, tmp_path)) > 100


def test_our_tokenizers_folder_does_not_hide_the_library_of_that_name(tmp_path):
    from pathlib import Path

    repository = Path(__file__).parents[2]
    for folder in (tmp_path, repository):
        assert "site-packages" in python("import tokenizers; print(tokenizers.__file__)", folder)
    assert not (repository / "tokenizers" / "__init__.py").exists()
