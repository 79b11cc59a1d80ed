"""The command line: composes a configuration with Hydra, checks it, and hands it to a function as plain values."""

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from omniformer.config.allow import allowing
from omniformer.config.called import called, typed, verb, versions
from omniformer.config.composing import compose, composition_errors, plain
from omniformer.config.errors import ConfigError, shown
from omniformer.config.folder import conf_dir
from omniformer.config.overrides import CommandLine, default_groups, group_options, naming, own_packages, read, repair
from omniformer.config.plugins import installed, named, searched
from omniformer.config.report import reported
from omniformer.config.swept import Swept
from omniformer.config.usage import usage
from omniformer.config.validate import validate

STAMP = "OMNIFORMER_RUN_STAMP"
AUTO = "auto"  # as the value of resume
Main = Callable[[dict[str, Any]], Any]
NewestRun = Callable[[list[Path], dict[str, Any]], Path | None]
AfterSweep = Callable[[list[tuple[Path, list[str]]]], None]


def entry_point(
    config_name: str,
    folder: Path | None = None,
    *,
    newest_run: NewestRun | None = None,
    after_sweep: AfterSweep = lambda runs: None,
) -> Callable[[Main], Callable[..., Any]]:
    """Makes a command of a function that takes a checked configuration.

    The command reads `sys.argv`, or a list given to it. It returns what the function returns; in a sweep that value is
    the metric that the sweeper optimises, and the command returns the last one.

    Args:
        config_name: the primary config file, without its ending.
        folder: the folder of the configuration; None for the one that comes with the package.
        newest_run: which of some run folders `resume=auto` goes on with under a configuration; None for a command that
            knows no such thing.
        after_sweep: called once the runs of a sweep are through, with the folder of each that ran to its end in this
            process, and what was set for it.
    """

    def decorate(function: Main) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(arguments: Sequence[str] | None = None) -> Any:
            given = sys.argv[1:] if arguments is None else arguments
            with reported():
                swept = Swept()
                result = _run(function, config_name, folder or conf_dir(), given, newest_run, swept)
                if swept.done:
                    after_sweep(swept.done)
                swept.end()
                return result

        return command

    return decorate


def query(
    config_name: str,
    root: str,
    examples: Sequence[tuple[str, str]],
    folder: Path | None = None,
    *,
    first: tuple[str, str] | None = None,
) -> Callable[[Main], Callable[..., Any]]:
    """Makes a command that only looks: it composes a configuration of its own, and no folder is made.

    Args:
        config_name: the primary config file, without its ending.
        root: the class that describes the keys of that file.
        examples: arguments, and what they do, for `--help`.
        folder: the folder of the configuration; None for the one that comes with the package.
        first: what the first argument is called, and the key that it sets, where it is no option and sets none itself.
    """

    def decorate(function: Main) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(arguments: Sequence[str] | None = None) -> Any:
            given = sys.argv[1:] if arguments is None else arguments
            with reported():
                if first is not None:
                    given = naming(first[1], given)
                return _answer(function, config_name, root, examples, folder or conf_dir(), given, first and first[0])

        return command

    return decorate


def _answer(
    function: Main,
    config_name: str,
    root: str,
    examples: Sequence[tuple[str, str]],
    folder: Path,
    arguments: Sequence[str],
    first: str | None,
) -> Any:
    line = read(arguments)
    if line.version:
        print(versions())
        return None
    options = group_options(searched(folder, line.config_dir))
    defaults = default_groups(folder / f"{config_name}.yaml")
    if line.help:
        command = " ".join([called(), *([first] if first else [])])
        print(usage(command, _summary(function), _within(options, defaults), examples))
        return None
    if line.sweep:
        raise ConfigError(["--multirun: this command looks at one configuration; leave it out"])
    if unknown := [each for each in line.rest if each.startswith("-")]:
        raise ConfigError([f"{unknown[0]}: no such option; accepted: --cfg job, --config-dir, --config-name, --help"])
    os.environ[STAMP] = run_stamp(os.environ)  # which paths of runs are named by
    composed = compose(line, config_name, folder, repair(line.rest, options, defaults), options)
    with composition_errors(options):
        config = plain(composed)
    with _trusting(config, own_packages(arguments, folder / f"{config_name}.yaml")):
        validate(config, groups=_offered(options), root=root)
        if line.cfg == "job":
            _show(composed)
            return None
        return function(config)


def _show(composed: Any) -> None:
    from omegaconf import OmegaConf

    print(OmegaConf.to_yaml(composed), end="")


def _run(
    function: Main,
    config_name: str,
    folder: Path,
    arguments: Sequence[str],
    newest_run: NewestRun | None,
    swept: Swept,
) -> Any:
    line = read(arguments)
    if line.version:
        print(versions())
        return None
    options = group_options(searched(folder, line.config_dir))
    primary = folder / f"{line.config_name or config_name}.yaml"
    defaults = default_groups(primary if primary.is_file() else folder / f"{config_name}.yaml")
    if line.help:
        print(usage(called(), _summary(function), _within(options, defaults)))
        return None
    os.environ[STAMP] = run_stamp(os.environ)
    repaired = repair(arguments, options, defaults)
    trusted = own_packages(arguments, folder / f"{config_name}.yaml")
    if line.cfg == "job" and not line.sweep:
        rest = repair(line.rest, options, defaults)
        composed = _check_composed(line, config_name, folder, rest, options, trusted)
        if line.whole:
            _show(composed)
            return None
    return _with_hydra(function, config_name, folder, repaired, options, trusted, newest_run, swept)


def run_stamp(environment: Mapping[str, str]) -> str:
    """The name of a run's folder: one for all processes of the run, new for each run.

    A process that another one started as its helper (`LOCAL_RANK` is set) uses that one's stamp, or the name of
    torchrun's launch; the tasks of one `srun` use the numbers of their job and step.

    Raises:
        ConfigError: the helper's starter left no stamp, so that each process would write a folder of its own.

    Example:
        >>> run_stamp({"LOCAL_RANK": "1", "OMNIFORMER_RUN_STAMP": "monday"})
        'monday'
    """
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return f"slurm-{environment['SLURM_JOB_ID']}-{environment['SLURM_STEP_ID']}"
    if "LOCAL_RANK" not in environment:
        return datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")[:-3]
    if environment.get(STAMP):
        return environment[STAMP]
    launch = environment.get("TORCHELASTIC_RUN_ID", "none")
    if launch == "none":
        raise ConfigError(["torchrun: give the launch a name with --rdzv-id=NAME; it names the folder of the run"])
    return f"run-{launch}"


def _check_composed(
    line: CommandLine,
    config_name: str,
    folder: Path,
    arguments: Sequence[str],
    options: Mapping[str, Sequence[str]],
    trusted: object,
) -> Any:
    """Composes and checks without running, for `--cfg job`."""
    composed = compose(line, config_name, folder, arguments, options)
    with composition_errors(options):
        config = plain(composed)
    with _trusting(config, trusted):
        validate(config, groups=_offered(options))
    return composed


@contextmanager
def _trusting(config: Mapping[str, Any], trusted: object) -> Iterator[None]:
    """Allows what the user typed or installed as a plug-in; a file cannot allow what it uses itself.

    Raises:
        ConfigError: a file sets `allow_targets`, or an entry is no name of a package.
    """
    named = config.get("allow_targets") or []
    if named != trusted:
        packages = ",".join(map(str, named)) if isinstance(named, list) else str(named)
        mistake = (
            f"allow_targets: a file of the configuration sets {shown(named)}, which only the command line can; "
            f"if you trust that code, type allow_targets=[{packages}]"
        )
        raise ConfigError([mistake])
    known = named if isinstance(named, list) and all(isinstance(each, str) for each in named) else []
    with ExitStack() as stack:
        try:
            stack.enter_context(allowing([*known, *(plugin.package for plugin in installed())]))
        except ValueError as error:
            raise ConfigError([str(error)]) from None
        yield


def _with_hydra(
    function: Main,
    config_name: str,
    folder: Path,
    arguments: Sequence[str],
    options: Mapping[str, Sequence[str]],
    trusted: object,
    newest_run: NewestRun | None,
    swept: Swept,
) -> Any:
    """Lets Hydra compose and run the job, or the jobs of a sweep, and notes what becomes of these."""
    import hydra

    results: list[Any] = [None]

    @functools.wraps(function)
    def job(composed: Any) -> Any:
        # Lightning starts the processes of further devices with these arguments.
        sys.argv[1:] = [*verb(), *arguments]
        with swept.run(), reported(), typed([config_name, *_again(arguments)]):
            results.append(_job(function, composed, options, trusted, newest_run))
            return results[-1]
        return None

    with _argv(arguments), composition_errors(options):
        hydra.main(config_path=str(folder), config_name=config_name, version_base="1.3")(job)()
    return results[-1]


def _again(arguments: Sequence[str]) -> list[str]:
    """What makes the run at hand again, in a folder of its own: of a sweep, the settings of this run alone."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        options = [each for each in arguments if each.startswith("-") or not re.match(r"[~+]|.*=", each)]
        arguments = [*(each for each in options if each not in ("-m", "--multirun")), *hydra.overrides.task]
    # `repair` puts ++ before what is typed without, and does so again.
    words = [each.removeprefix("++") for each in arguments]
    return [each for each in words if not re.match(r"\+*(resume|paths\.output_dir)=", each)]


def _job(
    function: Main,
    composed: Any,
    options: Mapping[str, Sequence[str]],
    trusted: object,
    newest_run: NewestRun | None,
) -> Any:
    """One run: the composed configuration becomes plain values, is checked, and goes to the function."""
    from hydra.core.hydra_config import HydraConfig

    run_folder = HydraConfig.get().runtime.output_dir
    try:
        with composition_errors(options):
            config = _placed(composed, run_folder, newest_run)
        with _trusting(config, trusted):
            validate(config, groups=_offered(options))
    except ConfigError:
        _remove_empty(Path(run_folder))
        raise
    if config["paths"]["output_dir"] != run_folder:
        _remove_empty(Path(run_folder))  # a resumed run goes on in the folder it had
    with _trusting(config, trusted):
        try:
            return function(config | {"allow_targets": [*config["allow_targets"], *named(config, installed())]})
        except Exception:
            _remove_empty(Path(run_folder))
            raise


def resumed_folder(resume: str) -> Path | None:
    """The run folder that `resume=` names, by itself or by a checkpoint in it; None where that is no run folder.

    A checkpoint that was copied elsewhere belongs to no run: training goes on from it in a new folder.
    """
    place = Path(resume)
    return next((folder for folder in (place, *list(place.parents)[:2]) if (folder / "config.yaml").is_file()), None)


def _newest_of_its_kind(composed: Any, run_folder: str, newest_run: NewestRun) -> str | None:
    """What `resume=auto` stands for: the same run, by name and settings, with the newest good checkpoint, or None.

    The folder that was asked for counts too, so that a job that is put back into the queue finds its own.
    """
    others = Path(composed.paths.output_root) / str(composed.name)
    beside = (each for each in others.resolve().glob("*") if not each.is_symlink()) if others.is_dir() else ()
    folders = sorted({Path(run_folder), *beside})
    found = newest_run(folders, plain(composed))
    said = f"goes on with {found}" if found else f"begins anew: {others} has no checkpoint of this run to go on from"
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        print(f"resume=auto: {said}", file=sys.stderr)
    return None if found is None else str(found)


def _remove_empty(folder: Path) -> None:
    """Removes the folder made for a run that does not start, and the empty ones around it in the working directory."""
    inside = [place for place in folder.parents if Path.cwd() in place.parents]
    with suppress(OSError):  # not empty
        for place in (folder, *inside):
            place.rmdir()


def _placed(composed: Any, run_folder: str, newest_run: NewestRun | None) -> dict[str, Any]:
    """The configuration as plain values, with the folder of the run: the one that it resumes, or the one that Hydra
    made for it, which a sweep numbers.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import open_dict

    typed = HydraConfig.get().overrides.task
    if HydraConfig.get().mode == RunMode.MULTIRUN and any("paths.output_dir=" in each for each in typed):
        raise ConfigError(["paths.output_dir: each run of a sweep has a folder of its own; set paths.sweep_dir"])
    with open_dict(composed):
        if composed.get("resume") == AUTO and newest_run is not None:
            composed.resume = _newest_of_its_kind(composed, run_folder, newest_run)
        resumed = resumed_folder(str(composed.resume)) if composed.get("resume") else None
        composed.paths.output_dir = str(resumed or run_folder)
    return plain(composed)


def _offered(options: Mapping[str, Sequence[str]]) -> list[str]:
    """The groups that a message offers where a key is misspelt."""
    return [group for group in options if "/" not in group and group != "hydra"]


@contextmanager
def _argv(arguments: Sequence[str]) -> Iterator[None]:
    """Shows Hydra the arguments, and keeps it from printing errors by itself."""
    before, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [before[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def _within(options: Mapping[str, Sequence[str]], defaults: set[str]) -> dict[str, Sequence[str]]:
    """The groups, and the groups inside them, that a primary config chooses from."""
    return {group: names for group, names in options.items() if group.split("/")[0] in defaults}


def _summary(function: Main) -> str:
    return (function.__doc__ or "").strip().split("\n")[0]
