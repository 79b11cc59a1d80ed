"""Composes a configuration with Hydra without running anything, and tells which files it came from."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omniformer.config.overrides import CommandLine
from omniformer.config.plugins import searched


def compose(
    line: CommandLine, config_name: str, folder: Path, arguments: Sequence[str], options: Mapping[str, Sequence[str]]
) -> Any:
    """The configuration that the arguments choose, as Hydra composes it.

    Args:
        line: the options among the arguments.
        config_name: the primary config file, without its ending, where the line names none.
        folder: the folder of the configuration.
        arguments: as Hydra wants them, without options and their values.
        options: the options of each config group, for messages.

    Raises:
        ConfigError: the arguments choose nothing that can be composed.
    """
    import hydra

    with composition_errors(options), hydra.initialize_config_dir(str(folder), version_base="1.3"):
        return hydra.compose(line.config_name or config_name, overrides=_overrides(line, arguments))


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a composed configuration.

    Args:
        path: the file.
        package: the key under which its content lies; empty for the whole configuration.
    """

    path: Path
    package: str


def layers(
    line: CommandLine, config_name: str, folder: Path, arguments: Sequence[str], options: Mapping[str, Sequence[str]]
) -> list[Layer]:
    """The files that make up a configuration, in the order in which they are laid over each other; see `compose`."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    with composition_errors(options), hydra.initialize_config_dir(str(folder), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        found = loader.compute_defaults_list(
            line.config_name or config_name, _overrides(line, arguments), RunMode.RUN
        ).defaults
    named = [(folder_of, each) for each in found if (folder_of := _folder(each.config_path, folder, line)) is not None]
    return [Layer(place / f"{each.config_path}.yaml", each.package or "") for place, each in named]


def _folder(config_path: str | None, folder: Path, line: CommandLine) -> Path | None:
    """The folder that holds a config file: the package's own comes first, as in Hydra; None for a part of Hydra's."""
    places = searched(folder, line.config_dir)
    return next((place for place in places if config_path and (place / f"{config_path}.yaml").is_file()), None)


def _overrides(line: CommandLine, arguments: Sequence[str]) -> list[str]:
    own = [f"hydra.searchpath=[file://{line.config_dir.absolute()}]"] if line.config_dir else []
    return [*own, *(argument for argument in arguments if not argument.startswith("-"))]


def plain(composed: Any) -> dict[str, Any]:
    """A composed configuration as plain values, with every reference resolved."""
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def written(composed: Any) -> dict[str, Any]:
    """A composed configuration as plain values, with references as they are written."""
    from omegaconf import OmegaConf

    config = OmegaConf.to_container(composed, resolve=False)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def resolved(composed: Any, key: str) -> object:
    """The value of a key, with its references followed."""
    from omegaconf import OmegaConf

    return OmegaConf.select(composed, key)


@contextmanager
def composition_errors(options: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Turns what Hydra says about a configuration into our own messages.

    Args:
        options: the options of each config group, by name.
    """
    from omniformer.config.messages import explained

    try:
        yield
    except Exception as error:
        message = explained(error, options)
        if message is None:
            raise
        raise message from error
