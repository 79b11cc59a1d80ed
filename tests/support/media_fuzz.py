"""Small valid files of every format that is decoded, damaged in many ways, and what our readers make of them.

As a program, reads cases `first` to `last` of a format in a process that a decoder may kill, and tells how it went in
one line of JSON a batch: `python media_fuzz.py PNG 0 10000 folder`.
"""

import faulthandler
import io
import json
import random
import resource
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from omniformer_tokenizers.media import MediaError, read_audio, read_audio_windows, read_frames, read_image
from PIL import Image

BATCH = 200
SECONDS_A_FILE = 20  # a decoder that takes longer hangs, and the process ends

# What is written of a format: modes of Pillow and options of its writer.
PICTURES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "JPEG": [("RGB", {}), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True})],
    "PNG": [("RGB", {}), ("P", {"transparency": 3}), ("RGBA", {}), ("1", {}), ("I;16", {})],
    "GIF": [("P", {}), ("L", {"transparency": 3}), ("P", {"save_all": True})],
    "BMP": [("RGB", {}), ("P", {}), ("1", {})],
    "WEBP": [("RGB", {}), ("RGBA", {"lossless": True}), ("RGB", {"save_all": True})],
    "TIFF": [
        ("RGB", {}), ("I;16", {}), ("F", {}), ("RGB", {"save_all": True}), ("RGB", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_adobe_deflate"}), ("RGB", {"compression": "jpeg"}),
        ("1", {"compression": "group4"}), ("P", {"compression": "packbits"}),
    ],
    "PPM": [("RGB", {}), ("L", {}), ("1", {}), ("I;16", {}), ("F", {})],
}  # fmt: skip
SOUNDS: dict[str, list[str]] = {
    "WAV": ["PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM", "MS_ADPCM"],
    "FLAC": ["PCM_16", "PCM_24"],
    "OGG": ["VORBIS", "OPUS"],
    "MP3": ["MPEG_LAYER_III"],
    "AIFF": ["PCM_16", "FLOAT", "ALAW"],
    "AU": ["PCM_16", "ALAW"],
    "CAF": ["PCM_16", "ALAC_16"],
    "W64": ["PCM_16"],
}
FORMATS = [*PICTURES, *SOUNDS]


@cache
def originals(format: str) -> list[bytes]:
    """Valid files of a format, one for each way of writing it."""
    if format in SOUNDS:
        return [_sound(format, subtype, channels) for subtype in SOUNDS[format] for channels in (1, 2)]
    return [_picture(format, mode, options) for mode, options in PICTURES[format]]


def _picture(format: str, mode: str, options: dict[str, Any]) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    pixels[:, 5:15] = 7  # some of it is even, as pictures are
    frames = [Image.fromarray(frame) for frame in pixels]
    if mode in ("F", "I;16"):
        frames = [Image.fromarray(np.asarray(frame.convert("L"), np.float32) / 255) for frame in frames]
    if mode == "I;16":
        frames = [Image.fromarray((np.asarray(frame) * 65535).astype(np.uint16)) for frame in frames]
    elif mode != "F":
        frames = [frame.convert(mode) for frame in frames]
    more = {"append_images": frames[1:]} if "save_all" in options else {}
    exif = {}
    if format in ("JPEG", "PNG", "WEBP"):
        exif = Image.Exif()
        exif[0x0112] = 6
        exif = {"exif": exif}
    buffer = io.BytesIO()
    frames[0].save(buffer, format=format, **options, **more, **exif)
    return buffer.getvalue()


def _sound(format: str, subtype: str, channels: int) -> bytes:
    rate = 48_000 if subtype == "OPUS" else 8000
    wave = 0.5 * np.sin(np.arange(1500)[:, None] * 0.3) * np.ones(channels)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def mutated(format: str, index: int) -> bytes:
    """Case `index` of a format: always the same bytes."""
    draw = random.Random(f"{format} {index}")
    content = bytearray(draw.choice(originals(format)))
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        draw.choice((_flip, _flip, _overwrite, _extreme, _extreme, _extreme, _cut, _delete, _repeat))(content, draw)
    if format in _SUMS and draw.random() < 0.7:  # otherwise a checksum would keep most damage from the decoder
        _SUMS[format](content)
    return bytes(content)


def _place(content: bytearray, draw: random.Random) -> int:
    """Anywhere, but half of the time in the header."""
    return draw.randrange(max(1, min(len(content), draw.choice((100, len(content))))))


def _flip(content: bytearray, draw: random.Random) -> None:
    if content:
        content[_place(content, draw)] ^= 1 << draw.randrange(8)


def _overwrite(content: bytearray, draw: random.Random) -> None:
    start, size = _place(content, draw), draw.randrange(1, 9)
    content[start : start + size] = draw.randbytes(size)


def _extreme(content: bytearray, draw: random.Random) -> None:
    """A field of 1 to 8 bytes at its smallest, largest, or where a sign changes; or digits, as PPM has them."""
    size = draw.choice((1, 2, 4, 8))
    top = 1 << 8 * size - 1
    number = draw.choice(
        (0, 1, top - 1, top, top + 1, 2 * top - 1, 2 * top - 2, 1 << 4 * size, 1 << draw.randrange(31))
    )
    field = (number % (2 * top)).to_bytes(size, draw.choice(("little", "big")))
    if draw.random() < 0.1:
        field = str(number).encode()
    start = _place(content, draw)
    content[start : start + len(field)] = field


def _cut(content: bytearray, draw: random.Random) -> None:
    del content[_place(content, draw) :]


def _delete(content: bytearray, draw: random.Random) -> None:
    start = _place(content, draw)
    del content[start : start + draw.choice((1, 2, 4, 16, 200))]


def _repeat(content: bytearray, draw: random.Random) -> None:
    start = _place(content, draw)
    piece = content[start : start + draw.choice((1, 4, 12, 60, 400))]
    content[start:start] = bytes(piece) * draw.choice((1, 1, 2, 50))


def _png_sums(content: bytearray) -> None:
    """The checksums of all chunks, made right."""
    place = 8
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        if end + 4 > len(content):
            return
        content[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")
        place = end + 4


def _ogg_sums(content: bytearray) -> None:
    """The checksums of all pages, made right."""
    place = content.find(b"OggS")
    while place >= 0 and place + 27 <= len(content):
        table = content[place + 27 : place + 27 + content[place + 26]]
        end = min(place + 27 + len(table) + sum(table), len(content))
        content[place + 22 : place + 26] = bytes(4)
        total = 0
        for byte in content[place:end]:
            total = (total << 8 & 0xFFFFFFFF) ^ _OGG_TABLE[total >> 24 ^ byte]
        content[place + 22 : place + 26] = struct.pack("<I", total)
        place = content.find(b"OggS", end)


def _ogg_table() -> Iterator[int]:
    for byte in range(256):
        total = byte << 24
        for _ in range(8):
            total = (total << 1 ^ (0x04C11DB7 if total & 0x80000000 else 0)) & 0xFFFFFFFF
        yield total


_OGG_TABLE = tuple(_ogg_table())
_SUMS = {"PNG": _png_sums, "OGG": _ogg_sums}


def outcome(format: str, index: int, path: Path) -> str:
    """What the readers make of a case: `decoded`, `refused`, or another word and why, which is a fault of theirs.

    Every other case is read as bytes, every third one frame by frame or window by window.
    """
    content = mutated(format, index)
    path.write_bytes(content)
    source, name = (content, "bytes in memory") if index % 2 else (path, str(path))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            _read(format, source, in_pieces=index % 3 == 0)
            result = "decoded"
        except MediaError as error:
            told = name in str(error) and "\n" not in str(error) and " at 0x" not in str(error)
            result = "refused" if told else f"ill told: {error}"
        except BaseException as error:
            result = f"raised: {error!r}"
    return f"warned: {seen[0].message}" if seen else result


def _read(format: str, source: bytes | Path, *, in_pieces: bool) -> None:
    if format in SOUNDS:
        if in_pieces:
            for _ in read_audio_windows(source, seconds=0.05, overlap=0.01):
                pass
        else:
            read_audio(source)
    elif in_pieces:
        read_frames(source)
    else:
        read_image(source)


def main(format: str, first: int, last: int, folder: Path) -> None:
    """Reads cases, a line of JSON a batch; the file that is being read lies in `folder`, whatever becomes of us."""
    faulthandler.enable()
    slowest = 0.0
    for start in range(first, last, BATCH):
        counts, faults = Counter[str](), []
        for index in range(start, min(start + BATCH, last)):
            faulthandler.dump_traceback_later(SECONDS_A_FILE, exit=True)
            begun = time.perf_counter()
            result = outcome(format, index, folder / f"{format.lower()} {index}")
            slowest = max(slowest, time.perf_counter() - begun)
            faulthandler.cancel_dump_traceback_later()
            (folder / f"{format.lower()} {index}").unlink()
            counts[result if result in ("decoded", "refused") else "other"] += 1
            faults += [] if result in ("decoded", "refused") else [f"{format} {index} {result}"]
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row = {"next": min(start + BATCH, last), **counts, "faults": faults, "slowest": slowest, "megabytes": megabytes}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
