from pathlib import Path

import numpy as np
import pytest
import torch
from omniformer_tokenizers import (
    ByteTokenizer,
    PatchTokenizer,
    PixelTokenizer,
)
from PIL import Image

from omniformer.inputs.looks import of_array, typed
from omniformer.inputs.named import expand, listed, named_inputs, of_each
from omniformer.inputs.samples import sample_of

TEXT, PATCHES, PIXELS = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1), PixelTokenizer(channels=1)
PICTURE, WAVE = torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(100)


def test_folders_are_searched_through_links_and_a_path_must_lead_somewhere(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.png").touch()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    (tmp_path / "here" / "link" / "back").symlink_to(tmp_path / "here")
    assert [name for name, _ in expand(tmp_path / "here", 0)] == [str(tmp_path / "here" / "link" / "a.png")]
    with pytest.raises(FileNotFoundError, match=r"no file 'lost\.png'"):
        named_inputs(Path("lost.png"))
    with pytest.raises(FileNotFoundError, match=r"no file 'lost\.txt'"):
        sample_of("it", [Path("lost.txt")], {"text": TEXT})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no file that a model could read; known suffixes: \.png, "):
        named_inputs(tmp_path / "empty")


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ("a text", 1),
        ("", 1),
        (Path("a.png"), 1),
        (PICTURE, 1),
        (WAVE, 1),
        ((WAVE, 8000), 1),
        ({"n_nodes": 1, "edges": []}, 1),
        (np.zeros((8, 8, 3), np.uint8), 1),
        (Image.new("RGB", (8, 8)), 1),
        (np.zeros((5, 8, 8, 3), np.uint8), 5),
        (torch.zeros(5, 3, 8, 8), 5),
        (("a", "b"), 2),
        (["a", "b"], 2),
        (iter(["a", "b"]), 2),
    ],
)
def test_one_input_by_itself_is_a_list_of_one(one, expected):
    assert len(listed(one)) == expected


def test_what_can_be_read_is_used_and_the_rest_is_refused_by_name():
    asked = []

    def use(named):
        asked.append(len(named))
        for name, raw in named:
            if raw == 13:
                raise ValueError(f"{name}: unlucky")
        return [raw for _, raw in named]

    numbers = [(str(i), i) for i in range(16)]
    found = of_each(use, numbers)
    assert found[:13] + found[14:] == [i for i in range(16) if i != 13]
    assert str(found[13]) == "13: unlucky" and found[13].__traceback__ is None
    assert len(asked) < 12


def test_a_pattern_is_the_files_that_it_matches_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.png", "c.txt", "in/d.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert [name for name, _ in named_inputs([typed("*.png")])] == ["a.png", "b.png"]
    assert [name for name, _ in named_inputs([typed("**/*.png")])] == ["a.png", "b.png", "in/d.png"]
    assert typed("what is a.?") == "what is a.?" and typed("why?") == "why?"
    with pytest.raises(FileNotFoundError, match=r"no file matches '\*\.jpg'"):
        named_inputs([typed("*.jpg")])
    Path("[1].png").touch()
    assert named_inputs(Path("[1].png")) == [("[1].png", Path("[1].png"))]


def test_a_file_of_numpy_is_what_it_holds_and_nothing_that_runs(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
    np.save(tmp_path / "many.npy", pictures)
    np.save(tmp_path / "one.npy", pictures[0].astype(np.float32))
    names, arrays = zip(*named_inputs([typed(str(tmp_path / "many.npy"))]), strict=True)
    assert names == tuple(f"{tmp_path / 'many.npy'}[{i}]" for i in range(3))
    for array, expected in zip(arrays, pictures, strict=True):
        assert np.array_equal(np.asarray(of_array(array)), expected)
    ((name, one),) = named_inputs(tmp_path / "one.npy")
    assert name == str(tmp_path / "one.npy") and of_array(one).shape == (3, 4, 6)
    np.save(tmp_path / "bad.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"bad\.npy cannot be read as an array of numbers: "):
        named_inputs(tmp_path / "bad.npy")


def test_what_a_folder_holds_beside_is_counted(tmp_path, caplog):
    for name in ("a.png", "b.acc", "c.csv", "d.csv", "README"):
        (tmp_path / name).touch()
    assert len(named_inputs(tmp_path)) == 1
    assert caplog.messages == [f"{tmp_path}: 4 files of other kinds are passed over: 2 .csv, 1 README, 1 .acc"]
    assert [Path(name).name for name, _ in named_inputs(tmp_path, suffixes=(".acc",))] == ["a.png", "b.acc"]
