from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import (
    ByteTokenizer,
    GraphTokenizer,
    MuLawTokenizer,
    PatchTokenizer,
    PixelTokenizer,
    WaveformTokenizer,
)

from omniformer.inputs import expand, file_of, modality_of, sample_of

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


def test_strings_that_name_files_are_files(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert file_of(str(path)) == path
    assert file_of("no file at all") == "no file at all"
    with pytest.raises(FileNotFoundError, match=r"no file 'lost\.png'"):
        file_of("lost.png")
    assert list(expand(str(path), 0)) == [(str(path), path)]
    assert list(expand([str(path), "what?"], 3)) == [("input 3", [path, "what?"])]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no file that a model could read"):
        list(expand(str(tmp_path / "empty"), 0))
