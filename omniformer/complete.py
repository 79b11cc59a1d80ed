"""`omniformer complete SHELL LINE`: the words that may stand next; what the scripts of `omniformer completion` call.

Neither torch nor Hydra is imported: configurations and constructors are read from their files.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module

from omniformer.command import VERBS
from omniformer.config import reported
from omniformer.config.called import under
from omniformer.config.folder import conf_dir
from omniformer.config.offers import offers
from omniformer.help import ROOTS

# Verbs that compose a configuration, and its primary file.
_COMPOSING = {"train": "train", "inspect": "inspect", "help": "train"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints words that begin as the last word of a line does; one that is whole ends with a space."""
    shell, line = sys.argv[1:] if arguments is None else arguments
    with reported():
        found = candidates(line)
    # fish adds the space itself.
    sys.stdout.writelines(f"{each.rstrip() if shell == 'fish' else each}\n" for each in found)


def candidates(line: str) -> list[str]:
    """The words that may stand at the end of a line.

    Args:
        line: a whole command up to the cursor.

    Example:
        >>> candidates("omniformer gen"), candidates("omniformer train core=small modality=vi")
        (['generate '], ['modality=vision '])
    """
    try:
        words = shlex.split(line)
    except ValueError:  # inside quotes, only the user knows
        return []
    begun = "" if line[-1:].isspace() or len(words) < 2 else words.pop()
    if len(words) < 2:
        return [f"{each} " for each in (*VERBS, "--help", "--version") if each.startswith(begun)]
    verb, given = words[1], words[2:]
    if verb in _COMPOSING:
        name = _COMPOSING[verb]
        return offers(given, begun, name=name, root=ROOTS[name], folder=conf_dir(), keys_alone=verb == "help")
    if verb in VERBS:
        with under(verb):
            return _options(import_module(VERBS[verb]).build_parser(), given, begun)
    return []


def _options(parser: argparse.ArgumentParser, given: Sequence[str], begun: str) -> list[str]:
    """Options of a parser, or the values that the last one, or a word by itself, may have."""
    actions = parser._actions  # what is public says it only as one text
    before = [action for action in actions if given and given[-1] in action.option_strings and action.nargs != 0]
    by_itself = [action for action in actions if not action.option_strings]
    if begun.startswith("-") and not before:
        found = [option for action in actions for option in action.option_strings if option.startswith("--")]
    else:
        found = [each for action in before or by_itself for each in action.choices or ()]
    return [f"{each} " for each in found if each.startswith(begun)]


if __name__ == "__main__":
    main()
