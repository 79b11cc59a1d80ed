"""What harms samples in a known measure, to see how much of it a model bears: noise, blur, cuts, missing modalities."""

import math
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from omniformer_tokenizers import Tokenizer
from omniformer_tokenizers.vision.pixels import read_pixels, resized, unit_range
from torch import Generator, Tensor

from omniformer.data.augment.sounds import read_sound
from omniformer.data.changed import Changed
from omniformer.data.random import generator
from omniformer.data.remote import Remote
from omniformer.data.source import Raw

Change = Callable[[Any, float, Generator], Any]
MISSING = "missing"
_LETTERS = string.ascii_lowercase + " "


def _noisy_picture(pixels: Tensor, strength: float, chance: Generator) -> Tensor:
    return (pixels + strength * torch.randn(pixels.shape, generator=chance)).clamp(0, 1)


def _noisy_sound(sound: tuple[Tensor, int], strength: float, chance: Generator) -> tuple[Tensor, int]:
    wave, rate = sound
    level = wave.square().mean().sqrt() if wave.numel() else 0.0
    return wave + strength * level * torch.randn(wave.shape, generator=chance), rate


def _noisy_text(text: str, strength: float, chance: Generator) -> str:
    hit = (torch.rand(len(text), generator=chance) < strength).tolist()
    drawn = torch.randint(len(_LETTERS), (len(text),), generator=chance).tolist()
    return "".join(_LETTERS[i] if wrong else sign for sign, wrong, i in zip(text, hit, drawn, strict=True))


def _blurred(pixels: Tensor, strength: float, chance: Generator) -> Tensor:
    from torchvision.transforms.v2.functional import gaussian_blur

    side = min(pixels.shape[-2:])
    reach = max(min(math.ceil(3 * strength * side), side - 1), 0)
    return gaussian_blur(pixels, [2 * reach + 1] * 2, [strength * side] * 2) if reach else pixels


def _cut_picture(pixels: Tensor, strength: float, chance: Generator) -> Tensor:
    height, width = pixels.shape[-2:]
    kept = [max(round(each * (1 - strength)), 1) for each in (height, width)]
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    return resized(pixels[..., top : top + kept[0], left : left + kept[1]], (height, width))


def _cut_sound(sound: tuple[Tensor, int], strength: float, chance: Generator) -> tuple[Tensor, int]:
    wave, rate = sound
    kept = max(round(wave.shape[-1] * (1 - strength)), 1)
    begin = (wave.shape[-1] - kept) // 2
    return wave[..., begin : begin + kept], rate


def _cut_text(text: str, strength: float, chance: Generator) -> str:
    return text[: max(round(len(text) * (1 - strength)), 1)]


KINDS: Mapping[str, Mapping[str, Change]] = {
    "noise": {"vision": _noisy_picture, "audio": _noisy_sound, "text": _noisy_text},
    "blur": {"vision": _blurred},
    "crop": {"vision": _cut_picture, "audio": _cut_sound, "text": _cut_text},
}
"""By kind and modality. A strength is, of noise, its deviation as a share of the full brightness, its level as a share
of that of the sound, the share of signs that are drawn anew; of blur, its deviation as a share of the shorter side; of
crop, the share of each side, of the time, of the end of a text, that is cut away."""
STRENGTHS: Mapping[str, Sequence[float]] = {
    "noise": (0.05, 0.1, 0.2, 0.4),
    "blur": (0.02, 0.05, 0.1, 0.2),
    "crop": (0.1, 0.25, 0.5, 0.75),
    MISSING: (0.25, 0.5, 0.75, 1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Corruption:
    """Harms what samples are given, the same way each time: all chance comes from the seed and the sample's id.

    Args:
        kind: `noise`, `blur`, `crop`, or `missing`.
        modality: which of a sample; None for all that the kind knows. `missing` needs one.
        strength: how much, see `KINDS`; of `missing`, the share of samples that lack it.
        seed: of the run.

    Raises:
        ValueError: there is no such kind, the strength is out of range, or `missing` names no modality.

    Example:
        >>> from omniformer_tokenizers import ByteTokenizer
        >>> raw = Raw(id="a", contents={"text": "a fine film"})
        >>> Corruption(kind="crop", strength=0.5, seed=0)([raw], {"text": ByteTokenizer()})[0].contents["text"]
        'a fine'
    """

    kind: str
    strength: float
    seed: int
    modality: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in STRENGTHS:
            raise ValueError(f"corrupt={self.kind!r} is not known; choose one of {', '.join(STRENGTHS)}=MODALITY")
        if not 0 <= self.strength <= (math.inf if self.kind in ("noise", "blur") else 1):
            raise ValueError(f"strength={self.strength} of {self.kind} must be at least 0; that of a share at most 1")
        if self.kind == MISSING and self.modality is None:
            raise ValueError("corrupt=missing does not say what; give missing=MODALITY")

    def __call__(self, raws: Sequence[Raw], tokenizers: Mapping[str, Tokenizer]) -> Sequence[Raw]:
        """The samples, each harmed when it is read.

        Args:
            raws: of a split.
            tokenizers: by modality, which say of which kind each is.

        Raises:
            ValueError: the samples have no such modality, or none that this kind knows, or nothing else than the one
                that is to be missing.
        """
        return Changed(raws, _Harm(self, tokenizers, self._changes(tokenizers)))

    def _changes(self, tokenizers: Mapping[str, Tokenizer]) -> dict[str, Change]:
        named = [self.modality] if self.modality is not None else list(tokenizers)
        told = (
            f"{self.kind}{'' if self.modality is None else f'={self.modality}'}: this run reads {', '.join(tokenizers)}"
        )
        if self.kind == MISSING:
            if self.modality not in tokenizers or len(tokenizers) < 2:
                raise ValueError(f"{told}; give one of several")
            return {}
        known = KINDS[self.kind]
        found = {
            name: known[tokenizers[name].modality]
            for name in named
            if name in tokenizers and tokenizers[name].modality in known
        }
        if not found:
            raise ValueError(f"{told}; {self.kind} knows {', '.join(known)}")
        return found


@dataclass(frozen=True, slots=True)
class _Harm:
    """Harms one sample, keyed by its id."""

    corruption: Corruption
    tokenizers: Mapping[str, Tokenizer]
    changes: Mapping[str, Change]

    def __call__(self, raw: Raw) -> Raw:
        told = self.corruption
        if told.strength == 0:
            return raw
        if told.kind == MISSING:
            lost = float(torch.rand((), generator=generator(told.seed, 0, raw.id, "corrupt missing"))) < told.strength
            rest = {name: each for name, each in raw.contents.items() if not (lost and name == told.modality)}
            return replace(raw, contents=rest)
        contents = {
            name: self._changed(raw.id, name, each) if name in self.changes else each
            for name, each in raw.contents.items()
        }
        return replace(raw, contents=contents)

    def _changed(self, sample: str, name: str, content: Any) -> Any:
        told, tokenizer = self.corruption, self.tokenizers[name]
        content = content.read() if isinstance(content, Remote) else content
        if tokenizer.modality == "vision":
            content = unit_range(read_pixels(content, getattr(tokenizer, "channels", 3)))
        elif tokenizer.modality == "audio":
            content = read_sound(content)
        chance = generator(told.seed, 0, sample, f"corrupt {told.kind} {name}")
        return self.changes[name](content, told.strength, chance)
