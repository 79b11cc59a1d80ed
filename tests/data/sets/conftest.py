import io
import threading
import wave
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest


class Quiet(SimpleHTTPRequestHandler):
    """A server that writes no log."""

    def log_message(self, format, *args):
        """Nothing."""


@pytest.fixture
def served(tmp_path):
    """A folder and the URL at which it is served from this machine, for downloaders that know http alone."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


SPEAKERS = ("george", "theo")
TAKES = (0, 4, 5, 9, 10, 49)


def wav(samples, rate=8000, channels=1):
    """A WAV file of 16-bit samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return file.getvalue()


@pytest.fixture(scope="session")
def spoken():
    """Short recordings as in the Free Spoken Digit Dataset, by file name: 2 speakers, 10 digits, 6 takes."""
    chance = np.random.default_rng(0)
    return {
        f"{digit}_{speaker}_{take}.wav": chance.integers(-(2**15), 2**15, size=30 + 10 * digit + take)
        for digit in range(10)
        for speaker in SPEAKERS
        for take in TAKES
    }


@pytest.fixture
def spoken_zip(spoken):
    """Writes the recordings into an archive, in a folder of it; further files and other contents may be given."""

    def write(file, folder="", **others):
        file.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(file, "w") as archive:
            for name, samples in spoken.items():
                archive.writestr(folder + name, wav(samples))
            for name, content in others.items():
                archive.writestr(f"{name}.wav", content)
        return file

    return write
