"""What the callbacks of a run watch: the metric of its task, unless they name one of those that there will be."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from omniformer.config import ConfigError
from omniformer.config.errors import nearest

Mode = Literal["min", "max"]


class Score(float):
    """The best value of the metric that a run watched, which says its name and which way it is better.

    Args:
        value: the value.
        metric: its name.
        mode: which way it is better.

    Example:
        >>> Score(0.5, metric="val/accuracy", mode="max") + 1
        1.5
    """

    metric: str
    mode: Mode

    def __new__(cls, value: float, *, metric: str, mode: Mode) -> "Score":
        score = super().__new__(cls, value)
        score.metric, score.mode = metric, mode
        return score

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, str]]:  # pickled by launchers of other processes
        return (float(self),), {"metric": self.metric, "mode": self.mode}


class Follower(ABC):
    """A callback of Lightning's that watches what the task of the run is about, where its configuration names nothing.

    Attributes:
        monitor: the metric that it names; None for that of the task.
        asked_mode: which way that is better, as its configuration says; None for what the metric itself says.
    """

    monitor: str | None
    asked_mode: Mode | None

    @abstractmethod
    def follow(self, monitor: str, mode: Mode) -> None:
        """Watches a metric from now on; called before training."""


def watch(
    callbacks: Mapping[str, Any], reported: Mapping[str, Mode | None], default: str, mode: Mode, why: str = ""
) -> None:
    """Tells callbacks what to watch, and refuses one that would wait for a metric that no validation reports.

    Args:
        callbacks: by name; those that watch nothing are passed over.
        reported: the metrics of a validation, and which way each is better; None where that is not known.
        default: the metric for those that name none.
        mode: which way it is better.
        why: where it comes from, to be said.

    Raises:
        ConfigError: there will be no such metric, or it is not known which way it is better; names the key.
    """
    for name, callback in callbacks.items():
        key, monitor = f"callbacks.{name}", getattr(callback, "monitor", None)
        if isinstance(callback, Follower) and monitor is None:
            callback.follow(default, mode)
            if why:
                rank_zero_info(f"{key} watches {default} ({mode}): {why}")
        elif monitor is not None:
            # Training reports what it comes upon, such as the losses of the core itself.
            if monitor not in reported and monitor not in ("epoch", "step") and "train/" not in monitor:
                raise no_metric(key, monitor, reported)
            if isinstance(callback, Follower) and callback.asked_mode is None:
                callback.follow(monitor, _direction(key, monitor, reported))


def no_metric(key: str, monitor: str, known: Iterable[str]) -> ConfigError:
    """The error for a callback that watches a metric that is not there.

    Args:
        key: of the callback.
        monitor: what it watches.
        known: the metrics that there are.

    Example:
        >>> print(no_metric("callbacks.best", "val/los", ["val/loss", "val/f1"]))
        callbacks.best.monitor: no metric 'val/los'; did you mean 'val/loss'? there are val/f1, val/loss; watch ...
    """
    near = nearest(monitor, known)
    hint = f"; did you mean {near!r}?" if near else ";"
    there = f"there are {', '.join(sorted(known))}; watch one of them, or that of the task with {key}.monitor=null"
    return ConfigError([f"{key}.monitor: no metric {monitor!r}{hint} {there}"])


def _direction(key: str, monitor: str, reported: Mapping[str, Mode | None]) -> Mode:
    if (mode := reported.get(monitor)) is None:
        raise ConfigError([f"{key}.mode: say which way {monitor} is better: max or min"])
    return mode
