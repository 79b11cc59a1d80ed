"""How much one file or sound may unfold into, and the one setting that moves all these limits."""

import os
from collections.abc import Callable

VARIABLE = "OMNIFORMER_MEDIA_LIMITS"

MAX_PIXELS = 50_000_000  # of a picture, or of all frames of an animation together
MAX_FRAMES = 10_000  # pictures of an animation
MAX_SAMPLES = 500_000_000  # of a sound, all channels together: 2 GB of float32, 8.7 hours of 16 kHz mono
MAX_TEXT_BYTES = 2_000_000_000  # of a compressed text or a member of an archive, unpacked

# A small file that unfolds into very much is a bomb: so much is free, and what is beyond it must be paid for by the
# size of the file. Photographs hold 1 to 10 pixels a byte and speech up to 64 samples; text shrinks to a tenth.
FREE_PIXELS = 16_777_216
FREE_SAMPLES = 33_554_432
FREE_TEXT_BYTES = 100_000_000
MAX_PER_BYTE = 100

MAX_RATE = 768_000  # samples a second; the fastest recorders
MAX_RATE_RATIO = 4_096  # of a sound's own rate to the wanted one


def check_size(what: str, n: int, unit: str, *, limit: int, free: int, n_bytes: int) -> None:
    """Refuses what unfolds into more than `limit`, or into much more than the size of its file lets expect.

    Args:
        what: what it would become, for the message, such as `8000 x 8000 pixels`.
        n: how many of `unit` that is.
        unit: pixels, samples or bytes.
        limit: the most that is accepted.
        free: up to so many, the size of the file does not matter.
        n_bytes: the size of the file.

    Raises:
        ValueError: it is too much; says how to accept it.

    Example:
        >>> check_size("3 x 2 pixels", 6, "pixels", limit=50, free=10, n_bytes=1)
    """
    limit, free = allowed(limit), allowed(free)
    if n > limit:
        raise ValueError(f"{what}; at most {limit} {unit} are accepted{advice()}")
    if n > free and n > n_bytes * MAX_PER_BYTE:
        raise ValueError(
            f"{what} out of {n_bytes} bytes; beyond {free} {unit}, at most {MAX_PER_BYTE} a byte are accepted{advice()}"
        )


def allowed(limit: int) -> int:
    """A limit times what the environment variable `OMNIFORMER_MEDIA_LIMITS` says; 1 where it is not set.

    Raises:
        ValueError: the variable is not a positive number.
    """
    text = os.environ.get(VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise ValueError(
            f"{VARIABLE}={text!r} is not a positive number; 4 accepts four times as much, 1 is the default"
        )
    return int(limit * factor)


def advice() -> str:
    """The end of a message about a limit: how to move it."""
    return f" ({VARIABLE}=4 in the environment accepts four times as much)"


def bounded(read: Callable[[int], bytes], *, used: Callable[[], int]) -> bytes:
    """All that `read` unpacks, a piece at a time, so that a bomb is refused before it is in memory.

    Args:
        read: gives up to so many bytes, nothing at the end, such as the method of an open gzip file.
        used: how many bytes of the packed file have been read by now, such as its method `tell`; what lies behind a
            bomb does not pay for it.

    Raises:
        ValueError: it is too much.

    Example:
        >>> import io
        >>> packed = io.BytesIO(b"text")
        >>> bounded(packed.read, used=packed.tell)
        b'text'
    """
    pieces, n = [], 0
    limits = {"limit": MAX_TEXT_BYTES, "free": FREE_TEXT_BYTES}
    while piece := read(1 << 20):
        pieces.append(piece)
        n += len(piece)
        check_size(f"{n} bytes or more", n, "bytes", **limits, n_bytes=used())
    return b"".join(pieces)
