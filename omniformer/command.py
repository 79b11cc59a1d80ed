"""`omniformer VERB ...`: one command for everything; each verb is also a module of its own."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from omniformer.config.called import program, under, versions

# What to do before a run, what a run does, what to do with it, what to ask; shells call `complete` by their scripts.
VERBS = {
    "prepare": "omniformer.prepare.__main__",
    "tokenize": "omniformer.tokenize",
    "train": "omniformer.train",
    "baseline": "omniformer.baseline",
    "evaluate": "omniformer.evaluate",
    "probe": "omniformer.probe",
    "report": "omniformer.report.__main__",
    "attention": "omniformer.attention.__main__",
    "compare": "omniformer.compare.__main__",
    "predict": "omniformer.predict",
    "generate": "omniformer.generate",
    "chat": "omniformer.chat",
    "serve": "omniformer.serving.__main__",
    "export": "omniformer.export.__main__",
    "push": "omniformer.push",
    "consolidate": "omniformer.consolidate",
    "inspect": "omniformer.inspect",
    "plugins": "omniformer.plugins",
    "launch": "omniformer.launch",
    "help": "omniformer.help",
    "completion": "omniformer.completion",
}
HIDDEN = {"complete": "omniformer.complete"}


def main(arguments: Sequence[str] | None = None) -> object:
    """Runs a verb.

    Raises:
        SystemExit: status 2 for a verb that there is not.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("--help", "-h"):
        print(_usage())
        return _end(0 if given else 2)
    if given[0] == "--version":
        print(versions())
        return _end(0)
    verb, *rest = given
    where = (VERBS | HIDDEN).get(verb)
    if where is None:
        from omniformer.config.errors import nearest

        near = nearest(verb, VERBS)
        hint = f"did you mean {near}? " if near else ""
        print(f"error: {verb!r} is no verb of omniformer; {hint}accepted: {', '.join(VERBS)}", file=sys.stderr)
        return _end(2)
    with under(verb):
        import_module(where).main(rest)
    return _end(0)


def _end(status: int) -> None:
    """Leaves with a status; a console command's return value would be one as well."""
    if status:
        raise SystemExit(status)


def _usage() -> str:
    """The text of `--help`, from the first line of each verb's module."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {_said(where)}" for verb, where in VERBS.items()]
    return "\n".join(
        [
            "One transformer core that learns from text, images, audio and graphs, alone or mixed.",
            "",
            f"usage: {program()} VERB ...",
            "",
            *lines,
            "",
            "VERB --help says more of each, --version which versions are installed.",
            "Each verb is also a module: python -m omniformer.train is the same as omniformer train.",
        ]
    )


def _said(module: str) -> str:
    """What the first line of a module says of it, read without running it."""
    path = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    with path.open(encoding="utf-8") as file:
        return file.readline().partition("`: ")[2].strip().removesuffix('"""')
