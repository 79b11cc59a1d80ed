"""Commands in processes of their own that do not import everything again: each is forked from a server that has.

`python -m omniformer.train` imports for ten seconds on a slow machine before it does anything; a test that kills it two
hundred times cannot wait for that.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_PRELOADED = [
    "torch",
    "torch._dynamo",
    "lightning",
    "sklearn.datasets",
    "torch_geometric",
    "torchvision.transforms.v2",
    "torchaudio",
]
_PRELOADED += ["omniformer.experiment", "omniformer.data", "omniformer.tasks", "omniformer.config.cli"]
_server.set_forkserver_preload(_PRELOADED)


class Forked:
    """A module that runs as `python -m module arguments` in a process group of its own, used like `subprocess.Popen`.

    Args:
        module: its name, or the path of a script.
        arguments: what follows it on the command line.
        folder: where it stands.
        log: where it writes whatever it says, after what is there.
        environment: its variables.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], *, folder: Path, log: Path, environment: dict[str, str]
    ) -> None:
        said = (module, list(arguments), str(folder), str(log), environment)
        self._process = _server.Process(target=_run, args=said)
        self._process.start()
        self.pid: int = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Its status, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        """Its status, or None if it still runs after so many seconds."""
        self._process.join(timeout)
        return self._process.exitcode

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(module: str, arguments: list[str], folder: str, log: str, environment: dict[str, str]) -> None:
    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # as in any process, and not as it was started itself
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.path[:0] = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.argv = [module, *arguments]
    if module.endswith(".py"):
        sys.path.insert(0, str(Path(module).parent))
        runpy.run_path(module, run_name="__main__")
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
