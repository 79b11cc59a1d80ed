"""What is imported is no garbage, and is not looked through for it."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unsearched() -> Iterator[None]:
    """Imports without Python's search for cycles, which passes over what they have left until the process ends
    (`gc.freeze`).

    Libraries leave some 900,000 objects, which live as long as the process. Python would look through all that there
    are again and again while they come, which is a fifth of the time of importing, and for half a second whenever a run
    or a server has left enough. Where nothing is imported, as in the further runs of a sweep, nothing is put aside, so
    that what a run has left is still found.

    Example:
        >>> with unsearched():
        ...     import wave
        >>> gc.isenabled()
        True
    """
    searched, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
            atexit.register(gc.unfreeze)  # bindings of libraries say on stderr what is not taken down at the end
        if searched:
            gc.enable()
