"""Where libraries do not fit together, every command and a notebook say so in one sentence."""

import os
import subprocess
import sys

import pytest

COMMANDS = {
    "train": ["modality=vision", "debug=fast"],
    "evaluate": ["run"],
    "predict": ["run", "text"],
    "generate": ["run", "text"],
    "inspect": [],
    "export": ["run", "--out", "out"],
}


@pytest.fixture
def beside(tmp_path):
    """Runs Python beside a stub that cannot be loaded."""

    def run(library, *arguments):
        (tmp_path / library).mkdir()
        (tmp_path / library / "__init__.py").write_text("raise OSError('undefined symbol: x')", encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return run


@pytest.mark.quick(1)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_beside_a_torch_that_cannot_be_loaded_ends_with_one_sentence(command, beside):
    done = beside("torch", "-m", f"omniformer.{command}", *COMMANDS[command])
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.endswith("cannot be loaded (undefined symbol: x): uv sync")


@pytest.mark.slow  # the sentence of a command that cannot load torch is checked in every run
def test_training_beside_a_torchvision_that_does_not_fit_names_both_versions(beside):
    done = beside("torchvision", "-m", "omniformer.train", "modality=vision", "debug=fast")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: torchvision " in done.stderr
    assert "do not fit together (undefined symbol: x): uv sync" in done.stderr


def test_a_notebook_gets_the_sentence_as_an_import_error(beside):
    done = beside("torch", "-c", "import omniformer; omniformer.load")
    assert done.stderr.splitlines()[-1].startswith("omniformer_tokenizers.versions.MismatchError: torch ")
