"""`omniformer serve RUN`: a trained model behind HTTP, with a page to try it in."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from omniformer.config import reported
from omniformer.config.arguments import add_allow_targets, add_device, command_parser
from omniformer.garbage import unsearched
from omniformer.serving.limits import Limits

_KEY = "OMNIFORMER_API_KEY"
_LIMITS = {
    "max_bytes": "of a request",
    "max_inputs": "of a request",
    "max_pixels": "of all pictures of a request",
    "max_sound_seconds": "of all sounds of a request",
    "max_tokens": "of one text, picture, sound or graph",
    "max_new_tokens": "of what is written",
    "max_batch": "inputs that the model reads at once",
    "max_waiting": "inputs that may wait; more are told to come again",
    "max_streams": "texts that are streamed at a time",
    "window": "seconds in which the first input of a batch waits for others",
    "seconds": "in which a request must have come, and be answered",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves a model until it is told to stop (Ctrl-C, SIGTERM): requests that it has are answered then, new ones are
    not taken. Predictions, vectors and texts, also as OpenAI's API has them; a page to try it in.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    if not 0 <= given.port < 65536:
        parser.error(f"--port is {given.port}; give 0 to 65535, 0 for any that is free")
    with reported():
        _need_libraries()
        with unsearched():
            from omniformer.device import chosen

            device = chosen(given.device)  # before the rest is loaded, which takes seconds
            from omniformer.few_rows import for_few_rows
            from omniformer.folder import load
            from omniformer.serving.app import LOCAL, make_app
            from omniformer.serving.running import run
            from omniformer.serving.service import Service

        predictor = load(given.run, allow_targets=given.allow_targets)
        for_few_rows(predictor.model.to(device))
        name = given.name or _name(Path(given.run))
        limits = Limits(**{key: getattr(given, key) for key in _LIMITS})
        service = Service(predictor, name=name, limits=limits)
        key = given.api_key or os.environ.get(_KEY) or None
        local = given.host in LOCAL
        app = make_app(service, api_key=key, hosts=LOCAL if local else ("*",))
        whole = run(
            app, host=given.host, port=given.port, seconds=limits.seconds, started=lambda at: _tell(at, local, key)
        )
    if not whole:
        print("error: requests were cut off, since they took too long after the stop", file=sys.stderr)
        raise SystemExit(1)


def build_parser() -> argparse.ArgumentParser:
    """The options of this command."""
    parser = command_parser("serve", description=main.__doc__)
    parser.add_argument("run", help="a run folder, the model folder in it, or the folder of a published model")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="where to listen; 0 takes a free one (default: 8000)")
    parser.add_argument("--api-key", metavar="KEY", help=f"what clients must show (default: {_KEY} of the environment)")
    parser.add_argument("--name", help="what clients call the model (default: the name of the run)")
    limits = parser.add_argument_group("limits")
    for key, what in _LIMITS.items():
        value = getattr(Limits(), key)
        shown = f"{what} (default: {value:,})"
        limits.add_argument(f"--{key.replace('_', '-')}", type=type(value), default=value, metavar="N", help=shown)
    add_device(parser)
    add_allow_targets(parser)
    return parser


def _name(run: Path) -> str:
    """What the run is called, or the folder of a model of others."""
    from omniformer.run_folder import read_run

    around = run.parent if run.name == "model" else run
    return str(read_run(around)[1]["name"]) if (around / "config.yaml").is_file() else run.resolve().name


def _need_libraries() -> None:
    from importlib.util import find_spec

    if missing := [
        each for each in ("fastapi", "uvicorn", "multipart", "prometheus_client") if find_spec(each) is None
    ]:
        raise ImportError(f"serving needs {', '.join(missing)}; install the extra 'serve': uv sync --extra serve")


def _tell(at: str, local: bool, key: str | None) -> None:
    """Where the server is, and who can reach it."""
    print(f"serving at {at}, for this machine alone" if local else f"serving at {at}", file=sys.stderr)
    if not local:
        lock = "who shows the key" if key else f"everyone who reaches this machine: lock it with --api-key or {_KEY}"
        print(f"it answers {lock}; it does not encrypt, which a proxy in front of it can do", file=sys.stderr)


if __name__ == "__main__":
    main()
