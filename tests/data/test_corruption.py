"""Harm in a known measure: the same each time, stronger with its strength, of nothing else than what is meant."""

import pytest
import torch
from omniformer_tokenizers import ByteTokenizer, PatchTokenizer, SpectrogramTokenizer
from torch.nn import functional as F

from omniformer.data.corruption import KINDS, Corruption
from omniformer.data.source import Raw

DRAW = torch.Generator().manual_seed(0)
PICTURE, SOUND = torch.rand(3, 16, 12, generator=DRAW), torch.randn(8000, generator=DRAW)
CONTENTS = {"vision": PICTURE, "audio": (SOUND, 8000), "text": "the quick brown fox jumps over the lazy dog"}
TOKENIZERS = {
    "vision": PatchTokenizer(patch_size=4, channels=3, image_size=[16, 12]),
    "audio": SpectrogramTokenizer(sample_rate=8000),
    "text": ByteTokenizer(),
}


def harmed(kind, strength, modality=None, seed=0, n=1):
    raws = [Raw(id=str(i), contents=CONTENTS) for i in range(n)]
    found = Corruption(kind=kind, strength=strength, seed=seed, modality=modality)(raws, TOKENIZERS)
    assert len(found) == n
    return found[:]


def same(one, other):
    return (
        one == other
        if isinstance(one, str)
        else torch.equal(*(each[0] if isinstance(each, tuple) else each for each in (one, other)))
    )


@pytest.mark.parametrize(("kind", "modality"), [(kind, each) for kind, known in KINDS.items() for each in known])
def test_harm_is_the_same_each_time_and_none_without_strength(kind, modality):
    first, again, none = (harmed(kind, x, modality)[0].contents for x in (0.3, 0.3, 0.0))
    assert same(first[modality], again[modality]) and not same(first[modality], CONTENTS[modality])
    assert all(same(none[name], each) for name, each in CONTENTS.items())
    assert all(same(first[name], each) for name, each in CONTENTS.items() if name != modality)


def test_noise_has_the_deviation_that_is_said():
    (raw,) = harmed("noise", 0.1)
    sound = raw.contents["audio"][0] - SOUND
    assert float(sound.std() / SOUND.square().mean().sqrt()) == pytest.approx(0.1, rel=0.05)
    inside = (PICTURE > 0.4) & (PICTURE < 0.6)
    assert float((raw.contents["vision"] - PICTURE)[inside].std()) == pytest.approx(0.1, rel=0.3)


def test_every_sign_of_a_text_may_be_another():
    text = harmed("noise", 1.0, "text")[0].contents["text"]
    assert len(text) == len(CONTENTS["text"])
    assert sum(a == b for a, b in zip(text, CONTENTS["text"], strict=True)) < len(text) / 4


def test_a_cut_keeps_the_middle_in_the_size_of_the_whole():
    (raw,) = harmed("crop", 0.5)
    assert raw.contents["vision"].shape == PICTURE.shape
    middle = F.interpolate(PICTURE[None, :, 4:12, 3:9], (16, 12), mode="bilinear", antialias=True)[0]
    assert float((raw.contents["vision"] - middle).abs().max()) < 0.05
    assert torch.equal(raw.contents["audio"][0], SOUND[2000:6000])
    assert raw.contents["text"] == CONTENTS["text"][:22]


def test_blur_takes_away_what_changes_fast_and_leaves_the_mean():
    weak, strong = (harmed("blur", x)[0].contents["vision"] for x in (0.05, 0.2))
    assert float(strong.std()) < float(weak.std()) < float(PICTURE.std())
    assert float(strong.mean()) == pytest.approx(float(PICTURE.mean()), abs=0.02)


def test_a_share_of_samples_lacks_a_modality():
    lost = ["vision" not in raw.contents for raw in harmed("missing", 0.25, "vision", n=400)]
    assert sum(lost) / 400 == pytest.approx(0.25, abs=0.07)
    assert all(set(raw.contents) == {"audio", "text"} for raw in harmed("missing", 1.0, "vision", n=3))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"kind": "nose", "strength": 0.1}, "choose one of noise, blur, crop, missing=MODALITY"),
        ({"kind": "crop", "strength": 1.5}, "that of a share at most 1"),
        ({"kind": "noise", "strength": -1.0}, "must be at least 0"),
        ({"kind": "missing", "strength": 0.5}, "give missing=MODALITY"),
        ({"kind": "missing", "strength": 0.5, "modality": "graph"}, "this run reads vision, audio, text; give one of"),
        ({"kind": "blur", "strength": 0.5, "modality": "text"}, "blur knows vision"),
    ],
)
def test_what_cannot_be_harmed_so_is_refused(told, message):
    with pytest.raises(ValueError, match=message):
        Corruption(**told, seed=0)([], TOKENIZERS)
