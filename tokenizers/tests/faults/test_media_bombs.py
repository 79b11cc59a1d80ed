"""Small files that unfold into very much: refused within a second, by name, before they are in memory."""

import gzip
import io
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

# Prints the seconds of the processor and the growth of memory, in MB, that reading a hostile file costs.
BOMB = """
import resource, sys, time
from omniformer_tokenizers.media import read_audio, read_frames, read_image
from omniformer.data.sets.arrays import read_arrays
from omniformer.data.sets.reading import text_in
from pathlib import Path
import PIL.Image, soundfile
PIL.Image.init()
readers = {"read_image": read_image, "read_frames": read_frames, "read_audio": read_audio, "text_in": text_in}
reader = {**readers, "read_arrays": lambda path: read_arrays(path, ["x"])}[sys.argv[1]]
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    reader(Path(sys.argv[2]))
    print("accepted", end=" ")
except ValueError as error:
    assert sys.argv[2] in str(error), error
    assert "at most" not in str(error) or "OMNIFORMER_MEDIA_LIMITS=4" in str(error), error
    print("refused", end=" ")
print(time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
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


def mp3_bomb(path: Path) -> None:
    """An MP3 whose header announces two thousand million frames."""
    import numpy as np
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(np.arange(40_000) * 0.1), 16_000, format="MP3")
    content = bytearray(buffer.getvalue())
    place = content.index(b"Xing") + 8
    content[place : place + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(content)


def text_bomb(path: Path) -> None:
    """Ten gigabytes of zeros in ten megabytes; so large a file may unfold into one gigabyte of honest text."""
    path.write_bytes(gzip.compress(bytes(1 << 24)) * 600)


def arrays_bomb(path: Path) -> None:
    import numpy as np

    np.savez_compressed(path, x=np.zeros((30_000, 10_000), np.uint8))


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
        ("read_audio", mp3_bomb, "refused"),
        ("text_in", text_bomb, "refused"),
        ("read_arrays", arrays_bomb, "refused"),
    ],
)
def test_bombs_cost_less_than_a_second_and_300_megabytes(tmp_path, reader, make, outcome):
    path = tmp_path / {"text_in": "bomb.txt.gz", "read_arrays": "bomb.npz"}.get(reader, "bomb")
    make(path)
    command = [sys.executable, "-c", BOMB, reader, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    word, seconds, megabytes = result.stdout.split()
    assert outcome in (None, word)
    assert float(seconds) < 1
    assert float(megabytes) < 300
