import io
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile
from omniformer_tokenizers import SpectrogramTokenizer

from omniformer.data.sets import esc10
from omniformer.data.sets.esc10 import CLASSES, ESC10, PACKED

SPLITS = ("train", "val", "test")
FOLDERS = [name.replace(" ", "_") for name in CLASSES]


def ogg(rate, seconds=0.2):
    file = io.BytesIO()
    tone = np.sin(np.arange(int(rate * seconds)) * 2 * np.pi * 440 / rate)
    soundfile.write(file, 0.5 * tone, rate, format="OGG", subtype="VORBIS")
    return file.getvalue()


def names():
    """One clip of each class in each fold, and a second take of the last."""
    for label in range(10):
        for fold in range(1, 6):
            yield label, f"{fold}-{1000 + label}-A.ogg"
    yield 9, "5-1009-B.ogg"


def save(file, **sounds):
    """The packed archive; its order is not that of the samples."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        content = ogg(16000)
        for label, name in reversed(list(names())):
            archive.writestr(f"{FOLDERS[label]}/{name}", sounds.get(name, content))
        archive.writestr("meta.csv", "file,fold,label")


def save_original(file, folder="{number:03} - {name}"):
    """The archive of the repository: at 44.1 kHz, with a readme, without a table."""
    with zipfile.ZipFile(file, "w") as archive:
        content, top = ogg(44100), f"ESC-10-{esc10.COMMIT}"
        archive.writestr(f"{top}/README.md", "ESC-10")
        for label, name in names():
            words = CLASSES[label].capitalize()
            archive.writestr(f"{top}/{folder.format(number=label + 1, name=words)}/{name}", content)
    return file


@pytest.fixture
def root(tmp_path):
    save(tmp_path / PACKED)
    return tmp_path


def test_contents_are_encoded_sounds_that_the_tokenizer_decodes(root):
    raw = ESC10(data_root=str(root)).split("val")[3]
    assert isinstance(raw.contents["audio"], bytes)
    tokens = SpectrogramTokenizer(sample_rate=16000)(raw.contents["audio"])
    assert 15 <= len(tokens) <= 25


@pytest.mark.parametrize(("fold", "before"), [(5, 4), (3, 2), (1, 5)])
def test_a_fold_tests_and_the_one_before_it_validates(root, fold, before):
    source = ESC10(data_root=str(root), fold=fold)
    folds = {name: {int(raw.id.split("/")[3][0]) for raw in source.split(name)} for name in SPLITS}
    assert folds == {"test": {fold}, "val": {before}, "train": set(range(1, 6)) - {fold, before}}
    assert sum(len(source.split(name)) for name in SPLITS) == 51


def test_samples_are_ordered_by_class_and_name_and_labelled_with_words(root):
    source = ESC10(data_root=str(root))
    for name in SPLITS:
        labels = [int(raw.targets["label"]) for raw in source.split(name)]
        assert labels == sorted(labels)
        for raw, label in zip(source.split(name), labels, strict=True):
            assert raw.id.split("/")[2] == FOLDERS[label]
            assert source.labels[label] == CLASSES[label]
    assert [raw.id for raw in source.split("test")][-2:] == [
        "esc10/test/fire_crackling/5-1009-A",
        "esc10/test/fire_crackling/5-1009-B",
    ]


def test_the_archive_of_the_repository_gives_the_same_ids_order_and_labels(root, tmp_path, monkeypatch):
    monkeypatch.setattr(esc10, "URL", save_original(tmp_path / "published.zip").as_uri())
    empty = str(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"ESC-10-\w+\.zip.*download=true.*esc10_ogg_16k\.zip"):
        ESC10(data_root=empty).split("train")
    ours, theirs = ESC10(data_root=str(root), fold=2), ESC10(data_root=empty, fold=2, download=True)
    for name in SPLITS:
        assert [(raw.id, int(raw.targets["label"])) for raw in ours.split(name)] == [
            (raw.id, int(raw.targets["label"])) for raw in theirs.split(name)
        ]
    tokens = SpectrogramTokenizer(sample_rate=16000)(theirs.split("test")[0].contents["audio"])
    assert 15 <= len(tokens) <= 25  # its other rate is resampled


def test_empty_sounds_strange_names_and_classes_are_told(tmp_path):
    save(tmp_path / PACKED, **{"3-1001-A.ogg": b""})
    with pytest.raises(ValueError, match=r"'rain/3-1001-A\.ogg' is an empty file"):
        list(ESC10(data_root=str(tmp_path)).split("train"))
    for member, message in (
        ("rain/6-1001-A.ogg", "'rain/6-1001-A.ogg' is not named as pattern="),
        ("snow/1-1001-A.ogg", "class 'snow' is not among those of training, dog bark"),
    ):
        with zipfile.ZipFile(tmp_path / PACKED, "w") as archive:
            archive.writestr("rain/1-1001-A.ogg", b"sound")
            archive.writestr(member, b"sound")
        with pytest.raises(ValueError, match=message):
            ESC10(data_root=str(tmp_path)).split("train")


def test_a_fold_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"fold=0 is not one of the five folds 1\.\.5"):
        ESC10(fold=0)


def test_the_real_set_has_its_published_size(shared_data):
    source = ESC10(data_root=str(shared_data))
    assert [len(source.split(name)) for name in SPLITS] == [240, 80, 80]
    counts = Counter(int(raw.targets["label"]) for name in SPLITS for raw in source.split(name))
    assert counts == dict.fromkeys(range(10), 40)
    sound, rate = soundfile.read(io.BytesIO(source.split("test")[0].contents["audio"]))
    assert (len(sound), rate) == (80000, 16000)
