"""The experiment as a short file to be edited."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from omniformer.files.durable import write_durably


def experiment(
    path: Path, *, about: str, groups: Mapping[str, str | None], keys: Mapping[str, Any], overwrite: bool
) -> None:
    """Writes `experiment/<name>.yaml`.

    Args:
        path: the file.
        about: what stands above it, line by line.
        groups: options of groups that it overrides.
        keys: all others.
        overwrite: whether a file that is there may be replaced.

    Raises:
        FileExistsError: it is there, and may not.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there; choose another --name, or replace it with --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    defaults = [f"  - override /{group}: {'null' if option is None else option}\n" for group, option in groups.items()]
    body = "".join(_dumped({key: value}) for key, value in keys.items())
    head = "".join(f"# {line}\n" for line in about.splitlines())
    write_durably(path, f"# @package _global_\n{head}defaults:\n{''.join(defaults)}  - _self_\n\n{body}")


def _dumped(keys: Mapping[str, Any]) -> str:
    return yaml.safe_dump(
        _escaped(dict(keys)), sort_keys=False, allow_unicode=True, width=110, default_flow_style=False
    )


def _escaped(value: Any) -> Any:
    """Texts of data, such as names of files, as they are: Hydra would resolve `${...}` in them."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if isinstance(value, Mapping):
        return {key: _escaped(each) for key, each in value.items()}
    return [_escaped(each) for each in value] if isinstance(value, list | tuple) else value
