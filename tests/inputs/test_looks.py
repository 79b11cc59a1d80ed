from pathlib import Path

import pytest
import torch
from omniformer_tokenizers import (
    ByteTokenizer,
    PatchTokenizer,
    PixelTokenizer,
)

from omniformer.inputs.looks import looks_like, modality_of, typed

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


def test_what_is_typed_is_a_path_where_it_looks_like_one(tmp_path):
    path = tmp_path / "a.png"
    path.touch()
    assert typed(str(path)) == path
    assert typed("lost.png") == Path("lost.png")
    assert typed(str(tmp_path)) == tmp_path
    assert typed("no file at all") == "no file at all"


def test_files_of_an_own_modality_are_known_by_the_suffixes_of_their_tokenizer():
    class Readings(ByteTokenizer):
        modality = "acceleration"
        suffixes = (".acc",)

        def __call__(self, raw):
            return super().__call__(raw.read_text())

    assert looks_like(Path("a.ACC"), [PATCHES, Readings()]) == "acceleration"
    assert looks_like(Path("a.png"), [Readings()]) == "vision"
