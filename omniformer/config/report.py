"""How a command speaks: a mistake of the user's in one short message, a mistake of ours with its traceback."""

import os
import select
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from omniformer_tokenizers.versions import mismatch

from omniformer.config.errors import BuildError, ConfigError

TRACEBACK = "OMNIFORMER_TRACEBACK"
INTERRUPTED = 130  # what shells report for Ctrl-C: 128 and the number of SIGINT
UNREAD = 141  # the same of SIGPIPE


@contextmanager
def reported() -> Iterator[None]:
    """Turns what the user can mend into one message on stderr and an exit status, without a traceback.

    Status 2: a mistake in the configuration. Status 1: input that our code refuses, a missing file, a library that is
    missing or does not fit the torch beside it. Status 130: Ctrl-C. Status 141, without a word: whoever read what is
    printed has read enough, as `head` does.
    Anything else is a bug and keeps its traceback; with `OMNIFORMER_TRACEBACK=1` everything does. What our code warns
    of is one line too, without the line of code that Python shows below.

    Raises:
        SystemExit: for all of these.
    """
    try:
        with _warnings_in_a_line():
            yield
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except SystemExit as stop:
        # Lightning answers Ctrl-C with an orderly end and exit status 1.
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise SystemExit(INTERRUPTED) from None
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails again as it ends
            raise SystemExit(UNREAD) from None
        if os.environ.get(TRACEBACK):
            raise
        if told := mismatch(error):
            raise SystemExit(_said(told)) from None
        if not _can_be_mended(error):
            raise
        raise SystemExit(_said(error)) from None


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    before = warnings.formatwarning

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is UserWarning and _is_ours(filename) and not os.environ.get(TRACEBACK):
            return f"warning: {message}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = before


def _said(error: BaseException) -> int:
    """Prints the message; returns the exit status."""
    lines = [str(error) or type(error).__name__, *getattr(error, "__notes__", ())]
    print(f"error: {'; '.join(lines)}", file=sys.stderr)
    if isinstance(error, ConfigError):
        return 2
    print(f"(set {TRACEBACK}=1 to see where)", file=sys.stderr)
    return 1


def _can_be_mended(error: BaseException) -> bool:
    """Whether an error speaks to the user: a missing file, or a refusal that our own code wrote."""
    if isinstance(error, ConfigError | BuildError | OSError):
        return True
    if not isinstance(error, ValueError | TypeError | ImportError):
        return False
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return step is not None and _is_ours(step.tb_frame.f_code.co_filename)


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that was closed at its other end; False where a system cannot tell."""
    try:
        waiting = select.poll()
        waiting.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in waiting.poll(0))
    except (AttributeError, OSError):
        return False


def _is_ours(file: str) -> bool:
    """Whether a file of code is one of our two packages."""
    return any(folder in Path(file).resolve().parents for folder in _our_folders())


def _our_folders() -> list[Path]:
    """The folders of our two packages."""
    specs = [find_spec(name) for name in ("omniformer", "omniformer_tokenizers")]
    return [Path(place).resolve() for spec in specs if spec for place in spec.submodule_search_locations or ()]
