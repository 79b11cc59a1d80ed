"""Installs both wheels in an empty folder outside the repository and uses them there.

What a clone has and a wheel forgets (configuration files, a package, a plugin) shows here and nowhere else.
Run: `uv run python scripts/check_wheels.py`
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).resolve().parents[1]
UV = (sys.executable, "-m", "uv")
USE = """
import omniformer, sys
from pathlib import Path
from sklearn.datasets import load_digits
from PIL import Image

assert "site-packages" in omniformer.__file__, omniformer.__file__
run = Path("outputs/vision/latest")
Image.fromarray((load_digits().images[0] * 15.9).astype("uint8")).save("zero.png")
(prediction,) = omniformer.load(run / "model").predict([Path("zero.png")])
assert "lightning" not in sys.modules and "hydra" not in sys.modules, "a notebook needs neither"
print(prediction)
"""

PLUGIN = """
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

names = [plugin.__name__ for plugin in Plugins.instance().discover(SearchPathPlugin)]
assert "OmniFormerSearchPath" in names, names
"""


def main() -> None:
    """Builds, installs, asks for help, composes, trains for a moment, and predicts."""
    with TemporaryDirectory(prefix="omniformer-wheels-") as temporary:
        folder = Path(temporary)
        work = folder / "empty"
        work.mkdir()
        step(*uv(), "build", "--all-packages", "--wheel", "--out-dir", str(folder / "dist"), cwd=REPOSITORY)
        step(*uv(), "venv", "-q", "--python", sys.executable, str(folder / "venv"), cwd=work)
        python = str(folder / "venv" / "bin" / "python")
        wheels = sorted(str(path) for path in (folder / "dist").glob("*.whl"))
        step(*uv(), "pip", "install", "-q", "--python", python, *wheels, cwd=work)
        step(python, "-m", "omniformer.train", "--help", cwd=work)
        command = str(folder / "venv" / "bin" / "omniformer")
        step(command, "--version", cwd=work)
        step(command, "help", "optim.lr", cwd=work)
        step(command, "complete", "bash", "omniformer train core=t", cwd=work)
        step(command, "train", "--cfg", "job", cwd=work)
        step(python, "-m", "omniformer.train", "modality=vision", "debug=fast", cwd=work)
        step(python, "-c", USE, cwd=work)
        step(python, "-c", PLUGIN, cwd=work)
    print("both wheels work outside the repository")


def uv() -> tuple[str, ...]:
    """The `uv` command: that of the surrounding `uv run`, or the module."""
    return (os.environ["UV"],) if "UV" in os.environ else UV


def step(*command: str, cwd: Path) -> None:
    """Runs one command; its output is shown only if it fails.

    Raises:
        SystemExit: the command failed.
    """
    # The folder of a clone must not be importable here, and the surrounding environment is not the one to install into.
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    shown = " ".join(part if len(part) < 80 else "..." for part in command)
    if done.returncode:
        raise SystemExit(f"failed: {shown}\n{done.stdout}\n{done.stderr}")
    print(f"ok: {shown}", flush=True)


if __name__ == "__main__":
    main()
