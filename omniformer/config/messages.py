"""What Hydra, OmegaConf and YAML say about a configuration that cannot be composed, in our words and shorter."""

import re
from collections.abc import Mapping, Sequence

from omniformer.config.errors import ConfigError, nearest

_MISSING_OPTION = re.compile(r"(?:In '(?P<file>[^']*)': )?Could not find '(?P<group>.+)/(?P<option>[^'/]*)'")


def explained(error: Exception, options: Mapping[str, Sequence[str]]) -> ConfigError | None:
    """Our message for an error of composition; None for an error of another kind.

    Args:
        error: what Hydra's run raised.
        options: the options of each config group, by name.
    """
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if isinstance(error, MissingConfigException):
        return ConfigError([_missing_option(str(error), options)])
    if isinstance(error, OverrideParseException):
        override = getattr(error, "override", "").lstrip("+")
        return ConfigError([f"{override}: {_first_line(error)}; accepted: key=value, as in optim.lr=0.001"])
    if isinstance(error, OmegaConfBaseException):
        return ConfigError([_wrong_value(error)])
    if isinstance(error, YAMLError):
        return ConfigError(["not valid YAML: " + " ".join(str(error).split())])
    if isinstance(error, HydraException):
        cause = error.__cause__
        inner = f"; {_wrong_value(cause)}" if isinstance(cause, OmegaConfBaseException) else ""
        return ConfigError(["; ".join(line.strip() for line in str(error).splitlines() if line.strip()) + inner])
    return None


def _missing_option(message: str, options: Mapping[str, Sequence[str]]) -> str:
    """An option that a group does not have, wherever it was asked for."""
    match = _MISSING_OPTION.search(message)
    if match is None:
        return _first_line(message)
    group, option = match["group"], match["option"]
    known = options.get(group)
    where = "" if (match["file"] or "train") == "train" else f" (asked for in {match['file']}.yaml)"
    if known is None:
        return f"{group}={option}: there is no group {group!r}{where}; accepted: {', '.join(options)}"
    near = nearest(option, known)
    hint = f"did you mean {near}? " if near else ""
    return f"{group}={option}: there is no such option{where}; {hint}accepted: {', '.join(known)}"


def _wrong_value(error: BaseException) -> str:
    """A value that is missing, or that refers to nothing, with its key."""
    text = _first_line(error)
    key = getattr(error, "full_key", None)
    missing = re.search(r"Missing mandatory value: (\S+)", text)
    if missing:
        own = key is None or key.startswith("hydra.")  # its folder is named after other keys
        return f"{missing[1] if own else key}: must be set"
    return f"{key}: {text}" if key and key not in text else text


def _first_line(error: object) -> str:
    return str(error).strip().split("\n", 1)[0]
