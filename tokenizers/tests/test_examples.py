"""The examples, run from an installed wheel in an environment that has nothing of omniformer but the tokenizers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*/train.py"))


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a fresh environment with the wheel and its extra 'text'."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv to make an environment")
    folder = tmp_path_factory.mktemp("wheel")
    run(uv, "build", "--wheel", "--out-dir", folder, ROOT / "tokenizers", cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
    interpreter = folder / "venv" / "bin" / "python"
    run(uv, "pip", "install", "--python", interpreter, f"{wheel}[text]", cwd=folder)
    return interpreter


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_example_learns_without_omniformer(python, script, tmp_path):
    missing = run(python, "-c", "from importlib.util import find_spec as f; print(f('omniformer'))", cwd=tmp_path)
    assert missing.strip() == "None"
    shutil.copy(script, tmp_path / "train.py")
    printed = run(python, "-W", "error", "train.py", cwd=tmp_path)
    accuracies = [float(number) for number in re.findall(r"accuracy (\d\.\d+)", printed)]
    assert accuracies
    assert min(accuracies) >= 0.9


def test_there_are_examples():
    assert [path.parent.name for path in EXAMPLES] == ["padded_collate", "plain_pytorch"]
