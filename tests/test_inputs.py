from pathlib import Path

import numpy as np
import pytest
import torch
from omniformer_tokenizers import (
    ByteTokenizer,
    GraphTokenizer,
    MuLawTokenizer,
    PatchTokenizer,
    PixelTokenizer,
    WaveformTokenizer,
    WhisperTokenizer,
)
from PIL import Image

from omniformer.inputs import (
    expand,
    listed,
    looks_like,
    modality_of,
    named_inputs,
    of_array,
    of_each,
    sample_of,
    tokens_of,
    typed,
)

TEXT, PATCHES, PIXELS = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1), PixelTokenizer(channels=1)
PICTURE, WAVE = torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(100)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (Path("a.PNG"), "vision"),
        (Path("a.flac"), "audio"),
        (Path("a.unknown"), None),
        (("who wrote it?", "a book"), "text"),
        ("a.png", "text"),
        (PICTURE, "vision"),
        (WAVE, "audio"),
        ((WAVE, 8000), "audio"),
        ({"n_nodes": 1, "edges": []}, "graph"),
        (7, None),
    ],
)
def test_modalities_are_told_from_suffixes_and_types(raw, expected):
    assert modality_of(raw) == expected


@pytest.mark.parametrize(
    ("raw", "tokenizers", "expected"),
    [
        ("hi", {"vision": PATCHES, "text": TEXT}, "text"),
        (PICTURE, {"text": TEXT, "vision": PIXELS}, "vision"),
        (PICTURE, {"text": TEXT, "pixels": PIXELS}, "pixels"),
        (WAVE, {"samples": MuLawTokenizer(), "text": TEXT}, "samples"),
        (WAVE, {"speech": WaveformTokenizer(), "text": TEXT}, "speech"),
        ({"n_nodes": 2, "edges": [[0, 1]]}, {"graph": GraphTokenizer(), "text": TEXT}, "graph"),
        ("C1CC1", {"only": TEXT}, "only"),
    ],
)
def test_an_input_goes_to_the_tokenizer_that_it_looks_made_for(raw, tokenizers, expected):
    assert [piece.modality for piece in sample_of("it", raw, tokenizers).pieces] == [expected]


def test_pieces_lie_in_the_order_of_the_tokenizers():
    tokenizers = {"vision": PATCHES, "text": TEXT}
    for raw in (["hi", PICTURE], [PICTURE, "hi"], {"text": "hi", "vision": PICTURE}):
        assert [piece.modality for piece in sample_of("it", raw, tokenizers).pieces] == ["vision", "text"]
    assert sample_of("it", {}, tokenizers).pieces == []


def test_a_text_may_be_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("hé", encoding="utf-8")
    (piece,) = sample_of("it", tmp_path / "a.txt", {"text": TEXT}).pieces
    assert TEXT.decode(piece) == "hé"


def test_what_cannot_be_sorted_out_is_told():
    with pytest.raises(ValueError, match=r"it looks like audio; say which it is, one of \{'vision': ...\}, \{'text'"):
        sample_of("it", WAVE, {"vision": PATCHES, "text": TEXT})
    with pytest.raises(ValueError, match="it has 2 parts, but only text; give one of each modality"):
        sample_of("it", ["a", "b"], {"vision": PATCHES, "text": TEXT})
    with pytest.raises(ValueError, match="it: received shape"):
        sample_of("it", torch.zeros(2, 8, 8), {"vision": PATCHES})


def test_what_is_typed_is_a_path_where_it_looks_like_one(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert typed(str(path)) == path
    assert typed("lost.png") == Path("lost.png")
    assert typed(str(tmp_path)) == tmp_path
    assert typed("no file at all") == "no file at all"


def test_in_python_a_string_is_a_text_whatever_lies_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("something else")
    for text in ("docs", "docs/a.txt", ".", "/", ""):
        assert named_inputs([text]) == [("input 0", text)]
        assert modality_of(text) == "text"
    assert named_inputs(Path("docs")) == [("docs/a.txt", Path("docs/a.txt"))]


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


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (1, 4, 6), (3, 4, 6)])
def test_a_picture_as_a_numpy_array_is_read_as_the_picture(shape, dtype):
    whole = np.arange(np.prod(shape)).reshape(shape)
    array = (whole if dtype == np.uint8 else whole / 255).astype(dtype)
    rows = whole.reshape(1, 4, 6) if len(shape) == 2 else whole if shape[1:] == (4, 6) else whole.transpose(2, 0, 1)
    tokenizer = PatchTokenizer(patch_size=2, channels=3 if len(rows) == 3 else 1)
    expected = tokenizer(torch.from_numpy(rows.astype(np.uint8))).values
    (piece,) = sample_of("it", array[::1], {"vision": tokenizer}).pieces
    torch.testing.assert_close(piece.values, expected)
    assert modality_of(array) == "vision"


def test_a_picture_as_an_array_and_as_a_file_are_the_same_whatever_the_channels(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    for raw in (array, array[:, ::-1][:, ::-1], Image.fromarray(array)):
        ours, file = (sample_of("it", each, {"vision": PATCHES}).pieces[0] for each in (raw, tmp_path / "a.png"))
        assert torch.equal(ours.values, file.values)


def test_a_string_for_a_model_that_reads_no_text_says_how_to_give_a_file(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    with pytest.raises(
        ValueError, match=r"it looks like text; this model takes vision; give a file as pathlib\.Path\('.*a\.png'\)"
    ):
        sample_of("it", str(path), {"vision": PATCHES})
    with pytest.raises(
        ValueError, match=r"it looks like text; this model takes vision; give a file as a pathlib\.Path"
    ):
        sample_of("it", "a cat", {"vision": PATCHES})


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


def test_files_of_an_own_modality_are_known_by_the_suffixes_of_their_tokenizer():
    class Readings(ByteTokenizer):
        modality = "acceleration"
        suffixes = (".acc",)

        def __call__(self, raw):
            return super().__call__(raw.read_text())

    assert looks_like(Path("a.ACC"), [PATCHES, Readings()]) == "acceleration"
    assert looks_like(Path("a.png"), [Readings()]) == "vision"


def test_a_sound_that_is_cut_is_said_by_name(caplog):
    tokenizer = WhisperTokenizer(seconds=1.0)
    tokens_of("long.wav", "audio", torch.zeros(16000 * 3), tokenizer)
    tokens_of("short.wav", "audio", torch.zeros(16000), tokenizer)
    assert caplog.messages == ["long.wav: its last 2.0 s are left out, since this model reads no longer sounds"]
