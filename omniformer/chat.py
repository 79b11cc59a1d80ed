"""`omniformer chat RUN`: a conversation with a chat model, a line from you and its answer in turn."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omniformer.config import reported
from omniformer.config.arguments import (
    add_adjusting,
    add_allow_targets,
    add_device,
    add_draft,
    add_drawing,
    add_form,
    add_weights,
    adjusting,
    check_draft,
    command_parser,
    draft,
    drawn,
    form,
    tell_draft,
)
from omniformer.garbage import unsearched


def main(arguments: Sequence[str] | None = None) -> None:
    """Talks with a model that has a chat template: what you type is the user's turn, an empty line or the end of the
    input ends the conversation. It writes as its generation_config.json recommends, unless told otherwise.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    check_draft(parser, given)
    with reported():
        with unsearched():
            from omniformer.device import chosen

            device = chosen(given.device)  # before the rest is loaded, which takes seconds
            from omniformer.few_rows import for_few_rows
            from omniformer.folder import load
            from omniformer.generation import Sampling

        predictor = load(given.run, weights=given.weights, allow_targets=given.allow_targets)
        for_few_rows(predictor.model.to(device))
        options = predictor.usual_writing | {"member": given.member}
        if given.max_new_tokens is not None:
            options["max_new_tokens"] = given.max_new_tokens
        options |= adjusting(given) | form(given)
        if asked := drawn(given):
            options["strategy"] = Sampling(**asked)
        if given.draft is not None:
            options["draft"] = draft(given, device, predictor.writer(given.member))
        tools = None if given.tools is None else _tools(Path(given.tools))
        messages: list[dict[str, Any]] = []
        if given.system is not None:
            messages.append({"role": "system", "content": given.system})
        pictures = [{"type": "image", "path": path} for path in given.image]
        for line in _turns(given.messages):
            content = [*pictures, {"type": "text", "text": line}] if pictures else line
            pictures = []  # they are in the conversation from then on
            messages.append({"role": "user", "content": content})
            said = ""
            for piece in predictor.stream_chat(messages, tools=tools, **options):
                said += piece
                sys.stdout.write(piece)
                sys.stdout.flush()
            sys.stdout.write("\n")
            messages.append({"role": "assistant", "content": said})
        tell_draft(options)


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("chat", description=main.__doc__)
    parser.add_argument("run", help="the folder of a chat model, a run folder, or the model folder in it")
    parser.add_argument(
        "messages", nargs="*", metavar="message", help="what to say, one turn after the other (default: lines typed)"
    )
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    parser.add_argument(
        "--image", metavar="FILE", action="append", default=[], help="a picture that your first words are about; repeat"
    )
    parser.add_argument("--tools", metavar="FILE", help="a JSON file with the schemas of what the model may call")
    parser.add_argument("--max-new-tokens", type=int, help="when an answer ends at the latest (default: 256)")
    add_drawing(parser, best_of=False)
    add_adjusting(parser)
    add_form(parser)
    parser.add_argument("--member", help="which task talks, in a model that has several")
    add_draft(parser)
    add_device(parser)
    add_weights(parser)
    add_allow_targets(parser)
    return parser


def _turns(messages: Sequence[str]) -> Iterator[str]:
    """What the user says: the messages given, or else lines as they are typed."""
    if messages:
        yield from messages
        return
    while True:
        if sys.stdin.isatty():
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            return
        yield line


def _tools(path: Path) -> list[dict[str, Any]]:
    """The schemas in a file.

    Raises:
        ValueError: it is no JSON list of objects; names it.
    """
    try:
        tools = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(tools, list) or not all(isinstance(each, dict) for each in tools):
        raise ValueError(f"{path} must hold a JSON list of schemas, one object for each tool")
    return tools


if __name__ == "__main__":
    main()
