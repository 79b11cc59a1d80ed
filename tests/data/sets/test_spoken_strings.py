import numpy as np
import pytest
import torch

from omniformer.data.sets.fsdd import PACKED, WORDS
from omniformer.data.sets.spoken_strings import HISS, LONGEST_PAUSE, SHORTEST_PAUSE, SpokenStrings

SPLITS = ("train", "val", "test")
TAKES = {"train": {10, 49}, "val": {5, 9}, "test": {0, 4}}


@pytest.fixture
def root(tmp_path, spoken_zip):
    spoken_zip(tmp_path / PACKED)
    return str(tmp_path)


def parts(raw, spoken, takes):
    """The recordings that a string is made of and the pauses between them, found by comparing samples."""
    rest = raw.contents["audio"][0].numpy() * 32768
    found, pauses = [], []
    for word in raw.answer["text"].split():
        names = [
            name for name in spoken if int(name[0]) == WORDS.index(word) and int(name[:-4].rsplit("_", 1)[1]) in takes
        ]
        # The recording begins after as many samples of hiss as lie before its first match.
        starts = [
            (start, name)
            for name in names
            for start in range(min(len(rest) - len(spoken[name]), round(8000 * LONGEST_PAUSE)) + 1)
            if rest[start] == spoken[name][0] and np.array_equal(rest[start : start + len(spoken[name])], spoken[name])
        ]
        start, name = min(starts)
        pauses.append(rest[:start] / 32768)
        found.append(name)
        rest = rest[start + len(spoken[name]) :]
    assert len(rest) == 0
    return found, pauses


@pytest.mark.quick(1)
@pytest.mark.parametrize("name", SPLITS)
def test_a_string_is_recordings_of_its_split_by_one_speaker_with_pauses_between(root, spoken, name):
    for raw in SpokenStrings(data_root=root).split(name)[:20]:
        found, pauses = parts(raw, spoken, TAKES[name])
        assert len({file.split("_")[1] for file in found}) == 1
        assert len(pauses[0]) == 0
        for pause in pauses[1:]:
            assert round(8000 * SHORTEST_PAUSE) <= len(pause) <= round(8000 * LONGEST_PAUSE)
            assert 0 < np.abs(pause).max() <= HISS


def test_lengths_cover_the_range_and_sizes_are_those_asked_for(root):
    source = SpokenStrings(data_root=root, n_train=200, n_val=3, n_test=0, shortest=1, longest=3)
    assert [len(source.split(name)) for name in SPLITS] == [200, 3, 0]
    lengths = [len(raw.answer["text"].split()) for raw in source.split("train")]
    assert min(np.bincount(lengths)[1:]) > 40
    assert max(lengths) == 3
    words = {word for raw in source.split("train") for word in raw.answer["text"].split()}
    assert words == set(WORDS)


def test_a_string_depends_on_its_name_alone(root):
    few, many = SpokenStrings(data_root=root, n_train=3), SpokenStrings(data_root=root, n_train=300)
    for a, b in zip(few.split("train"), many.split("train")[:3], strict=True):
        assert (a.id, a.answer) == (b.id, b.answer)
        assert torch.equal(a.contents["audio"][0], b.contents["audio"][0])
    texts = [raw.answer["text"] for raw in many.split("train")]
    assert len(set(texts)) > 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortest": 4, "longest": 3}, "shortest=4 and longest=3"),
        ({"shortest": 0}, "shortest=0"),
        ({"n_val": -1}, "n_val=-1"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SpokenStrings(**options)


def test_a_digit_that_nobody_recorded_is_told(tmp_path, spoken, spoken_zip, monkeypatch):
    monkeypatch.delitem(spoken, "7_theo_10.wav")
    monkeypatch.delitem(spoken, "7_theo_49.wav")
    spoken_zip(tmp_path / PACKED)
    with pytest.raises(ValueError, match="no recording of 'theo' saying 'seven' for 'train'"):
        SpokenStrings(data_root=str(tmp_path)).split("train")


@pytest.mark.slow
def test_strings_of_the_real_recordings(shared_data):
    source = SpokenStrings(data_root=str(shared_data))
    assert [len(source.split(name)) for name in SPLITS] == [4000, 200, 400]
    raws = source.split("test")[:100]
    seconds = sum(len(raw.contents["audio"][0]) for raw in raws) / 8000
    words = sum(len(raw.answer["text"].split()) for raw in raws)
    assert 0.4 < seconds / words < 0.7
