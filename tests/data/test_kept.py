import io

import pytest
import soundfile
import torch
from omniformer_tokenizers import ByteTokenizer, GraphTokenizer, PatchTokenizer, SpectrogramTokenizer, WordTokenizer
from PIL import Image

from omniformer.data import OmniDataModule, Raw, Source, Stream
from omniformer.data.kept import losses

DIGITS = PatchTokenizer(patch_size=4, stride=2, channels=1, image_size=(8, 8))


def encoded(mode, size):
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return stream.getvalue()


def test_photos_that_shrink_and_lose_their_colours_are_counted(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded("RGB", (64, 48)))
    told = losses([tmp_path / "a.png", encoded("L", (8, 8)), Image.new("RGB", (10, 10))], DIGITS)
    assert told == [
        "1 of the first 3 shrink to 8 x 8 pixels, such as one of 64 x 48; set tokenizer.image_size, or null",
        "2 of the first 3 are stored in colour and become grey; tokenizer.channels=3 keeps colours",
    ]
    assert not losses([tmp_path / "a.png"], PatchTokenizer())


def test_sounds_that_are_resampled_to_a_lower_rate_are_counted(tmp_path):
    soundfile.write(tmp_path / "a.wav", torch.zeros(160).numpy(), 16000)
    tokenizer = SpectrogramTokenizer(sample_rate=8000, n_mels=40, n_fft=256)
    told = losses([tmp_path / "a.wav", (torch.zeros(9), 8000), torch.zeros(9), (torch.zeros(9), 44100)], tokenizer)
    (only,) = told
    assert only.startswith("2 of the first 4 are resampled to 8000 Hz, such as one of 16000 Hz, which takes away what")
    assert only.endswith("above 4000 Hz; set tokenizer.sample_rate, or choose tokenizer=spectrogram")
    assert not losses([tmp_path / "a.wav"], SpectrogramTokenizer())


def test_words_that_a_vocabulary_does_not_know_are_counted():
    tokenizer = WordTokenizer(lowercase=True).fit(["a fine film", "a dull play"])
    (told,) = losses(["A fine book", "a dull evening"], tokenizer)
    assert told.startswith("33% of the 6 tokens of the first 2 are not in the vocabulary of 7; where it is that of ano")
    assert not losses(["a fine film"] * 9 + ["a book"], tokenizer)  # one of 29
    assert not losses(["a book"], WordTokenizer()) and not losses(["a book"], ByteTokenizer())


@pytest.mark.parametrize("content", [b"no picture", "nowhere.png", None, "a text"])
def test_what_cannot_be_read_is_left_to_its_reader(content):
    for tokenizer in (DIGITS, SpectrogramTokenizer(), ByteTokenizer(), GraphTokenizer()):
        assert losses([content], tokenizer) == []


def test_a_run_says_it_once(monkeypatch):
    said = []
    monkeypatch.setattr("omniformer.data.module.rank_zero_info", said.append)

    class Photos(Source):
        modalities = ("vision",)

        def split(self, name):
            return [Raw(id=str(i), contents={"vision": torch.zeros(3, 64, 64)}) for i in range(3)]

    module = OmniDataModule(
        streams={"vision": Stream(source=Photos())}, tokenizers={"vision": {"vision": DIGITS}}, seed=0
    )
    module.setup()
    module.setup()
    assert len(said) == 2 and said[0].startswith("vision: of its vision, 3 of the first 3 shrink to 8 x 8 pixels")
