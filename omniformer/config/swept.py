"""The runs of a sweep: those that are through, and those that failed, which do not end the sweep but its good name."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MISTAKES = (1, 2)  # how a command ends that refuses something, which it has said
_SHOWN = 20


@dataclass
class Swept:
    """What became of the runs of a sweep that ran in this process.

    Args:
        done: the folder of each that is through, and what was set for it.
        failed: what was set for each of the others, by its number.
        first: why the first of them failed.
        status: how a command ends that fails so.
    """

    done: list[tuple[Path, list[str]]] = field(default_factory=list)
    failed: dict[str, list[str]] = field(default_factory=dict)
    first: str = ""
    status: int = 0

    @contextmanager
    def run(self) -> Iterator[None]:
        """Around each run: notes it, where it is one of a sweep, and lets those behind it go on where it fails.

        Of Hydra's own sweep in this process alone: other sweepers and launchers know what to do with a run that fails.
        """
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        hydra = HydraConfig.get()
        typed: Any = OmegaConf.to_container(hydra.overrides.task)  # as it is: it may name what is not there
        settings = [each.lstrip("+") for each in typed]
        plain = all(
            str(part._target_).endswith(f".Basic{kind}")
            for kind, part in {"Sweeper": hydra.sweeper, "Launcher": hydra.launcher}.items()
        )
        try:
            yield
        except SystemExit as stop:
            if hydra.mode != RunMode.MULTIRUN or not plain or stop.code not in _MISTAKES:
                raise
            self._fail(settings, cause_of(stop), int(str(stop.code)))
        except Exception as error:
            if hydra.mode != RunMode.MULTIRUN or not plain:
                raise
            traceback.print_exception(error)
            self._fail(settings, f"{type(error).__name__}: {error}", 1)
        else:
            if hydra.mode == RunMode.MULTIRUN:
                self.done.append((Path(hydra.runtime.output_dir), settings))

    def _fail(self, settings: list[str], why: str, status: int) -> None:
        if not self.failed:
            self.first, self.status = why, status
        self.failed[str(len(self.done) + len(self.failed))] = settings

    def end(self) -> None:
        """Names the runs that failed, and ends the command as the first of them would have.

        Raises:
            SystemExit: a run failed.
        """
        if not self.failed:
            return
        every = [*(settings for _, settings in self.done), *self.failed.values()]
        own = {number: _not_shared(settings, every) for number, settings in self.failed.items()}
        named = [f"{number} ({' '.join(settings)})" if settings else number for number, settings in own.items()]
        shown = ", ".join(named[:_SHOWN]) + (", ..." if len(named) > _SHOWN else "")
        n_runs = len(self.done) + len(self.failed)
        print(f"error: {len(named)} of {n_runs} runs failed: {shown}; the first of them: {self.first}", file=sys.stderr)
        raise SystemExit(self.status)


def _not_shared(settings: Sequence[str], every: Sequence[Sequence[str]]) -> list[str]:
    return [each for each in settings if not all(each in others for others in every)]


def cause_of(stop: SystemExit) -> str:
    """What a command that ended with a message said.

    Example:
        >>> try:
        ...     raise ValueError("no such file")
        ... except ValueError:
        ...     try:
        ...         raise SystemExit(1)
        ...     except SystemExit as stop:
        ...         print(cause_of(stop))
        no such file
    """
    return str(stop.__context__ or "") or "see the message above"
