"""How much the files of one request hold together, by their headers: many, each of which may be, are too much."""

from collections.abc import Iterable
from pathlib import Path

from omniformer_tokenizers.media import MediaError, picture_size, sound_length
from starlette.exceptions import HTTPException


def check_totals(files: Iterable[Path], *, frames: bool, max_pixels: int, max_sound_seconds: float) -> None:
    """Refuses files whose pictures, or whose sounds, are too much for one request, before any of them is decoded.

    What is neither, or is refused for its own size anyway, is not counted: it is told when it is read.

    Args:
        files: of one request.
        frames: whether all frames of an animation are read, or the first one alone.
        max_pixels: of all pictures.
        max_sound_seconds: of all sounds.

    Raises:
        HTTPException: 413.
    """
    pixels, seconds = 0, 0.0
    for file in files:
        try:
            pixels += picture_size(file, frames=frames)
        except MediaError:
            seconds += _seconds(file)
        if pixels > max_pixels:
            _refuse(f"pictures of this request have more than {max_pixels:,} pixels", "smaller")
        if seconds > max_sound_seconds:
            _refuse(f"sounds of this request last more than {max_sound_seconds:,g} seconds", "shorter")


def _seconds(file: Path) -> float:
    try:
        return sound_length(file)
    except MediaError:
        return 0.0


def _refuse(what: str, other: str) -> None:
    raise HTTPException(413, f"the {what} together, the most that is read in one request; send fewer or {other} ones")
