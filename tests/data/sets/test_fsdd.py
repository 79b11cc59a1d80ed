import io
import wave
import zipfile

import numpy as np
import pytest
import torch
from omniformer_tokenizers.media import read_audio

from omniformer.data.sets import fsdd
from omniformer.data.sets.fsdd import ORIGINAL, PACKED, SpokenDigits

SPLITS = ("train", "val", "test")


def wav(samples, rate):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return file.getvalue()


@pytest.fixture
def digits(tmp_path, spoken_zip):
    spoken_zip(tmp_path / PACKED)
    return SpokenDigits(data_root=str(tmp_path))


def takes(source, name):
    return {int(raw.id.rsplit("_", 1)[1]) for raw in source.split(name)}


def test_waveforms_are_the_recordings_and_labels_their_digits(digits, spoken):
    recordings = {name: digits.recordings(name) for name in SPLITS}
    assert sum(map(len, recordings.values())) == len(spoken)
    for name in SPLITS:
        for raw, recording in zip(digits.split(name), recordings[name], strict=True):
            waveform, rate = read_audio(raw.contents["audio"])
            assert (rate, raw.id) == (8000, f"fsdd/{name}/{recording.name}")
            assert np.array_equal(waveform[0].numpy() * 32768, spoken[f"{recording.name}.wav"])
            assert torch.equal(recording.waveform, waveform[0])
            assert recording.name.split("_")[:2] == [str(recording.digit), recording.speaker]
            assert digits.labels[int(raw.targets["label"])] == fsdd.WORDS[recording.digit]


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
    with pytest.raises(FileNotFoundError, match=r"download=true.*fsdd_wav_8k\.zip"):
        SpokenDigits(data_root=empty).split("train")
    fetched = SpokenDigits(data_root=empty, download=True)
    assert listed(fetched) == listed(digits)
    assert (tmp_path / "empty" / ORIGINAL).is_file()
    assert listed(SpokenDigits(data_root=empty)) == listed(digits)


@pytest.mark.parametrize("name", ["3_george_50", "three"])
def test_a_file_of_another_name_is_told(tmp_path, spoken_zip, name):
    spoken_zip(tmp_path / PACKED, **{name: b"RIFF"})
    with pytest.raises(ValueError, match=rf"fsdd_wav_8k\.zip: '{name}.wav' is not named as pattern="):
        SpokenDigits(data_root=str(tmp_path)).split("train")


def test_recordings_that_cannot_be_read_or_have_another_rate_are_told(tmp_path):
    (tmp_path / "fsdd").mkdir()
    for content, message in ((b"RIFF", "fsdd/train/3_theo_17: "), (wav([0] * 8, rate=16000), "has 16000 Hz and 1")):
        with zipfile.ZipFile(tmp_path / PACKED, "w") as archive:
            archive.writestr("3_theo_17.wav", content)
        with pytest.raises(ValueError, match=message):
            SpokenDigits(data_root=str(tmp_path)).recordings("train")


def test_an_unknown_speaker_is_refused():
    with pytest.raises(ValueError, match="speaker='nobody' is not known; choose george"):
        SpokenDigits(speaker="nobody")


@pytest.mark.slow
def test_the_real_set_has_its_published_size(shared_data):
    digits = SpokenDigits(data_root=str(shared_data))
    assert [len(digits.split(name)) for name in SPLITS] == [2400, 300, 300]
    raws = [raw for name in SPLITS for raw in digits.split(name)]
    assert torch.stack([raw.targets["label"] for raw in raws]).bincount().tolist() == [300] * 10
    minutes = sum(read_audio(raw.contents["audio"])[0].shape[1] for raw in raws) / 8000 / 60
    assert minutes == pytest.approx(21.9, abs=0.05)
    held_out = SpokenDigits(data_root=str(shared_data), speaker="theo")
    assert [len(held_out.split(name)) for name in SPLITS] == [2000, 250, 500]
