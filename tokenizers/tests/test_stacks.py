"""Tokens of stacked samples, which tracers can follow, are those of the samples one by one."""

import pytest
import torch
from omniformer_tokenizers import (
    ByteTokenizer,
    ClassTokens,
    MultiScaleTokenizer,
    PatchBlockTokenizer,
    PatchTokenizer,
    SpectrogramTokenizer,
    WhisperTokenizer,
)

OVERLAPPING = PatchTokenizer(patch_size=4, stride=3, image_size=[10, 9], mean=[0.1, 0.2, 0.3], coordinates="unit")
CUT = PatchTokenizer(patch_size=4, channels=1, resize={"filter": "bicubic", "shortest_edge": 10, "crop": [8, 8]})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("tokenizer", [OVERLAPPING, CUT, ClassTokens(tokenizer=CUT, n=2)])
def test_pictures(tokenizer, dtype):
    generator = torch.Generator().manual_seed(0)
    raws = torch.randint(256, (3, tokenizer.stack_shape[0], 12, 16), dtype=torch.uint8, generator=generator)
    raws = raws if dtype == torch.uint8 else raws / 255
    stack = torch.stack([tokenizer.stackable(raw) for raw in raws])
    assert stack.shape[1:] == tokenizer.stack_shape
    agree(tokenizer, raws, stack, atol=1e-6)


@pytest.mark.parametrize(
    "tokenizer",
    [
        SpectrogramTokenizer(n_mels=20),
        SpectrogramTokenizer(n_mels=20, n_fft=301, normalize="none", frames_per_token=3),
        SpectrogramTokenizer(n_mels=20, frames_per_token=8, frame_stride=5, bands_per_token=8, band_stride=4),
        WhisperTokenizer(n_mels=20, seconds=0.5, frames_per_token=3),
        WhisperTokenizer(n_mels=20),
    ],
    ids=["frames", "joined", "patches", "whisper", "whisper of any length"],
)
def test_sounds(tokenizer):
    assert tokenizer.stack_shape == (None,)
    for length in (1600, 4321, 8000):
        raws = torch.randn(2, length, generator=torch.Generator().manual_seed(length)) / 8
        agree(tokenizer, raws, raws, atol=5e-5)


def agree(tokenizer, raws, stack, *, atol):
    """Whether all samples have the tokens that each has."""
    values, positions, features = tokenizer.of_stack(stack)
    for i, raw in enumerate(raws):
        tokens = tokenizer(raw)
        torch.testing.assert_close(values[i], tokens.values, rtol=0, atol=atol)
        assert torch.equal(positions[i], tokens.positions)
        assert features.keys() == tokens.features.keys()
        assert all(torch.equal(rows[i], tokens.features[name]) for name, rows in features.items())


def test_what_depends_on_more_than_a_shape_says_so():
    for tokenizer in (
        PatchTokenizer(),
        PatchTokenizer(image_size=32, max_tokens=3),
        PatchTokenizer(image_size=32, resize="contain"),
        PatchBlockTokenizer(patch_size=4, resize={"size": [16, 16]}),
        MultiScaleTokenizer(),
        ByteTokenizer(),
    ):
        assert tokenizer.stack_shape is None
    with pytest.raises(TypeError, match="ByteTokenizer makes no tokens of stacked samples"):
        ByteTokenizer().of_stack(torch.zeros(1, 3))
