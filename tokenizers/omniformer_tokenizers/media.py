"""The one place where files of images and sound are decoded: with limits, and with one kind of error."""

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omniformer_tokenizers._checks import need
from omniformer_tokenizers.colours import image_tensor
from omniformer_tokenizers.limits import (
    FREE_PIXELS,
    FREE_SAMPLES,
    MAX_FRAMES,
    MAX_PIXELS,
    MAX_SAMPLES,
    advice,
    allowed,
    check_size,
)
from omniformer_tokenizers.rates import checked_rate
from omniformer_tokenizers.sound_headers import opened_sound

# Formats whose decoders held against mutated files; Pillow knows many more, some of them old and little tested.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")


class MediaError(ValueError):
    """A media file that cannot be used; the message names the file and the cause."""


@contextmanager
def naming(raw: Any) -> Iterator[None]:
    """Where `raw` is the path of a file, turns what is found wrong with its content into a `MediaError` naming it."""
    try:
        yield
    except MediaError:
        raise
    except ValueError as error:
        if isinstance(raw, str | Path):
            raise MediaError(f"{raw}: {error}") from error
        raise


def read_image(source: str | Path | bytes, *, mode: str = "RGB", max_pixels: int = MAX_PIXELS) -> Tensor:
    """The picture in a file or in the bytes of one, upright, in the wanted colour mode; decoded by Pillow.

    Args:
        source: a path, or the content of a file.
        mode: `L` grey, `RGB`, or `RGBA`. See `image_tensor` for how other kinds of pixels are brought there.
        max_pixels: the largest picture accepted, checked on the header before any pixel is decoded. One of more than
            16.8 million must also hold no more than 100 pixels a byte of its file, which keeps bombs out; see `limits`.

    Raises:
        MediaError: no such file, not a picture, damaged, or too many pixels.

    Shapes:
        uint8 `[channels, height, width]`.
    """
    with _opened(source, _name(source)) as image:
        _check_pixels(source, image, 1, max_pixels)
        return image_tensor(image, mode=mode)


def picture_size(source: str | Path | bytes, *, frames: bool = False, max_pixels: int = MAX_PIXELS) -> int:
    """How many pixels a picture has by its header; none is decoded.

    Args:
        source: a path, or the content of a file.
        frames: whether to count all frames of an animation, as `read_frames` reads them; by default the first one.
        max_pixels: as in `read_image`.

    Raises:
        MediaError: as `read_image`, or `read_frames`, of what the header says.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> Image.new("L", (3, 2)).save(file := io.BytesIO(), "PNG")
        >>> picture_size(file.getvalue())
        6
    """
    with _opened(source, _name(source)) as image:
        return _check_pixels(source, image, _frames(image) if frames else 1, max_pixels)


def read_frames(source: str | Path | bytes, *, mode: str = "RGB", max_pixels: int = MAX_PIXELS) -> Tensor:
    """The frames of an animated GIF, WEBP or PNG; a still picture is one frame.

    Args:
        source: a path, or the content of a file.
        mode: `L` grey, `RGB`, or `RGBA`.
        max_pixels: the largest animation accepted, pixels of all frames together, checked before any is decoded;
            otherwise as in `read_image`. At most 10,000 frames.

    Raises:
        MediaError: no such file, not a picture, damaged, too many pixels or frames, or frames of several sizes.

    Shapes:
        uint8 `[time, channels, height, width]`.
    """
    frames: list[Tensor] = []
    with _opened(source, _name(source)) as image:
        size, n = image.size, _frames(image)
        _check_pixels(source, image, n, max_pixels)
        for i in range(n):
            image.seek(i)
            if image.size != size:
                raise ValueError(f"frame {i} has {image.size} pixels and frame 0 {size}; expected one size")
            frames.append(image_tensor(image, mode=mode))
    return torch.stack(frames)


def _frames(image: Any) -> int:
    """How many frames a Pillow image has, if they are not too many."""
    n, most = getattr(image, "n_frames", 1), allowed(MAX_FRAMES)
    if n > most:
        raise ValueError(f"{n} frames; at most {most} are accepted{advice()}")
    return n


def _check_pixels(source: str | Path | bytes, image: Any, n: int, most: int) -> int:
    """The pixels of so many frames of a Pillow image, if they are not too many."""
    what = f"{image.width} x {image.height} pixels" if n == 1 else f"{n} frames of {image.width} x {image.height}"
    pixels = n * image.width * image.height
    check_size(what, pixels, "pixels", limit=most, free=FREE_PIXELS, n_bytes=_size(source))
    return pixels


@contextmanager
def _opened(source: str | Path | bytes, name: str) -> Iterator[Any]:
    """A Pillow image of a file; whatever goes wrong while it is open becomes a `MediaError`."""
    image_module = need("PIL.Image", "reading images")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; pixels decide, and our limit is lower
            with image_module.open(_stream(source), formats=IMAGE_FORMATS) as image:
                yield image
    except MediaError:
        raise
    except need("PIL", "reading images").UnidentifiedImageError as error:
        told = f"it is not one of {', '.join(IMAGE_FORMATS)}, or its header is damaged"
        raise MediaError(f"{name}: cannot be read as an image: {told}") from error
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise MediaError(f"{name}: cannot be read as an image: {_cause(error)}") from error


def read_audio(source: str | Path | bytes, *, max_samples: int = MAX_SAMPLES) -> tuple[Tensor, int]:
    """The sound in a file or in the bytes of one (WAV, FLAC, OGG, MP3, ...), and its sample rate; decoded by soundfile.

    A WAV or AU whose header says length 0, as recorders and pipes leave it, is read to the end of the file.

    Args:
        source: a path, or the content of a file.
        max_samples: the longest sound accepted, in samples of all channels together, checked on the header, beyond
            which nothing is decoded. One of more than 33.6 million must also hold no more than 100 samples a byte of
            its file, which keeps bombs out; see `limits`.

    Raises:
        MediaError: no such file, not a sound, damaged, not finite, or too long.

    Shapes:
        float32 `[channels, time]`, usually between -1 and 1.
    """
    with _opened_sound(source) as file:
        _check_samples(source, file, max_samples)
        return _samples(file.read(dtype="float32", always_2d=True)), checked_rate(file.samplerate)


def sound_length(source: str | Path | bytes, *, max_samples: int = MAX_SAMPLES) -> float:
    """How many seconds a sound lasts by its header; nothing is decoded.

    Args:
        source: a path, or the content of a file.
        max_samples: as in `read_audio`.

    Raises:
        MediaError: as `read_audio`, of what the header says.

    Example:
        >>> import io, soundfile
        >>> soundfile.write(file := io.BytesIO(), [0.0] * 4000, 8000, format="WAV")
        >>> sound_length(file.getvalue())
        0.5
    """
    with _opened_sound(source) as file:
        _check_samples(source, file, max_samples)
        return file.frames / checked_rate(file.samplerate)


def _check_samples(source: str | Path | bytes, file: Any, most: int) -> None:
    n, what = file.frames * file.channels, f"{file.frames} frames of {file.channels} channels"
    check_size(what, n, "samples", limit=most, free=FREE_SAMPLES, n_bytes=_size(source))


def read_audio_windows(
    source: str | Path | bytes, *, seconds: float, overlap: float = 0.0
) -> Iterator[tuple[Tensor, int]]:
    """A long sound in windows, one after the other, so that memory does not grow with its length.

    Args:
        source: a path, or the content of a file.
        seconds: length of a window; the last one is shorter.
        overlap: seconds that a window shares with the one before.

    Raises:
        ValueError: the overlap is not shorter than the window.
        MediaError: as `read_audio`, except that no length is too long.

    Shapes:
        pairs of float32 `[channels, time]` and the sample rate.
    """
    if not 0 <= overlap < seconds:
        raise ValueError(f"overlap={overlap}: need 0 <= overlap < seconds={seconds}")
    with _opened_sound(source) as file:
        rate = checked_rate(file.samplerate)
        size, shared = max(1, round(seconds * rate)), round(overlap * rate)
        for block in _blocks(file, size, min(shared, size - 1)):
            yield _samples(block), rate


def _blocks(file: Any, size: int, shared: int) -> Iterator[np.ndarray]:
    """The sound in overlapping pieces, as `SoundFile.blocks`, but to the end of the file, not of what it announces."""
    block = np.empty((0, file.channels), np.float32)
    while len(fresh := file.read(size - len(block), dtype="float32", always_2d=True)):
        block = np.concatenate([block, fresh])
        yield block
        if len(block) < size:
            return
        block = block[size - shared :].copy()


@contextmanager
def _opened_sound(source: str | Path | bytes) -> Iterator[Any]:
    """A sound file of soundfile; whatever goes wrong while it is open becomes a `MediaError`."""
    soundfile = need("soundfile", "reading sound")
    name = _name(source)
    try:
        with ExitStack() as stack:
            stream: Any = stack.enter_context(opened_sound(source))
            if stream.read(3) == b"ID3" or _is_mpeg(stream):
                # libsndfile finds MP3 frames in a file that has a name, not always in a stream.
                stream = _named(source, stack)
            else:
                stream.seek(0)
            yield stack.enter_context(soundfile.SoundFile(stream))
    except MediaError:
        raise
    except Exception as error:
        raise MediaError(f"{name}: cannot be read as sound: {_cause(error)}") from error


def _is_mpeg(stream: Any) -> bool:
    stream.seek(0)
    first, second, *_ = *stream.read(2), 0, 0
    return first == 0xFF and second & 0xE0 == 0xE0


def _named(source: str | Path | bytes, stack: ExitStack) -> str:
    """The path of a file with this content."""
    if not isinstance(source, bytes):
        return str(source)
    path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "sound.mp3"
    path.write_bytes(source)
    return str(path)


def _samples(block: np.ndarray) -> Tensor:
    if not np.isfinite(block).all():
        raise ValueError("it holds samples that are not finite numbers")
    # A copy: where a header announced more than there was, the block is a corner of a much larger array.
    return torch.from_numpy(block.T.copy() if block.base is not None or block.shape[1] > 1 else block.T)


def _stream(source: str | Path | bytes) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else str(source)


def _name(source: str | Path | bytes) -> str:
    return f"{len(source)} bytes in memory" if isinstance(source, bytes) else str(source)


def _size(source: str | Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else Path(source).stat().st_size


def _cause(error: Exception) -> str:
    if told := getattr(error, "error_string", None):  # of libsndfile; its whole message shows our stream's address
        return told
    if isinstance(error, ValueError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
