"""What a tokenizer leaves of pictures, sounds and texts: told before training, where much of them is lost."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import soundfile
import torch
from omniformer_tokenizers import Tokenizer
from omniformer_tokenizers.text.symbols import SymbolTokenizer
from PIL import Image
from torch import Tensor

_LOOKED_AT = 64
_UNKNOWN = 0.05  # of the words of texts
_MUCH = 4  # so many pixels of a picture become one
_GREY = ("1", "L", "LA", "I", "I;16", "F")


def losses(contents: Iterable[Any], tokenizer: Tokenizer) -> list[str]:
    """What is lost of the first pictures, sounds or texts of a data set, one message a kind; of files the headers alone
    are read.

    A picture that shrinks to less than a quarter of its pixels or loses its colours counts, and a sound that is
    resampled to a lower rate, and texts of which more than a twentieth is not in a vocabulary of words or characters,
    as in that of another run. What cannot be read is left to whoever reads it.

    Args:
        contents: of one modality.
        tokenizer: which reads them.

    Example:
        >>> import torch
        >>> from omniformer_tokenizers import PatchTokenizer
        >>> tokenizer = PatchTokenizer(image_size=8, patch_size=4, channels=1)
        >>> losses([torch.zeros(3, 64, 64)], tokenizer)[0]
        '1 of the first 1 shrink to 8 x 8 pixels, such as one of 64 x 64; set tokenizer.image_size, or null'
    """
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    seen = list(islice(contents, _LOOKED_AT))
    for content in seen:
        for look in (_picture, _sound):
            for kind, shown in _looked(look, content, tokenizer):
                found[kind] += 1
                first.setdefault(kind, shown)
    told = [f"{times} of the first {len(seen)} {kind.format(first[kind])}" for kind, times in found.items()]
    return told + _unknown([each for each in seen if isinstance(each, str)], tokenizer)


def _unknown(texts: Sequence[str], tokenizer: Any) -> list[str]:
    """How many words or characters of texts a vocabulary that was learned from others does not know."""
    if not texts or not isinstance(tokenizer, SymbolTokenizer) or not tokenizer.fitted:
        return []
    ids = torch.cat([tokenizer(text).values for text in texts])
    n = int((ids == tokenizer.unknown).sum())
    if n <= _UNKNOWN * len(ids):
        return []
    what = f"{n / len(ids):.0%} of the {len(ids)} tokens of the first {len(texts)} are not in the vocabulary"
    hint = "where it is that of another run, compare with a run from scratch, which learns its own"
    return [f"{what} of {tokenizer.vocab_size}; {hint}"]


def _looked(look: Callable[[Any, Any], list[tuple[str, str]]], content: Any, tokenizer: Any) -> list[tuple[str, str]]:
    try:
        return look(content, tokenizer)
    except (ValueError, OSError, RuntimeError, Image.DecompressionBombError):
        return []


def _picture(content: Any, tokenizer: Any) -> list[tuple[str, str]]:
    size, channels = getattr(tokenizer, "image_size", None), getattr(tokenizer, "channels", None)
    if channels is None:
        return []
    width, height, coloured = _shape(content)
    lost = []
    if size is not None and width * height > _MUCH * size[0] * size[1]:
        kind = f"shrink to {size[1]} x {size[0]} pixels, such as one of {{}}; set tokenizer.image_size, or null"
        lost.append((kind, f"{width} x {height}"))
    if coloured and channels == 1:
        lost.append(("are stored in colour and become grey{}; tokenizer.channels=3 keeps colours", ""))
    return lost


def _shape(content: Any) -> tuple[int, int, bool]:
    """Width and height of a picture, and whether it is stored in colour."""
    if isinstance(content, Tensor):
        return content.shape[-1], content.shape[-2], content.ndim == 3 and content.shape[0] > 2
    if isinstance(content, Image.Image):
        return *content.size, content.mode not in _GREY
    if not isinstance(content, str | Path | bytes):
        return 0, 0, False
    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
        coloured = image.mode not in _GREY and not (image.mode == "P" and image.getpalette() is None)
        return *image.size, coloured


def _sound(content: Any, tokenizer: Any) -> list[tuple[str, str]]:
    wanted = getattr(tokenizer, "sample_rate", None)
    if not isinstance(wanted, int):
        return []
    if isinstance(content, tuple) and len(content) == 2:
        rate = int(content[1])
    elif isinstance(content, str | Path | bytes):
        rate = soundfile.info(io.BytesIO(content) if isinstance(content, bytes) else str(content)).samplerate
    else:
        return []
    kind = f"are resampled to {wanted} Hz, such as one of {{}} Hz, which takes away what lies above {wanted // 2} Hz; "
    return [(kind + "set tokenizer.sample_rate, or choose tokenizer=spectrogram", str(rate))] if rate > wanted else []
