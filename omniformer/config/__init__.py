"""Configurations: checked before anything is imported, built from an allow list, composed on the command line.

Everything here is light: only a run imports Hydra, only `build` imports what a configuration names, and no built class
ever sees an object of Hydra's.
"""

from omniformer.config.allow import NotAllowedError, allowed, allowing, within
from omniformer.config.build import build, locate
from omniformer.config.cli import entry_point, query
from omniformer.config.errors import BuildError, ConfigError
from omniformer.config.report import reported
from omniformer.config.validate import validate, validate_node

# In reading order: build, check, run.
__all__ = [  # noqa: RUF022
    "build",
    "locate",
    "allowed",
    "allowing",
    "within",
    "NotAllowedError",
    "validate",
    "validate_node",
    "ConfigError",
    "BuildError",
    "entry_point",
    "query",
    "reported",
]
