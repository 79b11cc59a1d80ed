"""Hydra's sweeps as a search: Optuna chooses settings by what the runs before found."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from omniformer.training.study import Sampler
    from omniformer.training.watching import Score

_MISTAKES = (1, 2)  # how a command ends that refuses something, which it has said


class OptunaSweeper(Sweeper):
    """Runs trials one after the other until a study has enough of them, and prints the table.

    What is searched are the keys with several values; what has one is shared by all runs. Folds and seeds are not
    searched: a trial is a run of each, and its value their mean. A trial that fails is told, kept as failed, and left
    out; where all do, the sweep fails. Several processes may work at one storage.

    Args:
        n_trials: how many the study is to have, those that it has already among them.
        storage: where trials are kept, in Optuna's words; null keeps them in memory.
        study: the name of the study in the storage.
        sampler: who chooses settings: `tpe`, `gp` or `random`.
        seed: of the sampler; null takes another one each time, as several processes at one storage want.
        params: what is searched, by key, beside what the command line says.

    Raises:
        ConfigError: Optuna is not installed, or a number or name is none that is known.
    """

    def __init__(
        self,
        *,
        n_trials: int = 20,
        storage: str | None = None,
        study: str = "study",
        sampler: Literal["tpe", "random", "gp"] = "tpe",
        seed: int | None = 0,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self.n_trials, self.storage, self.study = n_trials, storage, study
        self.sampler: Sampler = sampler
        self.seed, self.params = seed, dict(params or {})
        self._check()

    def _check(self) -> None:
        from importlib.util import find_spec

        from omniformer.config import ConfigError

        if find_spec("optuna") is None:
            raise ConfigError(["hydra/sweeper=optuna: needs optuna, which is not installed: pip install optuna"])
        if not isinstance(self.n_trials, int) or self.n_trials < 1:
            raise ConfigError([f"hydra.sweeper.n_trials: received {self.n_trials!r}, accepted: a whole number from 1"])
        if self.sampler not in ("tpe", "random", "gp"):
            raise ConfigError([f"hydra.sweeper.sampler: received {self.sampler!r}, accepted: tpe, random or gp"])

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before the sweep."""
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Called by Hydra with the overrides as typed."""
        from omniformer.training.study import Search, Space, print_trials

        given = [f"{key}={value}" for key, value in self.params.items()]
        if self.storage is not None and self.storage.startswith("sqlite:///"):
            Path(self.storage.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        search = Search(
            Space.of([*given, *arguments]), storage=self.storage, name=self.study, sampler=self.sampler, seed=self.seed
        )
        before = len(search.ended)
        if before:
            print(f"{self.study}: goes on behind {before} trials")
        try:
            search.run(self.n_trials, self._launch)
        finally:
            print_trials(search)

    def _launch(self, runs: Sequence[tuple[str, ...]], number: int) -> list[tuple[Score | None, str]]:
        from omniformer.config.swept import cause_of
        from omniformer.training.study import TrialFailed

        try:
            done = self.launcher.launch(runs, initial_job_idx=number)
            return [(each.return_value, str(each.hydra_cfg.hydra.runtime.output_dir)) for each in done]  # pyright: ignore[reportOptionalMemberAccess]
        except SystemExit as stop:
            if stop.code not in _MISTAKES:
                raise
            raise TrialFailed(cause_of(stop)) from None
        except Exception as error:
            traceback.print_exception(error)
            raise TrialFailed(f"{type(error).__name__}: {error}") from error
