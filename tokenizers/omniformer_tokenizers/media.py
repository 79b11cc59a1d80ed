"""The one place where files of images and sound are decoded: with limits, and with one kind of error."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omniformer_tokenizers._checks import need

MAX_PIXELS = 50_000_000
MAX_FRAMES = 500_000_000  # samples of all channels: 2 GB of float32, 8.7 hours of 16 kHz mono

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
        max_pixels: the largest picture accepted, checked on the header before any pixel is decoded.

    Raises:
        MediaError: no such file, not a picture, damaged, or too many pixels.

    Shapes:
        uint8 `[channels, height, width]`.
    """
    name = _name(source)
    with _opened(source, name) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise MediaError(f"{name}: {width} x {height} pixels; at most {max_pixels} are accepted")
        return image_tensor(image, mode=mode)


def read_frames(source: str | Path | bytes, *, mode: str = "RGB", max_pixels: int = MAX_PIXELS) -> Tensor:
    """The frames of an animated GIF, WEBP or PNG; a still picture is one frame.

    Args:
        source: a path, or the content of a file.
        mode: `L` grey, `RGB`, or `RGBA`.
        max_pixels: the largest animation accepted, pixels of all frames together, checked before any is decoded.

    Raises:
        MediaError: no such file, not a picture, damaged, or too many pixels.

    Shapes:
        uint8 `[time, channels, height, width]`.
    """
    name = _name(source)
    with _opened(source, name) as image:
        n = getattr(image, "n_frames", 1)
        width, height = image.size
        if n * width * height > max_pixels:
            raise MediaError(f"{name}: {n} frames of {width} x {height}; at most {max_pixels} pixels are accepted")
        frames = []
        for i in range(n):
            image.seek(i)
            frames.append(image_tensor(image.copy(), mode=mode))
    return torch.stack(frames)


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
    except Exception as error:  # Pillow's plugins raise many kinds on damaged files
        raise MediaError(f"{name}: cannot be read as an image: {_cause(error)}") from error


def image_tensor(image: Any, *, mode: str = "RGB") -> Tensor:
    """A Pillow image as a tensor, turned upright by its EXIF orientation.

    16-bit and 32-bit grey is scaled to 8 bits by its own range (65,535; floats and integers by their largest value),
    palettes are resolved, CMYK is converted, and transparency is laid over white unless `mode` keeps it.

    Shapes:
        uint8 `[channels, height, width]`.
    """
    ops = need("PIL.ImageOps", "reading images")
    image = ops.exif_transpose(image)
    if image.mode in ("I", "F", "I;16", "I;16B", "I;16L", "I;16N"):
        image = _deep_grey(image)
    if mode != "RGBA" and ("A" in image.getbands() or "transparency" in image.info):
        image = image.convert("RGBA")
        white = type(image).copy(image)
        white.paste((255, 255, 255, 255), (0, 0, *image.size))
        white.alpha_composite(image)
        image = white
    pixels = np.array(image.convert(mode), dtype=np.uint8)
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1).contiguous()


def read_audio(source: str | Path | bytes, *, max_frames: int = MAX_FRAMES) -> tuple[Tensor, int]:
    """The sound in a file or in the bytes of one (WAV, FLAC, OGG, MP3, ...), and its sample rate; decoded by soundfile.

    Args:
        source: a path, or the content of a file.
        max_frames: the longest sound accepted, in samples of all channels together; checked on the header first, and
            again while reading, since a header may lie.

    Raises:
        MediaError: no such file, not a sound, damaged, not finite, or too long.

    Shapes:
        float32 `[channels, time]`, usually between -1 and 1.
    """
    soundfile = need("soundfile", "reading sound")
    name = _name(source)
    try:
        with soundfile.SoundFile(_stream(source)) as file:
            if file.frames * file.channels > max_frames:
                raise MediaError(f"{name}: {file.frames} frames of {file.channels}; at most {max_frames} are accepted")
            return _samples(file.read(dtype="float32", always_2d=True), name), file.samplerate
    except MediaError:
        raise
    except Exception as error:
        raise MediaError(f"{name}: cannot be read as sound: {_cause(error)}") from error


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
    soundfile = need("soundfile", "reading sound")
    name = _name(source)
    try:
        with soundfile.SoundFile(_stream(source)) as file:
            size, shared = max(1, round(seconds * file.samplerate)), round(overlap * file.samplerate)
            for block in file.blocks(blocksize=size, overlap=min(shared, size - 1), dtype="float32", always_2d=True):
                yield _samples(block, name), file.samplerate
    except MediaError:
        raise
    except Exception as error:
        raise MediaError(f"{name}: cannot be read as sound: {_cause(error)}") from error


def _samples(block: np.ndarray, name: str) -> Tensor:
    if not np.isfinite(block).all():
        raise MediaError(f"{name}: holds samples that are not finite numbers")
    # A copy: where a header announced more than there was, the block is a corner of a much larger array.
    return torch.from_numpy(block.T.copy())


def _deep_grey(image: Any) -> Any:
    module = need("PIL.Image", "reading images")
    pixels = np.array(image, dtype=np.float64)
    top = 65535.0 if image.mode.startswith("I;16") else max(float(pixels.max(initial=0.0)), 1.0)
    return module.fromarray(np.clip(np.rint(pixels / top * 255), 0, 255).astype(np.uint8))


def _stream(source: str | Path | bytes) -> Any:
    return io.BytesIO(source) if isinstance(source, bytes) else str(source)


def _name(source: str | Path | bytes) -> str:
    return f"{len(source)} bytes in memory" if isinstance(source, bytes) else str(source)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
