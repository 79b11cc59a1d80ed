"""What the commands with options of their own have in common: how they are named, `--version`, `--allow-targets`."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omniformer.config.called import called, versions
from omniformer.config.errors import ConfigError


def command_parser(verb: str, *, description: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """A parser that is named as the command was called.

    Args:
        verb: of `omniformer`.
        description: what the command does.
        epilog: what stands below the options in `--help`.

    Example:
        >>> command_parser("predict", description="Predicts.").prog.split()[-1].removeprefix("omniformer.")
        'predict'
    """
    parser = argparse.ArgumentParser(prog=called(verb), description=description, epilog=epilog)
    parser.add_argument("--version", action="version", version=versions(), help="print the versions and stop")
    return parser


# Options of `Sampling`, by its arguments but for the last one, which is its `n`.
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "best_of")


def add_drawing(parser: argparse.ArgumentParser, *, best_of: bool = True) -> None:
    """Adds how ids are drawn at random.

    Args:
        parser: gets the options.
        best_of: whether several answers may be written, of which the best one counts.
    """
    drawing = parser.add_argument_group("to draw at random")
    drawing.add_argument("--temperature", type=float, help="0 is greedy, 1 the model's own distribution (default: 0.8)")
    drawing.add_argument("--top-k", type=int, help="draw among the k most probable tokens only")
    drawing.add_argument("--top-p", type=float, help="draw among the fewest tokens that have this probability together")
    drawing.add_argument(
        "--min-p", type=float, help="drop tokens less probable than this share of the most probable one"
    )
    drawing.add_argument(
        "--repetition-penalty", type=float, help="above 1 makes tokens that were there already less probable"
    )
    drawing.add_argument("--seed", type=int, help="the same seed gives the same answers (default: 0)")
    if best_of:
        drawing.add_argument("--best-of", type=int, metavar="N", help="write N answers and keep the most probable")


def add_adjusting(parser: argparse.ArgumentParser) -> None:
    """Adds what changes the scores of the next id, and how long an answer is at least."""
    group = parser.add_argument_group("to change what is probable")
    group.add_argument("--min-new-tokens", type=int, help="how many tokens an answer has at least (default: 0)")
    group.add_argument("--no-repeat", type=int, metavar="N", help="no sequence of N tokens comes twice")
    group.add_argument("--presence-penalty", type=float, help="taken from the score of each token written already")
    group.add_argument("--frequency-penalty", type=float, help="the same, for each time that it was written")


ADJUSTING = ("min_new_tokens", "no_repeat", "presence_penalty", "frequency_penalty")


FORM = ("schema", "regex")


def add_form(parser: argparse.ArgumentParser) -> None:
    """Adds the form that an answer is to have."""
    group = parser.add_argument_group("to answer in a form (needs llguidance)")
    group.add_argument("--schema", metavar="FILE", help="a JSON schema that each answer fulfils")
    group.add_argument("--regex", metavar="PATTERN", help="a regular expression that each whole answer matches")


def form(given: argparse.Namespace) -> dict[str, Any]:
    """What was typed of these options, as keywords of `Writer.write`; empty where nothing was.

    Raises:
        ValueError: the file holds no JSON; names it.
    """
    found: dict[str, Any] = {} if given.regex is None else {"regex": given.regex}
    if given.schema is None:
        return found
    path = Path(given.schema)
    try:
        return found | {"schema": json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from error


def adjusting(given: argparse.Namespace) -> dict[str, Any]:
    """What was typed of these options, as keywords of `Writer.write`; empty where nothing was."""
    from omniformer.generation import NoRepeat, Penalties

    found: dict[str, Any] = {} if given.min_new_tokens is None else {"min_new_tokens": given.min_new_tokens}
    adjust: list[Any] = [] if given.no_repeat is None else [NoRepeat(given.no_repeat)]
    if given.presence_penalty is not None or given.frequency_penalty is not None:
        adjust.append(Penalties(presence=given.presence_penalty or 0.0, frequency=given.frequency_penalty or 0.0))
    return found | ({"adjust": adjust} if adjust else {})


def drawn(given: argparse.Namespace) -> dict[str, Any]:
    """What was typed of these options, as arguments of `Sampling`; empty where nothing was."""
    asked = {name: getattr(given, name, None) for name in SAMPLING}
    return {"n" if name == "best_of" else name: value for name, value in asked.items() if value is not None}


def add_draft(parser: argparse.ArgumentParser) -> None:
    """Adds who guesses: a smaller model, or the model itself."""
    parser.add_argument(
        "--draft",
        metavar="FOLDER",
        help="a smaller model of the same vocabulary that guesses tokens, or `self` for a model that was trained with "
        "task=multi_token; see docs/generation.md",
    )
    parser.add_argument(
        "--draft-tokens", type=int, metavar="N", help="guesses read in one pass (default: 4; of itself all it makes)"
    )


def check_draft(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Refuses a number of guesses where nobody guesses."""
    if given.draft_tokens is not None and given.draft is None:
        parser.error("--draft-tokens are guesses of --draft; give both")


def draft(given: argparse.Namespace, device: Any, own: Any) -> Any:
    """The `Draft` of the model that guesses, on a device.

    Args:
        given: what was typed.
        device: where it guesses.
        own: what writes, and guesses itself for `--draft self`; a folder of that name is `./self`.

    Raises:
        ValueError: it does not write token by token, or has no head that guesses.
    """
    from omniformer.few_rows import for_few_rows
    from omniformer.folder import load
    from omniformer.generation import SelfDraft, Writer

    if given.draft == "self":
        return SelfDraft(own.model, own.head, n=given.draft_tokens)
    predictor = load(given.draft, weights=given.weights, allow_targets=given.allow_targets)
    for_few_rows(predictor.model.to(device))
    writer = predictor.writer()
    if not isinstance(writer, Writer):
        raise ValueError(f"--draft {given.draft} does not write token by token; give a model that does")
    return writer.draft() if given.draft_tokens is None else writer.draft(given.draft_tokens)


def tell_draft(options: Mapping[str, Any]) -> None:
    """How many guesses were accepted, beside the answers."""
    if "draft" in options:
        print(f"({options['draft']})", file=sys.stderr)


def add_allow_targets(parser: argparse.ArgumentParser) -> None:
    """Adds `--allow-targets`: packages of the user's own whose classes a run may name."""
    parser.add_argument(
        "--allow-targets", nargs="*", default=[], metavar="PACKAGE", help="packages of your own that the run names"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds `--device`, for `omniformer.device.chosen`."""
    parser.add_argument(
        "--device",
        default="auto",
        help="where the model runs: cpu, cuda, cuda:1, mps ... (default: auto, a GPU where there is one)",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Adds `--weights`, for `omniformer.load`."""
    parser.add_argument(
        "--weights",
        choices=("bf16", "int8", "int4"),
        help="round the weights so that they take less memory (default: as they are); see docs/pretrained.md",
    )


def columns_in(text: str | None) -> dict[str, str | None]:
    """What was typed behind `--columns`: roles by column; none where nothing was.

    Raises:
        ConfigError: it is no mapping of that kind.

    Example:
        >>> columns_in("{photo: vision, note: null}")
        {'photo': 'vision', 'note': None}
    """
    import yaml

    try:
        found = yaml.safe_load(text or "{}")
    except yaml.YAMLError as error:
        found = error
    if not isinstance(found, dict) or not all(each is None or isinstance(each, str) for each in found.values()):
        raise ConfigError([f"--columns: received {text!r}, accepted roles by column, as in '{{photo: vision}}'"])
    return found


def tell_unread(bad: Sequence[object]) -> None:
    """Says what could not be read, one line each, and how much it was, after all else was done."""
    for error in bad:
        print(f"error: {error}", file=sys.stderr)
    print(f"({len(bad)} input{'s' if len(bad) > 1 else ''} could not be read; all others were)", file=sys.stderr)
