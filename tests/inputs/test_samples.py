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

from omniformer.inputs.looks import modality_of
from omniformer.inputs.named import named_inputs
from omniformer.inputs.samples import sample_of, tokens_of

TEXT, PATCHES, PIXELS = ByteTokenizer(), PatchTokenizer(patch_size=4, channels=1), PixelTokenizer(channels=1)
PICTURE, WAVE = torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(100)


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


def test_in_python_a_string_is_a_text_whatever_lies_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("something else")
    for text in ("docs", "docs/a.txt", ".", "/", ""):
        assert named_inputs([text]) == [("input 0", text)]
        assert modality_of(text) == "text"
    assert named_inputs(Path("docs")) == [("docs/a.txt", Path("docs/a.txt"))]


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


def test_a_sound_that_is_cut_is_said_by_name(caplog):
    tokenizer = WhisperTokenizer(seconds=1.0)
    tokens_of("long.wav", "audio", torch.zeros(16000 * 3), tokenizer)
    tokens_of("short.wav", "audio", torch.zeros(16000), tokenizer)
    assert caplog.messages == ["long.wav: its last 2.0 s are left out, since this model reads no longer sounds"]
