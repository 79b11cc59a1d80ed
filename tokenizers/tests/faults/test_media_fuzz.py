"""Damaged and hostile files: the process lives, and every failure is a `MediaError` that names the file."""

import io
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

N = int(os.environ.get("OMNIFORMER_FUZZ_FILES", "10000"))

# Runs in a process of its own, so that a crash of a decoder is seen as its exit status.
FUZZ = """
import random, sys, warnings
warnings.simplefilter("error")
from pathlib import Path
from omniformer_tokenizers.media import MediaError, read_audio, read_frames, read_image
folder, kind, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
readers = [read_audio] if kind in ("WAV", "FLAC", "OGG", "MP3") else [read_image, read_frames]
original = (folder / "original").read_bytes()
path = folder / ("mutated." + kind.lower())
draw = random.Random(kind)
good = bad = 0
for i in range(n):
    content = bytearray(original)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        place = draw.randrange(min(len(content), draw.choice((64, len(content)))))
        content[place] = draw.randrange(256)
    if draw.random() < 0.2:
        del content[draw.randrange(len(content)):]
    if draw.random() < 0.1:
        start = draw.randrange(len(content) + 1)
        content[start:start] = draw.randbytes(draw.randrange(200))
    path.write_bytes(content)
    try:
        readers[i % len(readers)](path, **({} if kind in ("WAV", "FLAC", "OGG", "MP3") else {"max_pixels": 1_000_000}))
        good += 1
    except MediaError as error:
        assert str(path) in str(error), error
        bad += 1
print(good, bad)
"""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "WAV", "FLAC", "OGG", "MP3"])
def test_mutated_files_raise_one_kind_of_error_and_never_kill_the_process(tmp_path, image_bytes, audio_bytes, kind):
    content = audio_bytes(kind) if kind in ("WAV", "FLAC", "OGG", "MP3") else image_bytes(kind, 40, 30)
    (tmp_path / "original").write_bytes(content)
    result = subprocess.run(
        [sys.executable, "-c", FUZZ, str(tmp_path), kind, str(N)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"exit status {result.returncode}: {result.stderr[-2000:]}"
    good, bad = map(int, result.stdout.split())
    assert good + bad == N
    assert bad > 0


# Prints the seconds and the growth of memory, in MB, that reading a hostile file costs.
BOMB = """
import resource, sys, time
from omniformer_tokenizers.media import MediaError, read_audio, read_frames, read_image
import PIL.Image, soundfile
PIL.Image.init()
reader = {"read_image": read_image, "read_frames": read_frames, "read_audio": read_audio}[sys.argv[1]]
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
try:
    reader(sys.argv[2])
    print("accepted", end=" ")
except MediaError:
    print("refused", end=" ")
print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def png_bomb(path: Path, side: int) -> None:
    """A valid PNG of side x side black pixels, made without holding them."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    packer = zlib.compressobj(9)
    row = bytes(1 + side * 3)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def gif_bomb(path: Path) -> None:
    from PIL import Image

    frames = [Image.new("P", (2000, 2000), i % 2) for i in range(40)]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])


def many_frames(path: Path) -> None:
    from PIL import Image

    frames = [Image.new("L", (1, 1), i % 256) for i in range(12_000)]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])


def page_bomb(path: Path) -> None:
    """A TIFF of one bit a pixel, packed, in many pages."""
    from PIL import Image

    pages = [Image.new("1", (4000, 4000)) for _ in range(8)]
    pages[0].save(path, format="TIFF", save_all=True, append_images=pages[1:], compression="group4")


def silence(path: Path) -> None:
    """A FLAC of 80 million zeros, which is honest and still a bomb."""
    import numpy as np
    import soundfile

    with soundfile.SoundFile(path, "w", 8000, 1, format="FLAC") as file:
        for _ in range(20):
            file.write(np.zeros(4_000_000, np.int16))


def wide_wave(path: Path) -> None:
    """A WAV of 65,535 channels, more than any decoder takes."""
    import struct

    rate, channels = 8000, 65_535
    form = struct.pack("<HHIIHH", 1, channels, rate, 0xFFFFFFFF, 0xFFFE, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", 2_000_000) + bytes(2_000_000)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def wave_bomb(path: Path) -> None:
    """A WAV whose header announces four gigabytes."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, [0.0] * 100, 8000, format="WAV")
    content = bytearray(buffer.getvalue())
    for name, skip in ((b"RIFF", 4), (b"data", 4)):
        place = content.index(name) + skip
        content[place : place + 4] = b"\xf0\xff\xff\xff"
    path.write_bytes(content)


def flac_bomb(path: Path, samples: int) -> None:
    """A FLAC whose header announces many samples."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, [0.0] * 100, 8000, format="FLAC")
    content = bytearray(buffer.getvalue())
    content[8 + 14 : 8 + 18] = samples.to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("reader", "make", "outcome"),
    [
        ("read_image", lambda path: png_bomb(path, 13_000), "refused"),
        ("read_image", lambda path: png_bomb(path, 8_000), "refused"),
        ("read_image", lambda path: png_bomb(path, 7_000), "refused"),
        ("read_frames", gif_bomb, "refused"),
        ("read_frames", page_bomb, "refused"),
        ("read_frames", many_frames, "refused"),
        ("read_audio", silence, "refused"),
        ("read_audio", wide_wave, "refused"),
        ("read_audio", wave_bomb, None),
        ("read_audio", lambda path: flac_bomb(path, 2**32 - 1), "refused"),
        ("read_audio", lambda path: flac_bomb(path, 400_000_000), None),
    ],
)
def test_bombs_cost_less_than_a_second_and_300_megabytes(tmp_path, reader, make, outcome):
    make(tmp_path / "bomb")
    result = subprocess.run(
        [sys.executable, "-c", BOMB, reader, str(tmp_path / "bomb")], capture_output=True, text=True, check=True
    )
    word, seconds, megabytes = result.stdout.split()
    assert outcome in (None, word)
    assert float(seconds) < 1
    assert float(megabytes) < 300
