"""A library that cannot be imported ends the checks by name."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_environment.py"


def test_the_first_library_that_cannot_be_imported_is_named_in_one_line(tmp_path):
    broken = {"torch": "", "torchvision": "", "torchaudio": "raise OSError('Could not load\\nthis library: a.so')"}
    for name, source in broken.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "torchaudio cannot be imported: OSError: Could not load this library: a.so\n"
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["torch", "torchvision"]
