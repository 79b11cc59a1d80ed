"""Whether a run can go on from a checkpoint, said before anything of it is touched."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from omniformer.config import ConfigError
from omniformer.config.moved import brought_up
from omniformer.training.checkpoint_io import finished_checkpoints, newest_run, state_shapes

# What a run is, is all but this: how long it goes on, on which machine, where data lie, what is reported and kept.
FREE = (
    "resume",
    "baselines",
    "model.probe",  # of the beginning alone
    *(f"{of}task.calibrate" for of in ("", "members.*.")),  # of the end
    "allow_targets*",
    "report",
    "data_root",
    "paths.*",
    "hydra.*",
    "logger*",
    "callbacks.*",
    "trainer._target_",
    "trainer.compile",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy*",
    "trainer.profiler*",
    "trainer.enable_*",
    "trainer.log_every_n_steps",
    "trainer.num_sanity_val_steps",
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
    *(f"{of}data.{key}" for of in ("", "members.*.") for key in ("num_workers", "worker_timeout")),
    *(f"{of}data.{key}" for of in ("", "members.*.") for key in ("on_error", "max_bad_fraction")),
    *(f"{of}data.source.{key}" for of in ("", "members.*.") for key in ("data_root", "download")),
)
# Callbacks that change what is learned.
FIXED = ("callbacks.ema*", "callbacks.step_seeds*")
_NAMED = 4  # keys spelled out in a message


def check_same_run(config: Mapping[str, Any], run: Path) -> None:
    """Compares a configuration with the one that a run was begun with.

    Args:
        config: the configuration that asks to go on.
        run: the run folder; one without `config.yaml` is not compared.

    Raises:
        ConfigError: a key differs that may not change within a run; names it with both values.
    """
    if not (told := _differences(config, run)):
        return
    mistake = (
        f"resume: this is not the run in {run}: {told}. A run goes on as it was begun, though it may be made "
        "longer (trainer.max_epochs, trainer.max_steps) or move to other devices: leave these keys as they were, or "
        f"begin a new run from its weights with model.pretrained={run} in the place of resume"
    )
    raise ConfigError([mistake])


def newest_same_run(config: Mapping[str, Any], folders: Iterable[Path]) -> Path | None:
    """The run folder with the newest good checkpoint, of those that were begun with this configuration; None without.

    Other runs that are newer, such as those of the other elements of a job array, are passed over; each is named on
    stderr with what is different.

    Args:
        config: the configuration that asks to go on.
        folders: where to look.

    Raises:
        ConfigError: the `config.yaml` of a folder is damaged, or every checkpoint of the run is: it does not begin anew
            unasked.
    """
    waiting = list(folders)
    while (run := newest_run(waiting)) is not None and (told := _differences(config, run)):
        if int(os.environ.get("LOCAL_RANK", "0")) == 0:
            print(f"resume=auto: passes over {run}, another run: {told}", file=sys.stderr)
        waiting.remove(run)
    if run is None:
        _refuse_damaged(config, waiting)
    return run


def _refuse_damaged(config: Mapping[str, Any], folders: Iterable[Path]) -> None:
    """Refuses to begin anew where this run has checkpoints, of which none is whole."""
    alike = [folder for folder in folders if finished_checkpoints(folder) and not _differences(config, folder)]
    if not (damaged := [path for folder in alike for path in finished_checkpoints(folder)]):
        return
    more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
    mistake = (
        f"resume=auto: every checkpoint of this run is damaged: {', '.join(map(str, damaged[:_NAMED]))}{more}; put a "
        "whole copy in its place, or leave resume out (resume=null) to begin anew"
    )
    raise ConfigError([mistake])


def _differences(config: Mapping[str, Any], run: Path) -> str:
    """The keys that may not change within a run and have, each with both values; empty where there are none."""
    path = run / "config.yaml"
    if not path.is_file():
        return ""
    try:
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"resume: {path} is damaged: {error}"]) from error
    if not isinstance(old, Mapping):
        raise ConfigError([f"resume: {path} is damaged: it holds no keys"])
    before, now = dict(leaves(brought_up(old))), dict(leaves(brought_up(config)))
    changed = [key for key in dict.fromkeys((*now, *before)) if before.get(key) != now.get(key) and not _free(key)]
    told = "; ".join(f"{key} is {now.get(key)!r} here and {before.get(key)!r} there" for key in changed[:_NAMED])
    return f"{told}; and {len(changed) - _NAMED} more keys" if len(changed) > _NAMED else told


def check_fits(module: nn.Module, checkpoint: Path) -> None:
    """Compares the weights of a checkpoint with those of the module that is to take them over, by name and shape.

    Raises:
        ConfigError: they differ; names the first that do.
        CorruptCheckpointError: the file is no checkpoint of a module.
    """
    theirs, mine = state_shapes(checkpoint), {name: tuple(each.shape) for name, each in module.state_dict().items()}
    differing = [name for name in dict.fromkeys((*mine, *theirs)) if mine.get(name) != theirs.get(name)]
    if not differing:
        return
    name, more = differing[0], f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
    mistake = (
        f"resume: {checkpoint} does not fit this model: {name.removeprefix('model.')} is {_shape(mine.get(name))} here "
        f"and {_shape(theirs.get(name))} there{more}; give the core, tokenizer, data and task of that run, or begin a "
        "new run from its weights with model.pretrained= in the place of resume"
    )
    raise ConfigError([mistake])


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))


def _free(key: str) -> bool:
    return _matches(key, FREE) and not _matches(key, FIXED)


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def leaves(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Whole keys and values; lists count as one value, and so does what is empty."""
    for key, value in node.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{name}.")
        else:
            yield name, value
