"""The folder of a run: the configuration that it was begun with, read again with care, for it may be a stranger's."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from lightning.fabric.utilities.rank_zero import rank_zero_only

from omniformer import folder
from omniformer.config import BuildError, ConfigError, allowing, validate, within
from omniformer.config.called import again
from omniformer.data.quarantine import quarantine
from omniformer.files.durable import write_durably
from omniformer.files.untrusted import refuse_links_out

_MOST_VALUES = 100_000


@contextmanager
def begun_run(config: Mapping[str, Any], output: Path, steps: Callable[[], int]) -> Iterator[None]:
    """Writes the configuration into the run folder, whole or not at all, by the first process alone, and lets `latest`
    beside the folder lead to it; a run that fails before its first step leaves nothing of it, unless there is more in
    the folder.

    Args:
        config: the checked configuration.
        output: the run folder.
        steps: how many were made so far.
    """
    path = output / "config.yaml"
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    if rank_zero_only.rank == 0:
        output.mkdir(parents=True, exist_ok=True)
        header = f"# {command}\n" if (command := again()) else ""
        write_durably(path, header + yaml.safe_dump(dict(config), sort_keys=False))
    latest = _latest(config, output)
    before = os.readlink(latest) if latest is not None and latest.is_symlink() else None
    _point(latest, output.name)
    try:
        yield
    except Exception:
        if rank_zero_only.rank == 0 and not steps() and list(output.iterdir()) == [path]:
            _point(latest, before)
            path.unlink()
            with suppress(OSError):  # another run has begun beside it
                for folder in made:
                    folder.rmdir()
        raise


def refuse_used(output: Path) -> None:
    """Refuses the folder of another run for a new one: their files would be mixed.

    Raises:
        ConfigError: the folder holds a checkpoint, a model or results.
    """
    used = [name for name in ("checkpoints/*.ckpt", "model", "metrics.json") if any(output.glob(name))]
    if used and rank_zero_only.rank == 0:
        mistake = (
            f"paths.output_dir: {output} holds a run already ({', '.join(used)}); resume={output} goes on with it, "
            "and a new run has a folder of its own where paths.output_dir is left out"
        )
        raise ConfigError([mistake])


def _latest(config: Mapping[str, Any], output: Path) -> Path | None:
    """The link to the newest run of a name; None where the folder of the run was chosen by hand, or on other ranks."""
    among = Path(config.get("paths", {}).get("output_root", "")) / str(config.get("name"))
    ours = rank_zero_only.rank == 0 and output.parent.resolve() == among.resolve()
    link = output.parent / "latest"
    return link if ours and (link.is_symlink() or not link.exists()) else None


def _point(link: Path | None, target: str | None) -> None:
    """Lets a link lead to a folder beside it, in one step, or removes it; a system without links does without."""
    if link is None:
        return
    if target is None:
        link.unlink(missing_ok=True)
        return
    with suppress(OSError), TemporaryDirectory(dir=link.parent, prefix=".") as folder:
        (Path(folder) / link.name).symlink_to(target, target_is_directory=True)
        (Path(folder) / link.name).replace(link)


@contextmanager
def reading_run(config: Mapping[str, Any], allow_targets: Sequence[str]) -> Iterator[None]:
    """Checks the `config.yaml` of a run, which may be a stranger's, and keeps what is built of it to what it may do.

    While the context lasts, it can name data, tokenizers, tasks and parts of models; its data is read, from where it
    says, and nothing is fetched, written or started.

    Raises:
        ConfigError: the configuration has a mistake, or names what it may not.
        BuildError: likewise, from within.
    """
    try:
        with allowing(allow_targets):
            validate(config)
            with within("run"), quarantine(offline=True):
                yield
    except BuildError as error:
        raise BuildError(f"{error}{folder.asked(config, allow_targets)}") from error
    except ConfigError as error:
        raise ConfigError([f"{each}{folder.asked(config, allow_targets)}" for each in error.problems]) from error


def read_run(run: str | Path) -> tuple[Path, dict[str, Any]]:
    """A run folder and the configuration saved in it, whose data are read by no more processes than there are
    processors: whoever wrote it may have had more of them, or want to start a hundred thousand.

    Raises:
        FileNotFoundError: the folder holds no `config.yaml`.
        ValueError: that file is damaged, or a link leads out of the folder.
    """
    output = Path(run)
    path = output / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"{output} is not a run folder: config.yaml is missing; give a folder that omniformer.train wrote"
        )
    refuse_links_out(output)
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    _refuse_multiplied(config, path)
    if not isinstance(config, dict) or not isinstance(config.get("paths"), dict):
        raise ValueError(f"{path} is damaged: it holds no configuration with paths; copy the folder anew")
    return output, _few_workers(config) | {"paths": config["paths"] | {"output_dir": str(output)}}


def _few_workers(config: Any) -> Any:
    most = os.cpu_count() or 1
    if isinstance(config, dict):
        return {
            key: min(value, most) if key == "num_workers" and isinstance(value, int) else _few_workers(value)
            for key, value in config.items()
        }
    return [_few_workers(each) for each in config] if isinstance(config, list) else config


def _refuse_multiplied(config: Any, path: Path) -> None:
    """Refuses aliases that multiply: a few lines of YAML can stand for more values than there is memory."""
    waiting, seen = [config], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        waiting.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
        if seen > _MOST_VALUES:
            raise ValueError(f"{path} holds more than {_MOST_VALUES:,} values; no configuration of a run does")
