from functools import partial

import pytest
import torch
from omniformer_tokenizers import Packed, Tokens, WhisperTokenizer, pack
from torch.nn import functional as F

from omniformer.core.positions import StoredSinusoidal
from omniformer.embedders import ConvStem
from omniformer.embedders.stem import VALID

TOLERANCE = {"rtol": 1.3e-6, "atol": 1e-6}


def sound(n_tokens, bands=3, seed=0):
    values = torch.randn(n_tokens, 2 * bands, generator=torch.Generator().manual_seed(seed))
    return Tokens(values=values, positions=torch.arange(n_tokens)[:, None].float(), modality="audio")


def alone(stem, tokens, bands=3):
    """The two convolutions of PyTorch over the frames of one sound."""
    frames = tokens.values.reshape(-1, bands).T[None]
    return F.gelu(stem.second(F.gelu(stem.first(frames))))[0].T


def shaken(**options):
    torch.manual_seed(0)
    stem = ConvStem(d_model=5, features=6, **options)
    for conv in (stem.first, stem.second):
        torch.nn.init.normal_(conv.bias)
    return stem


@pytest.mark.parametrize("lengths", [(4,), (1, 1, 1), (5, 0, 2, 0), (0, 3)], ids=str)
def test_every_sound_is_convolved_as_if_it_were_alone(lengths):
    stem = shaken()
    sounds = [sound(n, seed=i) for i, n in enumerate(lengths)]
    out = stem(pack(sounds))
    expected = torch.cat([alone(stem, each) for each in sounds if len(each)])
    torch.testing.assert_close(out, expected, **TOLERANCE)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9))
    found = torch.autograd.grad((out * weights).sum(), list(stem.parameters()))
    wanted = torch.autograd.grad((expected * weights).sum(), list(stem.parameters()))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_positions_are_added_behind_the_convolutions():
    plain, placed = shaken(), shaken(position=lambda **sizes: StoredSinusoidal(size=2, **sizes))
    packed = pack([sound(3), sound(2, seed=1)])
    torch.testing.assert_close(placed(packed), plain(packed) + placed.position(packed.positions))


def test_no_sound_gives_zero_gradients_not_missing_ones():
    stem = shaken()
    nothing = Packed(
        values=torch.zeros(0, 6),
        positions=torch.zeros(0, 1),
        modality="audio",
        lengths=torch.zeros(0, dtype=torch.long),
    )
    for packed in (pack([sound(0)]), nothing):
        stem.zero_grad()
        out = stem(packed)
        assert out.shape == (0, 5)
        out.sum().backward()
        assert all(each.grad is not None and not each.grad.any() for each in stem.parameters())


def test_tokens_of_whisper_are_two_frames():
    tokenizer = WhisperTokenizer(n_mels=80, frames_per_token=2)
    tokens = tokenizer(torch.randn(3200))
    stem = ConvStem(d_model=4, **tokenizer.facts)
    torch.testing.assert_close(stem(pack([tokens])), alone(stem, tokens, bands=80), **TOLERANCE)


def test_a_token_that_is_no_two_frames_is_refused():
    with pytest.raises(ValueError, match="features=7 must be even"):
        ConvStem(d_model=4, features=7)


@pytest.mark.parametrize("left", [False, True])
def test_rows_of_a_padded_batch_are_heard_as_packed_sounds(left):
    stem, lengths = shaken(position=partial(StoredSinusoidal, size=4)), torch.tensor([4, 0, 1, 7])
    sounds = [sound(n, seed=i) for i, n in enumerate(lengths.tolist())]
    place = torch.arange(7)
    valid = place >= 7 - lengths[:, None] if left else place < lengths[:, None]
    packed = pack(sounds)
    values, positions = torch.full((28, 6), torch.nan), torch.zeros(28, 1)
    values[valid.flatten()], positions[valid.flatten()] = packed.values, packed.positions
    rows = Packed(values=values, positions=positions, facts={VALID: valid}, modality="audio", lengths=lengths)
    torch.testing.assert_close(stem(rows)[valid.flatten()], stem(packed), **TOLERANCE)
