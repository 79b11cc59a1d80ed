from functools import partial

import pytest
import torch
from omniformer_tokenizers import Wav2Vec2Tokenizer, WaveformTokenizer, pack
from torch.nn import functional as F

from omniformer.core.norm import LayerNorm
from omniformer.embedders import ConvPositions, MaskToken, WaveStem
from omniformer.embedders.waves import heard

SHAPE = {"channels": [4, 3, 5], "kernels": [5, 3, 2], "strides": [3, 2, 2]}
WINDOW, STRIDE = heard(**SHAPE)
TOKENIZER = Wav2Vec2Tokenizer(window=WINDOW, stride=STRIDE, normalize=False)


def sounds(*lengths):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, generator=generator) for n in lengths]


def shaken(**options):
    torch.manual_seed(0)
    position = options.pop("position", None)
    stem = WaveStem(d_model=6, features=WINDOW + STRIDE - 1, **SHAPE, position=position, **options)
    for parameter in stem.parameters():
        torch.nn.init.normal_(parameter)
    return stem.double()


def by_hand(stem, wave, norms):
    """One sound, one frame after the other, one channel after the other."""
    x = [[value] for value in wave.double()]
    for i, step in enumerate(stem.steps):
        kernel, stride = SHAPE["kernels"][i], SHAPE["strides"][i]
        frames = []
        for first in range(0, len(x) - kernel + 1, stride):
            seen = torch.stack([torch.stack(list(each)) for each in x[first : first + kernel]]).T
            frames.append((step.conv.weight * seen).sum((1, 2)) + (0 if step.conv.bias is None else step.conv.bias))
        x = torch.stack(frames)
        if norms == "all" or i == 0:
            axis = 1 if norms == "all" else 0
            x = (x - x.mean(axis, keepdim=True)) / (x.var(axis, correction=0, keepdim=True) + 1e-5).sqrt()
            x = x * step.norm.weight + step.norm.bias
        x = list(F.gelu(x))
    return stem.map(stem.map_norm(torch.stack([torch.stack(list(each)) for each in x])))


@pytest.mark.parametrize("norms", ["first", "all"])
def test_every_sound_is_convolved_as_if_it_were_alone(norms):
    stem = shaken(norms=norms, bias=norms == "all")
    waves = sounds(WINDOW + STRIDE - 1, 0, WINDOW, 71)
    out = stem(pack([TOKENIZER(wave) for wave in waves]))
    expected = torch.cat([by_hand(stem, wave, norms) for wave in waves if len(wave)])
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=out.dtype)
    found = torch.autograd.grad((out * weights).sum(), list(stem.parameters()))
    wanted = torch.autograd.grad((expected * weights).sum(), list(stem.parameters()))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_positions_see_one_sound_and_the_norm_stands_behind_them():
    stem = shaken(position=partial(ConvPositions, kernel=4, groups=2), norm=LayerNorm)
    waves = sounds(90, 40)
    together = stem(pack([TOKENIZER(wave) for wave in waves]))
    alone = torch.cat([stem(pack([TOKENIZER(wave)])) for wave in waves])
    torch.testing.assert_close(together, alone)
    plain = (together - stem.norm.bias) / stem.norm.weight
    torch.testing.assert_close(plain, F.layer_norm(plain, (6,)), rtol=1e-3, atol=1e-3)


def test_hidden_tokens_are_a_learned_vector():
    stem = shaken(hidden=MaskToken)
    (tokens,) = map(TOKENIZER, sounds(80))
    packed = pack([tokens])
    masked = torch.arange(len(tokens)) == 1
    packed.features["masked"] = masked
    x = stem(packed)
    torch.testing.assert_close(x[1], stem.hidden.vector)
    del packed.features["masked"]
    torch.testing.assert_close(x[~masked], stem(packed)[~masked])


def test_no_sound_gives_zero_gradients_not_missing_ones():
    stem = shaken()
    out = stem(pack([TOKENIZER(torch.zeros(0))]))
    assert out.shape == (0, 6)
    gradients = torch.autograd.grad(out.sum(), list(stem.parameters()))
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 31}, "features=31; kernels=.* hear 17 samples every 12, so that a token has 28"),
        ({"channels": [4, 3]}, "2 channels, 3 kernels and 3 strides; give one of each"),
        ({"strides": [3, 0, 2]}, "strides=0 must be at least 1"),
        ({"norms": "some"}, "norms='some' is unknown; choose one of 'first', 'all'"),
    ],
    ids=str,
)
def test_convolutions_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        WaveStem(**{"d_model": 6, "features": 28, **SHAPE, **options})


def test_tokens_that_it_would_misread_are_refused():
    stem = shaken()
    other = Wav2Vec2Tokenizer(window=WINDOW - 1, stride=STRIDE + 1, normalize=False)
    with pytest.raises(ValueError, match="sound 1 has 4 tokens and 65 samples, of which this stem hears 5 frames"):
        stem(pack([other(torch.ones(WINDOW)), other(torch.ones(65))]))
    (tokens,) = map(WaveformTokenizer(frame_length=28), sounds(60))
    tokens.facts.clear()
    with pytest.raises(ValueError, match="tokens lack the fact 'samples'"):
        stem(pack([tokens]))
