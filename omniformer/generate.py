"""`omniformer generate RUN PROMPT...`: texts, pictures and sounds that a trained model writes."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniformer.config import reported
from omniformer.config.arguments import (
    ADJUSTING,
    FORM,
    SAMPLING,
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
    tell_unread,
)
from omniformer.garbage import unsearched

if TYPE_CHECKING:
    from omniformer.generation import Answer, Painter, Strategy, Transcriber, Writer

# Options that only some tasks or strategies have.
ONE_BY_ONE = ("max_new_tokens", "stop", "begin", "cache", "log_probs", "draft", "draft_tokens", "fallback")
WRITING = ("beams", *ONE_BY_ONE, *ADJUSTING, *FORM)
PAINTING = ("steps",)
# Of these, what a task has no use for that writes down what frames say.
NOT_TRANSCRIBING = (*SAMPLING, *ADJUSTING, *FORM, *ONE_BY_ONE, "length_penalty", "guidance", "size", "steps")


def main(arguments: Sequence[str] | None = None) -> None:
    """Goes on from a text, or answers what it is given: translates, describes pictures, writes down speech, paints."""
    parser = build_parser()
    given = parser.parse_intermixed_args(arguments)
    check_draft(parser, given)
    _check(parser, given)
    with reported():
        with unsearched():
            from omniformer.device import chosen

            device = chosen(given.device)  # before the rest is loaded, which takes seconds
            from omniformer.few_rows import for_few_rows
            from omniformer.folder import load
            from omniformer.generation import Painter, Transcriber, Writer

        predictor = load(given.run, weights=given.weights, allow_targets=given.allow_targets)
        for_few_rows(predictor.model.to(device))
        writer = predictor.writer(given.member)
        paints, transcribes = isinstance(writer, Painter), isinstance(writer, Transcriber)
        _check_kind(writer, given, paints=paints, transcribes=transcribes)
        named, inputs = _inputs(given, files=bool(writer.given))
        bad = _unreadable(writer, named, inputs)
        if bad and len(bad) == len(inputs):
            raise next(iter(bad.values()))
        options: dict[str, Any] = {"beam": given.beams or 1} if transcribes else _options(given, paints=paints)
        ranked = given.beams or given.best_of or given.fallback
        whole = ranked or given.json or given.out or given.log_probs or given.size
        if given.draft is not None:
            options["draft"] = draft(given, device, writer)
        if isinstance(writer, Writer) and len(inputs) == 1 and not whole:
            _stream(writer, inputs[0], options)
            tell_draft(options)
            return
        good = [i for i in range(len(inputs)) if i not in bad]
        found = writer.write([inputs[i] for i in good], **options)
        goes_on = writer.writes_text and not writer.given
        for i, answers in zip(good, found, strict=True):
            for j, answer in enumerate(answers[: given.answers]):
                _tell(answer, named[i], (i, j), given, goes_on=goes_on, several=len(inputs) > 1)
        tell_draft(options)
        if bad:
            tell_unread(list(bad.values()))
            raise SystemExit(1)


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser(
        "generate",
        description=main.__doc__,
        epilog="Without one of the options for drawing or --beams, a language model draws at temperature 0.8, "
        "a task that answers with text takes the most probable tokens, and pictures and sounds are drawn at 1.",
    )
    parser.add_argument("run", help="a run folder, or the model folder in it")
    parser.add_argument(
        "prompts",
        nargs="*",
        metavar="prompt",
        help="text to go on from, or what is to be answered: a text, or a file (.png .wav .json ...); "
        "without one, a new text begins",
    )
    parser.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="FILE_OR_TEXT",
        help="something more that every prompt is given, such as the picture that they ask about",
    )
    _add_answer(parser)
    add_drawing(parser)
    add_adjusting(parser)
    add_form(parser)
    _add_searching(parser)
    _add_shown(parser)
    parser.add_argument("--member", help="which task writes, in a model that has several")
    parser.add_argument(
        "--cache",
        choices=("growing", "static", "sliding", "none"),
        help="how what was read is kept (default: growing)",
    )
    add_draft(parser)
    add_device(parser)
    add_weights(parser)
    add_allow_targets(parser)
    return parser


def _add_answer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-new-tokens", type=int, help="when to end at the latest (default for texts: 256)")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="a text that ends an answer")
    parser.add_argument(
        "--begin",
        action="append",
        default=[],
        metavar="TOKEN",
        help="a special token with which an answer begins, in the place of those that the model's files say",
    )
    parser.add_argument(
        "--guidance", type=float, help="how much more what is given shall count (default: 1; by diffusion 3)"
    )
    parser.add_argument(
        "--size", type=int, nargs="+", metavar="PIXELS", help="height and width of a picture; one number for a square"
    )
    parser.add_argument("--steps", type=int, help="from noise to a picture, for models of diffusion (default: 50)")


def _add_searching(parser: argparse.ArgumentParser) -> None:
    searching = parser.add_argument_group("to search for the most probable answer")
    searching.add_argument("--beams", type=int, metavar="N", help="beam search with N beams; 4 is usual")
    searching.add_argument(
        "--length-penalty", type=float, help="0 favours short answers, above 1 long ones (default: 1, the mean)"
    )
    searching.add_argument(
        "--fallback",
        action="store_true",
        help="the most probable answer; one that repeats itself or is improbable is drawn anew, at rising temperatures "
        "(of speech, a window)",
    )


def _add_shown(parser: argparse.ArgumentParser) -> None:
    shown = parser.add_argument_group("what to show")
    shown.add_argument(
        "--answers", type=int, default=1, metavar="N", help="how many of --beams or --best-of, the best first"
    )
    shown.add_argument("--log-probs", action="store_true", help="print the log-probability of each token")
    shown.add_argument("--json", action="store_true", help="print one JSON object a line")
    shown.add_argument("--out", metavar="FOLDER", help="write each answer as a file: .txt, .png or .wav")


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Refuses options that would have no effect beside each other."""
    drawing = [_flag(name) for name in SAMPLING if getattr(given, name) is not None]
    if given.beams is not None and drawing:
        parser.error(f"--beams searches, {', '.join(drawing)} draws at random; give one of the two")
    if given.beams is not None and given.draft is not None:
        parser.error("--beams looks at many answers at once, which --draft does not guess; give one of the two")
    others = [
        _flag(name) for name in ("beams", "draft", *SAMPLING) if name != "seed" and getattr(given, name) is not None
    ]
    if given.fallback and others:
        parser.error(f"--fallback chooses ids by itself; leave out {', '.join(others)}")
    if given.length_penalty is not None and given.beams is None:
        parser.error("--length-penalty ranks the answers of --beams; give both")
    if given.size and len(given.size) > 2:
        parser.error(f"--size received {len(given.size)} numbers; give height and width, or one number for a square")
    most = given.beams or given.best_of or 1
    if not 1 <= given.answers <= most:
        parser.error(f"--answers {given.answers} is outside 1..{most}; give --beams or --best-of at least as many")


def _check_kind(
    writer: "Writer | Painter | Transcriber", given: argparse.Namespace, *, paints: bool, transcribes: bool
) -> None:
    """Refuses options that do not fit what is written."""
    if given.given and not writer.given:
        raise ValueError(f"{writer.head!r} goes on from its prompt and is given nothing; leave out --given")
    if not writer.writes_text and given.out is None:
        raise ValueError(f"{writer.head!r} writes pictures or sounds; say with --out FOLDER where to")
    others = NOT_TRANSCRIBING if transcribes else (*SAMPLING, *WRITING) if paints else PAINTING
    kept = "seed" if paints else None
    wrong = [_flag(name) for name in others if getattr(given, name) not in (None, [], False) and name != kept]
    if transcribes and given.answers > 1:
        wrong.append("--answers")
    if wrong:
        how = "what frames say, one answer each" if transcribes else "out of noise" if paints else "token by token"
        raise ValueError(f"{writer.head!r} writes {how}; leave out {', '.join(wrong)}")


def _inputs(given: argparse.Namespace, *, files: bool) -> tuple[list[str], list[Any]]:
    """Prompts as they are named in what is printed, and as the model reads them: as files, where that may be."""
    from omniformer.inputs import typed

    also, prompts = list(map(typed, given.given)), given.prompts or ([] if given.given else [""])
    read = list(map(typed, prompts)) if files else prompts
    if not also:
        return prompts, read
    if not prompts:
        return [" ".join(given.given)], [also]
    return prompts, [[*also, prompt] for prompt in read]


def _unreadable(
    writer: "Writer | Painter | Transcriber", named: Sequence[str], inputs: Sequence[Any]
) -> dict[int, Exception]:
    """Of several prompts, the places of those that cannot be read, with what is wrong, before any is answered."""
    from omniformer.generation.answer import given_sample

    bad: dict[int, Exception] = {}
    if len(inputs) > 1 and writer.given:
        for i, (name, each) in enumerate(zip(named, inputs, strict=True)):
            try:
                given_sample(name, each, writer.given, writer.head)
            except (ValueError, OSError) as error:
                bad[i] = error
    return bad


def _options(given: argparse.Namespace, *, paints: bool) -> dict[str, Any]:
    """What was asked for, as keywords of `write`; what was not is left to the task."""
    asked = {
        name: getattr(given, name) for name in ("max_new_tokens", "stop", "begin", "guidance", "cache", "steps", "size")
    }
    options = {name: value for name, value in asked.items() if value not in (None, [])}
    if "size" in options:
        options["size"] = tuple(options["size"]) * (2 // len(options["size"]))
    if paints:
        return options if given.seed is None else options | {"seed": given.seed}
    return options | adjusting(given) | form(given) | {"strategy": _strategy(given)}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _strategy(given: argparse.Namespace) -> "Strategy | None":
    """What was asked for; None leaves it to the task."""
    from omniformer.generation import BeamSearch, Fallback, Sampling

    if given.fallback:
        return Fallback(seed=given.seed or 0)
    if given.beams is not None:
        penalty = 1.0 if given.length_penalty is None else given.length_penalty
        return BeamSearch(n_beams=given.beams, length_penalty=penalty, n_best=given.answers)
    chosen = drawn(given)
    return Sampling(**chosen) if chosen else None


def _stream(writer: "Writer", prompt: Any, options: dict[str, Any]) -> None:
    """Prints an answer as it is written."""
    pieces = writer.stream(prompt, **options)
    if not writer.given:
        sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _tell(
    answer: "Answer", prompt: str, place: tuple[int, int], given: argparse.Namespace, *, goes_on: bool, several: bool
) -> None:
    """Prints one answer, or writes its file and prints where."""
    path: Path | None = None
    if given.out is not None:
        Path(given.out).mkdir(parents=True, exist_ok=True)
        path = answer.save(Path(given.out) / (str(place[0]) if given.answers == 1 else f"{place[0]}-{place[1]}"))
    if given.json:
        plain = {"prompt": prompt, **answer.to_dict(log_probs=given.log_probs)}
        print(json.dumps(plain if path is None else plain | {"file": str(path)}, ensure_ascii=False))
        return
    said = str(path) if path is not None else str(answer.content)
    if goes_on and path is None:
        said = prompt + said
    elif several:
        said = f"{prompt}\t{said}"
    print(said if given.answers == 1 or answer.score is None else f"{answer.score:.4f}\t{said}")
    if given.log_probs:
        for log_prob, token in zip(answer.log_probs, [*map(repr, answer.tokens), "(end)"], strict=False):
            print(f"  {log_prob:9.4f}  {token}")


if __name__ == "__main__":
    main()
