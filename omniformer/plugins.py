"""`omniformer plugins`: which plug-ins are installed, and what they bring."""

import argparse
from collections.abc import Sequence

from omniformer.config import reported
from omniformer.config.arguments import command_parser
from omniformer.config.overrides import group_options
from omniformer.config.plugins import GROUP, Plugin, installed


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the name, release and groups of every plug-in."""
    build_parser().parse_args(arguments)
    with reported():
        found = installed()
        print("\n\n".join(map(described, found)) or f"no plug-in: no installed package has an entry point of {GROUP!r}")


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    return command_parser("plugins", description=main.__doc__)


def described(plugin: Plugin) -> str:
    """What is said of one plug-in: where it is from, which package may be named, which options it adds to which group.

    Example:
        >>> print(described(Plugin("tilt", "tilt_sensor", "tilt-sensor 1.0", None)))
        tilt: tilt-sensor 1.0
          classes of tilt_sensor may be a _target_
    """
    options = {} if plugin.conf is None else group_options([plugin.conf])
    return "\n".join(
        [
            f"{plugin.name}: {plugin.release}",
            f"  classes of {plugin.package} may be a _target_",
            *(f"  {group}={','.join(names)}" for group, names in options.items()),
        ]
    )


if __name__ == "__main__":
    main()
