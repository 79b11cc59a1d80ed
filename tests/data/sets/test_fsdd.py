import io
import wave

import numpy as np
import pytest
import torch

from omniformer.data.sets import fsdd
from omniformer.data.sets.fsdd import ORIGINAL, PACKED, SpokenDigits

SPLITS = ("train", "val", "test")


def sound(n=8, rate=8000, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(bytes(n * channels * width))
    return file.getvalue()


@pytest.fixture
def digits(tmp_path, spoken_zip):
    spoken_zip(tmp_path / PACKED)
    return SpokenDigits(data_root=str(tmp_path))


def takes(source, name):
    return {int(raw.id.rsplit("_", 1)[1]) for raw in source.split(name)}


def test_waveforms_are_the_recordings_and_labels_their_digits(digits, spoken):
    raws = [raw for name in SPLITS for raw in digits.split(name)]
    assert len(raws) == len(spoken)
    for raw in raws:
        file = raw.id.split("/")[2] + ".wav"
        waveform, rate = raw.contents["audio"]
        assert rate == 8000
        assert waveform.dtype == torch.float32
        assert np.array_equal(waveform.numpy() * 32768, spoken[file])
        assert digits.labels[int(raw.targets["label"])] == fsdd.WORDS[int(file[0])]


def test_the_official_split_goes_by_take(digits):
    assert takes(digits, "test") == {0, 4}
    assert takes(digits, "val") == {5, 9}
    assert takes(digits, "train") == {10, 49}


def test_a_speaker_who_is_held_out_is_heard_in_test_alone(tmp_path, spoken_zip):
    spoken_zip(tmp_path / PACKED)
    source = SpokenDigits(data_root=str(tmp_path), speaker="theo")
    assert len(source.split("test")) == 60
    assert takes(source, "test") == {0, 4, 5, 9, 10, 49}
    assert {raw.id.split("_")[1] for raw in source.split("test")} == {"theo"}
    for name, kept in (("train", {10, 49}), ("val", {5, 9})):
        assert {raw.id.split("_")[1] for raw in source.split(name)} == {"george"}
        assert takes(source, name) == kept


def test_the_archive_of_the_repository_gives_the_same_samples(tmp_path, digits, spoken_zip, listed, monkeypatch):
    published = spoken_zip(tmp_path / "published.zip", folder=f"free-spoken-digit-dataset-{fsdd.COMMIT}/recordings/")
    monkeypatch.setattr(fsdd, "URL", published.as_uri())
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"fsdd_wav_8k\.zip.*download=true"):
        SpokenDigits(data_root=empty).split("train")
    fetched = SpokenDigits(data_root=empty, download=True)
    assert listed(fetched) == listed(digits)
    assert (tmp_path / "empty" / ORIGINAL).is_file()
    assert listed(SpokenDigits(data_root=empty)) == listed(digits)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("3_george_50", sound(), "'3_george_50.wav' is not named digit_speaker_take.wav, with a take below 50"),
        ("three", sound(), "'three.wav' is not named"),
        ("3_theo_7", sound(rate=16000), r"'3_theo_7.wav' has \(channels, Hz, bits\) \(1, 16000, 16\)"),
        ("3_theo_7", sound(channels=2), r"'3_theo_7.wav' has \(channels, Hz, bits\) \(2, 8000, 16\)"),
        ("3_theo_7", sound(0), "'3_theo_7.wav' holds 0 bytes of sound"),
        ("3_theo_7", sound()[:-3], "'3_theo_7.wav' holds 13 bytes of sound; expected 16"),
        ("3_theo_7", b"RIFF", "'3_theo_7.wav' cannot be read as WAV"),
    ],
)
def test_a_bad_recording_is_told_by_name(tmp_path, spoken_zip, name, content, message):
    spoken_zip(tmp_path / PACKED, **{name: content})
    with pytest.raises(ValueError, match=rf"fsdd_wav_8k\.zip: {message}"):
        SpokenDigits(data_root=str(tmp_path)).split("train")


def test_a_speaker_without_recordings_and_one_without_a_name_are_told(tmp_path, spoken_zip):
    spoken_zip(tmp_path / PACKED)
    with pytest.raises(ValueError, match="no recording for the split 'test' with speaker='lucas'"):
        SpokenDigits(data_root=str(tmp_path), speaker="lucas").split("test")
    with pytest.raises(ValueError, match="speaker='nobody' is not known; choose george"):
        SpokenDigits(speaker="nobody")


def test_the_real_set_has_its_published_size(shared_data):
    digits = SpokenDigits(data_root=str(shared_data))
    assert [len(digits.split(name)) for name in SPLITS] == [2400, 300, 300]
    raws = [raw for name in SPLITS for raw in digits.split(name)]
    assert torch.stack([raw.targets["label"] for raw in raws]).bincount().tolist() == [300] * 10
    assert sum(len(raw.contents["audio"][0]) for raw in raws) / 8000 / 60 == pytest.approx(21.9, abs=0.05)
    held_out = SpokenDigits(data_root=str(shared_data), speaker="theo")
    assert [len(held_out.split(name)) for name in SPLITS] == [2000, 250, 500]
