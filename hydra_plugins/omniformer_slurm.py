"""Hydra's `hydra/launcher=slurm`: the runs of a sweep are the elements of one job array, through submitit."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


class SlurmLauncher(Launcher):
    """Hands a sweep to `hydra-submitit-launcher`, once what that needs is there.

    Args:
        options: its own, as in `conf/hydra/launcher/slurm.yaml`.

    Raises:
        ConfigError: submitit's launcher is not installed, or this machine has no command of SLURM.
    """

    def __init__(self, **options: Any) -> None:
        from omniformer.config import ConfigError  # not for every application of Hydra that looks for plugins

        if find_spec("hydra_plugins.hydra_submitit_launcher") is None:
            needs = "needs hydra-submitit-launcher, which is not installed: pip install hydra-submitit-launcher"
            raise ConfigError([f"hydra/launcher=slurm: {needs}"])
        if lacking := [name for name in ("sbatch", "srun") if shutil.which(name) is None]:
            found = f"{' and '.join(lacking)} not found on this machine; start the sweep where SLURM's commands are"
            raise ConfigError([f"hydra/launcher=slurm: {found}"])
        from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as Submitit

        self.submitit = Submitit(**options)

    def setup(self, **known: Any) -> None:
        self.submitit.setup(**known)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.submitit.launch(job_overrides, initial_job_idx)
