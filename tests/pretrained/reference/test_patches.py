import pytest
import torch
from omniformer_tokenizers import ClassTokens, KaldiTokenizer, PatchTokenizer, pack

from omniformer.pretrained.reference.patches import check_size, patches


def same(found, expected):
    for name in ("values", "positions", "lengths"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert torch.equal(found.features["class_token"], expected.features["class_token"])


def test_pictures_are_cut_as_their_tokenizer_cuts_them():
    tokenizer = ClassTokens(tokenizer=PatchTokenizer(patch_size=4, mean=(0.0,), std=(1.0,), remainder="crop"))
    images = torch.rand(2, 3, 9, 14)
    expected = pack([tokenizer(image) for image in images])
    same(patches(images, 4, n_class_tokens=1, modality="vision"), expected)


def test_overlapping_patches_of_sounds_too():
    inside = KaldiTokenizer(n_mels=20, frames_per_token=8, frame_stride=5, bands_per_token=8, band_stride=4)
    sounds = torch.randn(2, 23, 20)
    bare = pack([inside.from_frames(sound) for sound in sounds])
    found = patches(sounds[:, None], 8, strides=(5, 4), n_class_tokens=2, modality="audio")
    others = found.features["class_token"] == 0
    assert torch.equal(found.values[others], bare.values)
    assert torch.equal(found.positions[others], bare.positions)
    assert (found.lengths - bare.lengths).tolist() == [2, 2]


def test_another_size_is_told():
    with pytest.raises(ValueError, match=r"input_values have size \(9, 8\), this model reads \(9, 9\)"):
        check_size("input_values", (9, 8), (9, 9))
